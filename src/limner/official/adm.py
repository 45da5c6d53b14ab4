"""Keys of the official U-Nets and classifiers: improved-diffusion, guided-diffusion (ADM) and glide-text2im share one layout.

They differ in the order of fused attention rows: [head][q, k, v] in all of them but ADM's 64-pixel model, which has
[q, k, v][head] like limner.
"""

from __future__ import annotations

import torch

from limner.config import ClassifierSettings, UNetSettings
from limner.networks.building import hollow
from limner.networks.classifier import Classifier
from limner.networks.unet import Attention, Block, Resample, ResBlock, UNet
from limner.official.layout import Entry

_RES = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "emb": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
}
_TEXT_BLOCK = {
    "norm_1": "ln_1",
    "qkv": "attn.c_qkv",
    "proj": "attn.c_proj",
    "norm_2": "ln_2",
    "fc": "mlp.c_fc",
    "out": "mlp.c_proj",
}


def keys(settings: UNetSettings, *, head_major: bool = True) -> dict[str, Entry]:
    """Official key -> limner's place for it, for a network of these settings.

    `head_major` is False only for networks trained with `use_new_attention_order`.
    """
    net = hollow(UNet, settings)
    out = _encoder(net, head_major)
    if net.label is not None:
        out["label_emb.weight"] = Entry("label.weight")
    for n, block in enumerate(net.up):
        _block(out, f"output_blocks.{n}", f"up.{n}", block, head_major)
    _leaf(out, "out.0", "norm")
    _leaf(out, "out.2", "head")
    if settings.text is not None:
        _text(out, net)
    return out


def classifier_keys(settings: ClassifierSettings, *, head_major: bool = True) -> dict[str, Entry]:
    """Official key -> limner's place for it, for a classifier of these settings.

    `head_major` is of its attention blocks; the attention pool has [q, k, v][head] in any case.
    """
    net = hollow(Classifier, settings)
    out = _encoder(net, head_major)
    match settings.pool:
        case "attention":
            _leaf(out, "out.0", "head.0")
            out["out.2.positional_embedding"] = Entry("head.2.positions", transposed=True)
            _fused(out, "out.2.qkv_proj", "head.2.qkv", Entry("", axes=1))
            _fused(out, "out.2.c_proj", "head.2.proj", Entry("", axes=1))
        case "adaptive":
            _leaf(out, "out.0", "head.0")
            _fused(out, "out.3", "head.4", Entry("", axes=2))
        case "spatial" | "spatial_v2":
            for n, layer in enumerate(net.head):
                if list(layer.parameters()):
                    _leaf(out, f"out.{n}", f"head.{n}")
    return out


def _encoder(net: UNet | Classifier, head_major: bool) -> dict[str, Entry]:
    """What the U-Net and the classifier share: step embedding, encoder, middle."""
    out: dict[str, Entry] = {}
    _leaf(out, "time_embed.0", "time.0")
    _leaf(out, "time_embed.2", "time.2")
    _leaf(out, "input_blocks.0.0", "stem")
    for n, block in enumerate(net.down):
        _block(out, f"input_blocks.{n + 1}", f"down.{n}", block, head_major)
    for n, layer in enumerate(net.middle):
        _layer(out, f"middle_block.{n}", f"middle.{n}", layer, head_major)
    return out


def _leaf(out: dict[str, Entry], official: str, limner: str) -> None:
    out[f"{official}.weight"] = Entry(f"{limner}.weight")
    out[f"{official}.bias"] = Entry(f"{limner}.bias")


def _block(out: dict[str, Entry], official: str, limner: str, block: torch.nn.Module, head_major: bool) -> None:
    if not isinstance(block, Block):
        return
    present = [name for name in ("res", "attention", "resampler") if getattr(block, name) is not None]
    for n, name in enumerate(present):
        _layer(out, f"{official}.{n}", f"{limner}.{name}", getattr(block, name), head_major)


def _layer(out: dict[str, Entry], official: str, limner: str, layer: torch.nn.Module, head_major: bool) -> None:
    match layer:
        case ResBlock():
            for ours, theirs in _RES.items():
                if ours != "skip" or not isinstance(layer.skip, torch.nn.Identity):
                    _leaf(out, f"{official}.{theirs}", f"{limner}.{ours}")
        case Resample() if layer.conv is not None:
            _leaf(out, f"{official}.{'op' if layer.resampling == 'down' else 'conv'}", f"{limner}.conv")
        case Attention():
            _leaf(out, f"{official}.norm", f"{limner}.norm")
            _fused(out, f"{official}.qkv", f"{limner}.qkv", Entry("", 3, layer.heads, head_major, 1))
            if layer.text_kv is not None:  # only GLIDE has it, and GLIDE is always head-major
                _fused(out, f"{official}.encoder_kv", f"{limner}.text_kv", Entry("", 2, layer.heads, head_major, 1))
            _fused(out, f"{official}.proj_out", f"{limner}.proj", Entry("", axes=1))
        case _:
            pass  # plain pooling and nearest enlargement have no weights


def _fused(out: dict[str, Entry], official: str, limner: str, entry: Entry) -> None:
    out[f"{official}.weight"] = entry._replace(key=f"{limner}.weight")
    out[f"{official}.bias"] = entry._replace(key=f"{limner}.bias", axes=0)


def _text(out: dict[str, Entry], net: UNet) -> None:
    text = net.text
    if text is None:
        return
    out["token_embedding.weight"] = Entry("text.tokens.weight")
    out["positional_embedding"] = Entry("text.positions")
    if text.padding is not None:
        out["padding_embedding"] = Entry("text.padding")
    for n in range(len(text.blocks)):
        for ours, theirs in _TEXT_BLOCK.items():
            official, limner = f"transformer.resblocks.{n}.{theirs}", f"text.blocks.{n}.{ours}"
            if ours == "qkv":
                _fused(out, official, limner, Entry("", 3, text.settings.heads, head_major=True))
            else:
                _leaf(out, official, limner)
    if text.settings.final_norm:
        _leaf(out, "final_ln", "text.norm")
    _leaf(out, "transformer_proj", "text.pool")
