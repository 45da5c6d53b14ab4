"""Keys of unCLIP as diffusers stores it: a folder with one file a network (kakaobrain/karlo-v1-alpha).

Queries, keys and values are tensors of their own; the U-Nets' blocks are numbered by level in the order in which a
picture meets them; the statistics of the embeddings lie in the prior's file.
"""

from __future__ import annotations

from torch import nn

from limner.config import PriorSettings, TextProjectionSettings, UNetSettings
from limner.networks.building import hollow
from limner.networks.unet import Attention, Block, Resample, ResBlock, UNet
from limner.official.layout import Entry

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
    out = _leaves(prefix, names)
    out[f"{prefix}positional_embedding"] = Entry("positions", lead=1)
    if settings.answer_token:
        out[f"{prefix}prd_embedding"] = Entry("answer", lead=2)
    for n in range(settings.depth):
        official, limner = f"{prefix}transformer_blocks.{n}.", f"blocks.{n}."
        out |= _leaves(official, _BLOCK, limner)
        out |= _split(official, limner, ("attn1.to_q", "attn1.to_k", "attn1.to_v"), "qkv")
    return out


def statistics_keys(prefix: str = "") -> dict[str, Entry]:
    """Mean and spread of the embeddings, in the prior's file."""
    return {f"{prefix}clip_mean": Entry("mean", lead=1), f"{prefix}clip_std": Entry("spread", lead=1)}


def text_projection_keys(settings: TextProjectionSettings, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a text projection of these settings."""
    out = _leaves(prefix, _PROJECTION)
    for kind in ("weight", "bias"):  # official rows are [ch][token]
        rows = Entry(f"tokens.{kind}", settings.tokens, settings.width, head_major=True)
        out[f"{prefix}clip_extra_context_tokens_proj.{kind}"] = rows
    out[f"{prefix}learned_classifier_free_guidance_embeddings"] = Entry("null")
    return out


def unet_keys(settings: UNetSettings, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for the decoder or an upsampler of these settings."""
    net = hollow(UNet, settings)
    out = _leaves(prefix, _UNET)
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
        return _leaves(official, {"conv": "conv"}, f"{limner}resampler.")
    return {}


def _res(official: str, limner: str, layer: ResBlock) -> dict[str, Entry]:
    names = {ours: theirs for ours, theirs in _RES.items() if ours != "skip" or not isinstance(layer.skip, nn.Identity)}
    return _leaves(official, names, limner)


def _attention(official: str, limner: str, layer: Attention) -> dict[str, Entry]:
    out = _leaves(official, {"norm": "group_norm", "proj": "to_out.0"}, limner)
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


def _leaves(prefix: str, names: dict[str, str], limner: str = "") -> dict[str, Entry]:
    """Weight and bias of some layers, told limner's name -> official name."""
    return {
        f"{prefix}{theirs}.{kind}": Entry(f"{limner}{ours}.{kind}")
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
