"""Official U-Nets of a case, as limner's networks: arguments -> settings, weights through the key maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.config import TextSettings, UNetSettings
from limner.networks.unet import UNet
from limner.official import adm, layout
from tests.golden.case import Case

CLASSES = (
    "UNetModel",
    "SuperResModel",
    "Text2ImUNet",
    "SuperResText2ImUNet",
    "InpaintText2ImUNet",
    "SuperResInpaintText2ImUnet",
    "SuperResInpaintText2ImUNet",
)
ARGUMENTS = {
    *("image_size", "in_channels", "model_channels", "out_channels", "num_res_blocks", "attention_downsample", "dropout"),
    *("channel_mult", "conv_resample", "num_classes", "num_heads", "num_head_channels", "num_heads_upsample"),
    *("use_scale_shift_norm", "resblock_updown", "use_new_attention_order", "use_checkpoint", "use_fp16", "dims"),
    *("text_ctx", "xf_width", "xf_layers", "xf_heads", "xf_final_ln", "xf_padding", "n_vocab", "cache_text_emb"),
}


def settings(kind: str, args: dict[str, Any], side: int) -> UNetSettings:
    """limner's settings for the arguments of an official class.

    Raises: ValueError for a class or an argument that is not known here: it must not be taken for one that is.
    """
    if kind not in CLASSES or not set(args) <= ARGUMENTS:
        raise ValueError(f"no such U-Net: {kind} with {', '.join(sorted(set(args) - ARGUMENTS)) or 'known arguments'}")
    text = None
    if args.get("xf_width"):
        text = TextSettings(
            rows=args["n_vocab"],
            context=args["text_ctx"],
            width=args["xf_width"],
            depth=args["xf_layers"],
            heads=args["xf_heads"],
            learned_padding=args["xf_padding"],
            final_norm=args["xf_final_ln"],
        )
    return UNetSettings(
        side=side,
        channels=args["in_channels"],
        width=args["model_channels"],
        multipliers=tuple(args["channel_mult"]),
        blocks=args["num_res_blocks"],
        attention=tuple(args["attention_downsample"]),
        heads=args["num_heads"],
        heads_up=_unless_minus_one(args.get("num_heads_upsample", -1)),
        head_width=_unless_minus_one(args.get("num_head_channels", -1)),
        dropout=args["dropout"],
        scale_shift=args["use_scale_shift_norm"],
        residual_resample=args.get("resblock_updown", False),
        conv_resample=args.get("conv_resample", True),
        ranged=args["out_channels"] == 2 * args["in_channels"],
        classes=args.get("num_classes"),
        text=text,
        low_res="SuperRes" in kind,
        inpaint="Inpaint" in kind,
    )


def network(case: Case, config: dict[str, Any], weights: dict[str, Tensor], side: int) -> UNet:
    """The network of `config` ({class, args}) in the case's dtype, its weights mapped there and proven to map back."""
    own = settings(config["class"], config["args"], side)
    keys = adm.keys(own, head_major=not config["args"].get("use_new_attention_order", False))
    state = layout.to_limner(weights, keys, where=config["class"])
    back = layout.to_official(state, keys, where=config["class"])
    assert all(torch.equal(back[name], value) for name, value in weights.items())
    net = UNet(own).eval().to(case.dtype)
    net.load_state_dict(state)
    return net


def _unless_minus_one(value: int) -> int | None:
    return None if value == -1 else value
