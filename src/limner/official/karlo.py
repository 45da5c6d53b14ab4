"""Keys of Karlo's own files (kakaobrain/karlo): prior, decoder, super-resolution and the statistics of its embeddings.

The decoder's file holds two of limner's networks, the U-Net and the text projection; that of super-resolution holds two
U-Nets. Fused attention rows are [head][q, k, v] in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from limner.config import NetworkSettings, PartSettings, PriorSettings, StatisticsSettings, TextProjectionSettings, UNetSettings
from limner.errors import UnsupportedError
from limner.official import adm, unclip, unets
from limner.official.layout import Entry, KeyMap
from limner.official.piece import Piece, Shapes, Together

MODEL = "model."  # in front of every key of the prior's and the decoder's file
FIRST, LAST = "model_first_steps.", "model_last_step."  # of the two U-Nets of super-resolution
_PRIOR = {
    "time.0": "time_embed.0",
    "time.2": "time_embed.2",
    "words": "text_enc_proj",
    "pooled": "text_emb_proj",
    "embedding": "clip_img_proj",
    "head": "out_proj",
}
_BLOCK = {
    "norm_1": "ln_1",
    "proj": "attn.c_proj",
    "norm_2": "ln_2",
    "fc": "mlp.c_fc",
    "out": "mlp.c_proj",
}
_FILES = {
    "prior.ckpt": (unclip.PRIOR,),
    "decoder.ckpt": (unclip.DECODER, unclip.TEXT_PROJECTION),
    "super_res.ckpt": (unclip.FIRST, unclip.LAST),
}
_PREFIXES = {unclip.FIRST: FIRST, unclip.LAST: LAST}
_PROJECTION = {"image": "clip_emb", "pooled": "text_feat_proj", "words": "text_seq_proj.0", "norm": "text_seq_proj.1"}


def prior_keys(settings: PriorSettings, prefix: str = MODEL) -> dict[str, Entry]:
    """Official key -> limner's place for it, for a prior of these settings."""
    out = unclip.leaves(prefix, _PRIOR)
    out[f"{prefix}positional_embedding"] = Entry("positions", lead=1)
    out[f"{prefix}prd_emb"] = Entry("answer", lead=2)
    if settings.learned_padding:
        out[f"{prefix}padding_embedding"] = Entry("padding")
    for n in range(settings.depth):
        official, limner = f"{prefix}transformer.resblocks.{n}.", f"blocks.{n}."
        out |= unclip.leaves(official, _BLOCK, limner)
        for kind in ("weight", "bias"):
            out[f"{official}attn.c_qkv.{kind}"] = Entry(f"{limner}qkv.{kind}", 3, settings.heads, head_major=True)
    if settings.final_norm:
        out |= unclip.leaves(prefix, {"norm": "final_ln"})
    return out


def statistics_keys() -> dict[str, Entry]:
    """The file of statistics is a bare pair, the mean and the spread; its keys are their places in the pair."""
    return {"0": Entry("mean"), "1": Entry("spread")}


def unet_keys(settings: UNetSettings, prefix: str) -> KeyMap:
    """A U-Net's keys are those of ADM's; `prefix` is MODEL in the decoder's file, FIRST or LAST in super-resolution's."""
    return {f"{prefix}{key}": entry for key, entry in adm.keys(settings).items()}


def text_projection_keys(settings: TextProjectionSettings, prefix: str = MODEL) -> dict[str, Entry]:
    """What the decoder's file holds beside its U-Net."""
    out = unclip.leaves(prefix, _PROJECTION)
    if settings.tokens:  # official rows are [ch][token]
        for kind in ("weight", "bias"):
            rows = Entry(f"tokens.{kind}", settings.tokens, settings.width, head_major=True)
            out[f"{prefix}clip_tok_proj.{kind}"] = rows
    if settings.null:
        out[f"{prefix}cf_param"] = Entry("null")
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The networks in one of Karlo's files; None when it is none of them.

    Raises: CheckpointError for a network whose sizes do not tell all that must be known, naming what.
    """
    if set(shapes) == {"0", "1"} and len(shapes["0"]) == 1:
        statistics = PartSettings(name=unclip.STATISTICS, network=StatisticsSettings(clip=shapes["0"][0]))
        return (Piece(statistics, statistics_keys()),)
    if f"{FIRST}time_embed.0.weight" in shapes and f"{LAST}time_embed.0.weight" in shapes:
        first, last = (unets.unet(_under(shapes, prefix)) for prefix in (FIRST, LAST))
        return (
            Piece(unclip.upsampler(first), unet_keys(first, FIRST)),
            Piece(unclip.last_step(last), unet_keys(last, LAST)),
        )
    inner = _under(shapes, MODEL)
    if "prd_emb" in inner:
        prior = _prior(inner)
        return (Piece(PartSettings(name=unclip.PRIOR, network=prior), prior_keys(prior)),)
    if "text_feat_proj.weight" in inner:
        projection = _text_projection(inner)
        words = inner["text_seq_proj.0.weight"][0]
        decoder = unclip.decoder(unets.unet(inner).model_copy(update={"words": words}))
        beside = PartSettings(name=unclip.TEXT_PROJECTION, network=projection)
        return (Piece(decoder, unet_keys(decoder.network, MODEL)), Piece(beside, text_projection_keys(projection)))
    return None


def maps(network: NetworkSettings) -> KeyMap | None:
    """The official keys of one of unCLIP's networks; None for others."""
    match network:
        case PriorSettings() if _in_karlo(network):
            return prior_keys(network)
        case StatisticsSettings():
            return statistics_keys()
        case TextProjectionSettings():
            return text_projection_keys(network)
        case UNetSettings() if unclip.is_own(network):
            return unet_keys(network, MODEL if network.words is not None else FIRST)
        case _:
            return None


def files(networks: Mapping[str, NetworkSettings]) -> tuple[Together, ...]:
    """Karlo's files for networks of these names.

    Raises: UnsupportedError when a file lacks one of its networks.
    """
    pair = unclip.together(networks, {"statistics.th": (unclip.STATISTICS,)}, lambda _, __: statistics_keys())
    return unclip.together(networks, _FILES, _keys, wrapper="state_dict") + pair


def _keys(name: str, network: NetworkSettings) -> KeyMap:
    keys = maps(network)
    if keys is None:
        raise UnsupportedError(f"export: the network {name!r} ({network.kind}) has no place in Karlo's files")
    return unet_keys(network, _PREFIXES.get(name, MODEL)) if isinstance(network, UNetSettings) else keys


def _in_karlo(prior: PriorSettings) -> bool:
    """Whether Karlo's own code can build it."""
    norms = prior.pooled_norm or prior.first_norm
    return prior.words is not None and prior.answer_token and not norms and prior.time_width in (None, prior.width)


def _prior(shapes: Shapes) -> PriorSettings:
    _, length, width = shapes["positional_embedding"]
    (answer, _), clip = shapes["out_proj.weight"], shapes["clip_img_proj.weight"][1]
    pooled = shapes["text_emb_proj.weight"][1]
    return PriorSettings(
        clip=clip,
        answer=None if answer == clip else answer,
        pooled=None if pooled == clip else pooled,
        words=shapes["text_enc_proj.weight"][1],
        context=length - 4,
        width=width,
        depth=unclip.count(shapes, r"transformer\.resblocks\.(\d+)\."),
        heads=unclip.heads(width, what="prior"),
        learned_padding="padding_embedding" in shapes,
        final_norm="final_ln.weight" in shapes,
    )


def _text_projection(shapes: Shapes) -> TextProjectionSettings:
    width, clip = shapes["text_seq_proj.0.weight"]
    return TextProjectionSettings(
        clip=clip,
        tokens=shapes.get("clip_tok_proj.weight", (0,))[0] // width,
        width=width,
        embed=shapes["clip_emb.weight"][0],
        null="cf_param" in shapes,
    )


def _under(shapes: Shapes, prefix: str) -> Shapes:
    return {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
