"""Networks of the sizes that unCLIP's table 3 gives have the parameters that its sizes come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.config import NetworkSettings, PriorSettings, TextProjectionSettings, UNetSettings
from limner.networks.building import build, hollow

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "manifests" / "paper_param_counts.json").read_text())
PLAIN = UNetSettings(low_res=True, attention=(), middle_attention=False, ranged=False)
MIDDLE = PLAIN.model_copy(update={"side": 256, "width": 320})
LARGE = PLAIN.model_copy(update={"side": 1024, "width": 192, "multipliers": (1, 1, 2, 2, 4, 4), "blocks": 2})
ADDITIVE = {"scale_shift": False}


@pytest.mark.parametrize(
    ("name", "networks"),
    [
        ("dalle2_diffusion_prior_karlo_style_24x2048_clip1024", [PriorSettings(clip=1024, words=1024, context=256, depth=24)]),
        (
            "dalle2_decoder_unet_only",
            [UNetSettings(width=512, words=2048), TextProjectionSettings(clip=1024, width=2048, embed=2048)],
        ),
        ("dalle2_up_64_256_scale_shift", [MIDDLE]),
        ("dalle2_up_256_1024_scale_shift", [LARGE]),
        ("dalle2_up_64_256_additive", [MIDDLE.model_copy(update=ADDITIVE)]),
        ("dalle2_up_256_1024_additive", [LARGE.model_copy(update=ADDITIVE)]),
    ],
)
def test_a_network_of_the_papers_size_has_its_parameters(name: str, networks: list[NetworkSettings]) -> None:
    assert sum(p.numel() for network in networks for p in hollow(build, network).parameters()) == COUNTS[name]
