"""Karlo's own decoder: text projection and U-Net, which one state dict holds; one forward, some rows without a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks.text_projection import TextProjection
from limner.networks.unet import UNet
from limner.official import karlo
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import filled, karlo_text_projection, karlo_unet


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    own, beside = karlo_unet(case.config, side=given["x"].shape[-1]), karlo_text_projection(case.config)
    keys, rest = karlo.unet_keys(own, ""), karlo.text_projection_keys(beside, "")
    assert set(keys) | set(rest) == set(weights)
    net = filled(case, UNet, own, weights, keys)
    projection = filled(case, TextProjection, beside, weights, rest)
    image = given["image_emb"].clone()
    with torch.no_grad():
        if "uncond_rows" in given and len(given["uncond_rows"]):
            image[given["uncond_rows"]] = projection.no_image(len(given["uncond_rows"]))
        cond = projection(image, given["text_emb"], given["text_seq"], given["mask"])
        return {"out": net(given["x"], given["timesteps"], cond)}
