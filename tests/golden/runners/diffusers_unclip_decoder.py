"""The decoder as diffusers stores it: one forward on conditions that are given."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks.unet import UNet
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_unet, filled


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    own = diffusers_unet(case.config, low_res=False)
    keys = diffusers_unclip.unet_keys(own)
    assert set(keys) == set(weights)
    net = filled(case, UNet, own, weights, keys)
    names = {"text": "context", "pooled": "class_emb", "mask": "mask"}
    cond = {name: given[theirs] for name, theirs in names.items() if theirs in given}
    cond.setdefault("pooled", torch.zeros(len(given["x"]), 4 * own.width, dtype=case.dtype))  # without a class embedding
    with torch.no_grad():
        return {"out": net(given["x"], given["timesteps"], cond)}
