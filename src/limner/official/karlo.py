"""Keys of Karlo's own files (kakaobrain/karlo): prior, decoder, super-resolution and the statistics of its embeddings.

The decoder's file holds two of limner's networks, the U-Net and the text projection; that of super-resolution holds two
U-Nets. Fused attention rows are [head][q, k, v] in all of them.
"""

from __future__ import annotations

from limner.config import PriorSettings, TextProjectionSettings, UNetSettings
from limner.official import adm
from limner.official.layout import Entry, KeyMap

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
_PROJECTION = {"image": "clip_emb", "pooled": "text_feat_proj", "words": "text_seq_proj.0", "norm": "text_seq_proj.1"}


def prior_keys(settings: PriorSettings, prefix: str = MODEL) -> dict[str, Entry]:
    """Official key -> limner's place for it, for a prior of these settings."""
    out = _leaves(prefix, _PRIOR)
    out[f"{prefix}positional_embedding"] = Entry("positions", lead=1)
    out[f"{prefix}prd_emb"] = Entry("answer", lead=2)
    if settings.learned_padding:
        out[f"{prefix}padding_embedding"] = Entry("padding")
    for n in range(settings.depth):
        official, limner = f"{prefix}transformer.resblocks.{n}.", f"blocks.{n}."
        out |= _leaves(official, _BLOCK, limner)
        for kind in ("weight", "bias"):
            out[f"{official}attn.c_qkv.{kind}"] = Entry(f"{limner}qkv.{kind}", 3, settings.heads, head_major=True)
    if settings.final_norm:
        out |= _leaves(prefix, {"norm": "final_ln"})
    return out


def statistics_keys() -> dict[str, Entry]:
    """The file of statistics is a bare pair, the mean and the spread; its keys are their places in the pair."""
    return {"0": Entry("mean"), "1": Entry("spread")}


def unet_keys(settings: UNetSettings, prefix: str) -> KeyMap:
    """A U-Net's keys are those of ADM's; `prefix` is MODEL in the decoder's file, FIRST or LAST in super-resolution's."""
    return {f"{prefix}{key}": entry for key, entry in adm.keys(settings).items()}


def text_projection_keys(settings: TextProjectionSettings, prefix: str = MODEL) -> dict[str, Entry]:
    """What the decoder's file holds beside its U-Net."""
    out = _leaves(prefix, _PROJECTION)
    if settings.tokens:  # official rows are [ch][token]
        for kind in ("weight", "bias"):
            rows = Entry(f"tokens.{kind}", settings.tokens, settings.width, head_major=True)
            out[f"{prefix}clip_tok_proj.{kind}"] = rows
    if settings.null:
        out[f"{prefix}cf_param"] = Entry("null")
    return out


def _leaves(prefix: str, names: dict[str, str], limner: str = "") -> dict[str, Entry]:
    """Weight and bias of some layers, told limner's name -> official name."""
    return {
        f"{prefix}{theirs}.{kind}": Entry(f"{limner}{ours}.{kind}")
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
