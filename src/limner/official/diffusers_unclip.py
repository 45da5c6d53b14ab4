"""Keys of unCLIP as diffusers stores it: a folder with one file a network (kakaobrain/karlo-v1-alpha).

Queries, keys and values are tensors of their own; the U-Nets' blocks are numbered by level in the order in which a
picture meets them; the statistics of the embeddings lie in the prior's file.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from limner.config import NetworkSettings, PartSettings, PriorSettings, StatisticsSettings, TextProjectionSettings, UNetSettings
from limner.errors import UnsupportedError
from limner.networks.building import hollow
from limner.networks.unet import Attention, Block, Resample, ResBlock, UNet
from limner.official import clip, unclip
from limner.official.layout import Entry, KeyMap
from limner.official.piece import Piece, Shapes, Together

_FILES = {
    "prior/diffusion_pytorch_model.safetensors": (unclip.PRIOR, unclip.STATISTICS),
    "text_encoder/model.safetensors": ("text_encoder",),
    "image_encoder/model.safetensors": ("image_encoder",),
}
_PRIOR = {
    "time.0": "time_embedding.linear_1",
    "time.2": "time_embedding.linear_2",
    "embedding": "proj_in",
    "pooled": "embedding_proj",
    "norm": "norm_out",
    "head": "proj_to_clip_embeddings",
}
_BLOCK = {"norm_1": "norm1", "proj": "attn1.to_out.0", "norm_2": "norm3", "fc": "ff.net.0.proj", "out": "ff.net.2"}
_PROJECTION = {
    "image": "clip_image_embeddings_project_to_time_embeddings",
    "pooled": "embedding_proj",
    "words": "encoder_hidden_states_proj",
    "norm": "text_encoder_hidden_states_norm",
}
_UNET = {
    "time.0": "time_embedding.linear_1",
    "time.2": "time_embedding.linear_2",
    "stem": "conv_in",
    "norm": "conv_norm_out",
    "head": "conv_out",
}
_RES = {
    "norm_in": "norm1",
    "conv_in": "conv1",
    "emb": "time_emb_proj",
    "norm_out": "norm2",
    "conv_out": "conv2",
    "skip": "conv_shortcut",
}


def prior_keys(settings: PriorSettings, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a prior of these settings; its statistics apart."""
    names = dict(_PRIOR)
    if settings.words is not None:
        names["words"] = "encoder_hidden_states_proj"
    if settings.pooled_norm:
        names["pooled_norm"] = "embedding_proj_norm"
    if settings.first_norm:
        names["first_norm"] = "norm_in"
    out = unclip.leaves(prefix, names)
    out[f"{prefix}positional_embedding"] = Entry("positions", lead=1)
    if settings.answer_token:
        out[f"{prefix}prd_embedding"] = Entry("answer", lead=2)
    for n in range(settings.depth):
        official, limner = f"{prefix}transformer_blocks.{n}.", f"blocks.{n}."
        out |= unclip.leaves(official, _BLOCK, limner)
        out |= _split(official, limner, ("attn1.to_q", "attn1.to_k", "attn1.to_v"), "qkv")
    return out


def statistics_keys(prefix: str = "") -> dict[str, Entry]:
    """Mean and spread of the embeddings, in the prior's file."""
    return {f"{prefix}clip_mean": Entry("mean", lead=1), f"{prefix}clip_std": Entry("spread", lead=1)}


def text_projection_keys(settings: TextProjectionSettings, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a text projection of these settings."""
    out = unclip.leaves(prefix, _PROJECTION)
    for kind in ("weight", "bias"):  # official rows are [ch][token]
        rows = Entry(f"tokens.{kind}", settings.tokens, settings.width, head_major=True)
        out[f"{prefix}clip_extra_context_tokens_proj.{kind}"] = rows
    out[f"{prefix}learned_classifier_free_guidance_embeddings"] = Entry("null")
    return out


def unet_keys(settings: UNetSettings, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for the decoder or an upsampler of these settings."""
    net = hollow(UNet, settings)
    out = unclip.leaves(prefix, _UNET)
    for level in range(len(settings.multipliers)):
        start = level * (settings.blocks + 1)  # the last block of a level resamples; the last level has none
        official = f"{prefix}down_blocks.{level}."
        for n, block in enumerate(net.down[start : start + settings.blocks]):
            out |= _block(official, n, f"down.{start + n}.", block)
        for n, block in enumerate(net.down[start + settings.blocks : start + settings.blocks + 1]):
            out |= _resampler(f"{official}downsamplers.{n}.", f"down.{start + settings.blocks}.", block)
        start = level * (settings.blocks + 1)
        official = f"{prefix}up_blocks.{level}."
        for n, block in enumerate(net.up[start : start + settings.blocks + 1]):
            out |= _block(official, n, f"up.{start + n}.", block)
            out |= _resampler(f"{official}upsamplers.0.", f"up.{start + n}.", block)
    res = attention = 0
    for n, layer in enumerate(net.middle):
        if isinstance(layer, Attention):
            out |= _attention(f"{prefix}mid_block.attentions.{attention}.", f"middle.{n}.", layer)
            attention += 1
        elif isinstance(layer, ResBlock):
            out |= _res(f"{prefix}mid_block.resnets.{res}.", f"middle.{n}.", layer)
            res += 1
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The networks in one file of the folder; None when it is none of them.

    The two upsamplers look alike: each is taken for the first (`twin` makes it the last).

    Raises: CheckpointError for a network whose sizes do not tell all that must be known, naming what.
    """
    if "proj_to_clip_embeddings.weight" in shapes and "clip_mean" in shapes:
        prior = _prior(shapes)
        beside = StatisticsSettings(clip=prior.answer or prior.clip)
        return (
            Piece(PartSettings(name=unclip.PRIOR, network=prior), prior_keys(prior)),
            Piece(PartSettings(name=unclip.STATISTICS, network=beside), statistics_keys()),
        )
    if "learned_classifier_free_guidance_embeddings" in shapes:
        projection = _text_projection(shapes)
        return (Piece(PartSettings(name=unclip.TEXT_PROJECTION, network=projection), text_projection_keys(projection)),)
    if {"time_embedding.linear_1.weight", "conv_in.weight", "down_blocks.0.resnets.0.time_emb_proj.weight"} <= set(shapes):
        network = _unet(shapes)
        if network.words is not None or network.low_res:
            stage = unclip.decoder(network) if network.words is not None else unclip.upsampler(network)
            return (Piece(stage, unet_keys(stage.network)),)
    return None


def twin(piece: Piece) -> Piece | None:
    """The other network of the same shapes: the first upsampler's is the last; None when there is no other."""
    if piece.settings.name != unclip.FIRST or not isinstance(piece.settings.network, UNetSettings):
        return None
    return piece._replace(settings=unclip.last_step(piece.settings.network))


def maps(network: NetworkSettings) -> KeyMap | None:
    """The official keys of one of unCLIP's networks; None for others."""
    match network:
        case PriorSettings() if network.final_norm and not network.learned_padding:
            return prior_keys(network)
        case StatisticsSettings():
            return statistics_keys()
        case TextProjectionSettings() if network.null and network.tokens:
            return text_projection_keys(network)
        case UNetSettings() if unclip.is_own(network):
            return unet_keys(network)
        case _:
            return None


def files(networks: Mapping[str, NetworkSettings]) -> tuple[Together, ...]:
    """The files of the folder that are not simply called after a network of these names.

    Raises: UnsupportedError when a file lacks one of its networks.
    """
    return unclip.together(networks, _FILES, _keys)


def _keys(name: str, network: NetworkSettings) -> KeyMap:
    keys = maps(network) or clip.hugging_face_maps(network)
    if keys is None:
        raise UnsupportedError(f"export: the network {name!r} ({network.kind}) has no place in diffusers' folder of unCLIP")
    return keys


def _prior(shapes: Shapes) -> PriorSettings:
    _, length, width = shapes["positional_embedding"]
    (answer, _), clip = shapes["proj_to_clip_embeddings.weight"], shapes["proj_in.weight"][1]
    pooled, time = shapes["embedding_proj.weight"][1], shapes["time_embedding.linear_1.weight"][0]
    words = shapes.get("encoder_hidden_states_proj.weight", (width, None))[1]
    answer_token = "prd_embedding" in shapes
    return PriorSettings(
        clip=clip,
        answer=None if answer == clip else answer,
        pooled=None if pooled == clip else pooled,
        words=words,
        context=length - 3 - answer_token,
        width=width,
        depth=unclip.count(shapes, r"transformer_blocks\.(\d+)\."),
        heads=unclip.heads(width, what="prior"),
        time_width=None if time == width else time,
        answer_token=answer_token,
        pooled_norm="embedding_proj_norm.weight" in shapes,
        first_norm="norm_in.weight" in shapes,
    )


def _text_projection(shapes: Shapes) -> TextProjectionSettings:
    width, clip = shapes["encoder_hidden_states_proj.weight"]
    return TextProjectionSettings(
        clip=clip,
        tokens=shapes["clip_extra_context_tokens_proj.weight"][0] // width,
        width=width,
        embed=shapes["embedding_proj.weight"][0],
    )


def _unet(shapes: Shapes) -> UNetSettings:
    """The network; heads and side are told by `unclip`."""
    width = shapes["time_embedding.linear_1.weight"][1]
    levels = unclip.count(shapes, r"down_blocks\.(\d+)\.")
    widths = [shapes[f"down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    attended = [f"down_blocks.{level}.attentions.0.group_norm.weight" in shapes for level in range(levels)]
    seen, out = shapes["conv_in.weight"][1], shapes["conv_out.weight"][0]
    words = [shape[1] for key, shape in shapes.items() if key.endswith("add_k_proj.weight")]
    low_res, down = seen == 2 * out, "down_blocks.0.downsamplers.0."
    residual = levels == 1 or f"{down}conv1.weight" in shapes
    return UNetSettings(
        side=2**levels,
        channels=out if low_res else seen,
        width=width,
        multipliers=tuple(each / width for each in widths),
        blocks=unclip.count(shapes, r"down_blocks\.0\.resnets\.(\d+)\."),
        attention=tuple(2**level for level, yes in enumerate(attended) if yes),
        middle_attention="mid_block.attentions.0.group_norm.weight" in shapes,
        scale_shift=shapes["down_blocks.0.resnets.0.time_emb_proj.weight"][0] == 2 * widths[0],
        residual_resample=residual,
        conv_resample=residual or f"{down}conv.weight" in shapes,
        ranged=out == 2 * seen,
        words=words[0] if words else None,
        low_res=low_res,
    )


def _block(official: str, number: int, limner: str, block: nn.Module) -> dict[str, Entry]:
    out: dict[str, Entry] = {}
    if isinstance(block, Block) and block.res is not None:
        out |= _res(f"{official}resnets.{number}.", f"{limner}res.", block.res)
    if isinstance(block, Block) and block.attention is not None:
        out |= _attention(f"{official}attentions.{number}.", f"{limner}attention.", block.attention)
    return out


def _resampler(official: str, limner: str, block: nn.Module) -> dict[str, Entry]:
    layer = block.resampler if isinstance(block, Block) else None
    if isinstance(layer, ResBlock):
        return _res(official, f"{limner}resampler.", layer)
    if isinstance(layer, Resample) and layer.conv is not None:
        return unclip.leaves(official, {"conv": "conv"}, f"{limner}resampler.")
    return {}


def _res(official: str, limner: str, layer: ResBlock) -> dict[str, Entry]:
    names = {ours: theirs for ours, theirs in _RES.items() if ours != "skip" or not isinstance(layer.skip, nn.Identity)}
    return unclip.leaves(official, names, limner)


def _attention(official: str, limner: str, layer: Attention) -> dict[str, Entry]:
    out = unclip.leaves(official, {"norm": "group_norm", "proj": "to_out.0"}, limner)
    out |= _split(official, limner, ("to_q", "to_k", "to_v"), "qkv")
    if layer.text_kv is not None:
        out |= _split(official, limner, ("add_k_proj", "add_v_proj"), "text_kv")
    return out


def _split(official: str, limner: str, theirs: tuple[str, ...], ours: str) -> dict[str, Entry]:
    """Projections of their own that are one fused projection in limner."""
    return {
        f"{official}{name}.{kind}": Entry(f"{limner}{ours}.{kind}", slot=(n, len(theirs)))
        for n, name in enumerate(theirs)
        for kind in ("weight", "bias")
    }
