"""OpenAI's CLIP: features of both towers, not normalised, and logits both ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.config import ClipSettings, ResnetSettings, TextTowerSettings, VitSettings
from limner.networks.clip import Clip
from limner.official import clip
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    own = settings(case.config["args"])
    net = loaded(Clip(own), clip.keys(own), case.weights(), case)
    given = case.inputs()
    with torch.no_grad():
        logits = net(given["image"], given["text"])
        return {
            "image_features": net.embed_image(given["image"]),
            "text_features": net.embed_text(given["text"]),
            "logits_per_image": logits,
            "logits_per_text": logits.T,
        }


def settings(args: dict[str, Any]) -> ClipSettings:
    """limner's settings for the arguments of the official class."""
    width, side, depths = args["vision_width"], args["image_resolution"], args["vision_layers"]
    image: VitSettings | ResnetSettings
    if isinstance(depths, int):
        image = VitSettings(side=side, patch=args["vision_patch_size"], width=width, depth=depths, heads=width // 64)
    else:
        image = ResnetSettings(side=side, width=width, depths=tuple(depths), heads=width * 32 // 64)
    text = TextTowerSettings(
        rows=args["vocab_size"],
        context=args["context_length"],
        width=args["transformer_width"],
        depth=args["transformer_layers"],
        heads=args["transformer_heads"],
    )
    return ClipSettings(embed=args["embed_dim"], image=image, text=text)
