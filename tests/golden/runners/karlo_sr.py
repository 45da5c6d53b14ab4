"""One of the two U-Nets of Karlo's super-resolution: one forward."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks.unet import UNet
from limner.official import karlo
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import filled, karlo_unet


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    own = karlo_unet(case.config, side=given["x"].shape[-1], low_res=True)
    keys = karlo.unet_keys(own, "")
    assert set(keys) == set(weights)
    net = filled(case, UNet, own, weights, keys)
    with torch.no_grad():
        return {"out": net(given["x"], given["timesteps"], {"low_res": given["low_res"]})}
