"""Which levels a respacing keeps, and the tables of the shorter process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from limner.diffusion import schedules
from limner.diffusion.targets import beta
from tests.golden.case import Case
from tests.golden.runners.schedule import NAMES


def run(case: Case) -> dict[str, Tensor]:
    out = {}
    for i, spec in enumerate(case.config["specs"]):
        if spec.get("raises"):
            with pytest.raises(ValueError):
                kept(spec["steps"], spec["respacing"], spec.get("implementation", "glide"))
            continue
        levels = kept(spec["steps"], spec["respacing"], spec.get("implementation", "glide"))
        out[f"{i:02d}.timesteps"] = torch.tensor(levels)
        if "schedule" in spec:
            alpha_bar = schedules.respaced(NAMES[spec["schedule"]](spec["steps"]), levels)
            t = torch.arange(len(levels))
            out[f"{i:02d}.timestep_map"] = torch.tensor(levels)
            out[f"{i:02d}.betas"] = beta(alpha_bar, t, t - 1)
            out[f"{i:02d}.alphas_cumprod"] = alpha_bar
    return out


def kept(steps: int, respacing: str | Sequence[int], implementation: str) -> tuple[int, ...]:
    """As limner has it, but "fast27" is a word that only one of the official implementations knows."""
    if implementation != "glide" and isinstance(respacing, str) and respacing.startswith("fast"):
        raise ValueError(f"{implementation} does not know {respacing}")
    return schedules.kept(steps, respacing)
