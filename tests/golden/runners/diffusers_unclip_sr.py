"""One of the two upsamplers as diffusers stores them: one forward."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks.unet import UNet
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_unet, filled


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    own = diffusers_unet(case.config, low_res=True)
    keys = diffusers_unclip.unet_keys(own)
    assert set(keys) == set(weights)
    net = filled(case, UNet, own, weights, keys)
    with torch.no_grad():
        return {"out": net(given["x"], given["timesteps"], {"low_res": given["low_res"]})}
