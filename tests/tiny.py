"""A cascade small enough to draw in a fraction of a second: 8 px from words, then 16 px, with weights that do something."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from limner import tokens, weights
from limner.config import (
    DiffusionSettings,
    SamplingSettings,
    StageSettings,
    SystemSettings,
    TextSettings,
    UNetSettings,
)
from limner.networks.unet import UNet

CONTEXT = 16
VOCABULARY = "vocabulary.json"
_WORDS = ["a red fox", "a blue square above a green circle", "two yellow stars next to a house"]


def settings(name: str = "tiny", side: int = 8) -> SystemSettings:
    text = TextSettings(vocabulary=VOCABULARY, rows=300, context=CONTEXT, width=16, depth=1, heads=2)
    small = {"width": 8, "multipliers": (1, 2), "blocks": 1, "head_width": 8, "groups": 2, "ranged": False}
    diffusion = DiffusionSettings(levels=50, target="v", variance="fixed_small")
    return SystemSettings(
        name=name,
        summary="A tiny cascade for tests",
        stages=(
            StageSettings(
                name="base",
                network=UNetSettings(side=side, attention=(2,), text=text, **small),
                diffusion=diffusion,
                sampling=SamplingSettings(sampler="ddim", steps="4", guidance=2.0),
            ),
            StageSettings(
                name="upsampler",
                network=UNetSettings(side=2 * side, attention=(), low_res=True, **small),
                diffusion=diffusion,
                sampling=SamplingSettings(sampler="ddpm", steps="3"),
                low_side=side,
            ),
        ),
    )


def states(system: SystemSettings, seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights: fresh networks end in zeros, which would hide every condition."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for stage in system.stages:
        net = UNet(stage.network)
        found[stage.name] = {
            key: value + 0.1 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
            for key, value in net.state_dict().items()
        }
    return found


def save(path: Path, *, seed: int = 0, side: int = 8) -> Path:
    """The tiny system as a checkpoint folder; another seed gives other weights."""
    system = settings(path.name, side)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / VOCABULARY
        tokens.train(_WORDS, 300, file)
        vocabulary = file.read_bytes()
    torch.manual_seed(seed)
    return weights.save_folder(path, system, states(system, seed), "# tiny\n\nNot trained.\n", {VOCABULARY: vocabulary})
