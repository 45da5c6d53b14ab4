"""A class-conditional cascade with a classifier, small enough to draw in a fraction of a second: 8 px, then 16 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from limner import weights
from limner.config import (
    ClassifierSettings,
    DiffusionSettings,
    PartSettings,
    SamplingSettings,
    StageSettings,
    SystemSettings,
    UNetSettings,
)
from limner.networks.building import build

CLASSES = 3


def settings(name: str = "tiny-adm", *, classes: int | None = CLASSES, upsampler: bool = True, classifier: bool = True) -> Any:
    """The system's settings, with or without each of its pieces."""
    small = {"width": 8, "multipliers": (1, 2), "blocks": 1, "head_width": 8, "groups": 2}
    sampling = SamplingSettings(sampler="ddpm", steps="3", guidance=2.0)
    base = StageSettings(
        name="base",
        network=UNetSettings(side=8, attention=(2,), classes=classes, **small),
        diffusion=DiffusionSettings(levels=50, rescale_t=True),
        sampling=sampling,
    )
    larger = StageSettings(
        name="upsampler",
        network=UNetSettings(side=16, attention=(), classes=classes, low_res=True, **small),
        diffusion=DiffusionSettings(levels=50),
        sampling=sampling.model_copy(update={"guidance": 0.0}),
        low_side=8,
    )
    part = PartSettings(name="classifier", network=ClassifierSettings(side=8, attention=(2,), classes=CLASSES, **small))
    return SystemSettings(
        system="adm",
        name=name,
        summary="A tiny cascade of classes for tests",
        stages=(base, larger) if upsampler else (base,),
        parts=(part,) if classifier else (),
    )


def save(path: Path, *, seed: int = 0, **pieces: Any) -> Path:
    """The system as a checkpoint folder, its weights random: fresh networks end in zeros, which would hide every condition."""
    system = settings(path.name, **pieces)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    states = {}
    for each, network in system.networks().items():
        state = build(network).state_dict()
        states[each] = {key: value + 0.1 * torch.randn(value.shape, generator=generator) for key, value in state.items()}
    return weights.save_folder(path, system, states, "# tiny\n\nNot trained.\n", dtype=torch.float32)
