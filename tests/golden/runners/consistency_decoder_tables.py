"""Levels and scalings of the consistency decoder's process."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import consistency, schedules
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    alpha_bar = schedules.cosine(1024)
    skip, out, into = consistency.level_scalings(alpha_bar)
    return {
        "round_timesteps": torch.tensor([consistency.rounded_level(t) for t in range(1024)]),
        "schedule_1_and_half": torch.tensor(consistency.decoder_levels()),
        "schedule_4": torch.tensor(consistency.decoder_levels((1.0, 0.75, 0.5, 0.25))),
        "sqrt_ac": alpha_bar.sqrt(),
        "sqrt_1mac": (1 - alpha_bar).sqrt(),
        "c_skip": skip,
        "c_out": out,
        "c_in": into,
    }
