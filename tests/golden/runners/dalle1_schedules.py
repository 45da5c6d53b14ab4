"""How the dVAE's temperature, KL weight and step size are annealed."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.discrete import annealing
from tests.golden.case import Case

CURVES = {"temperature": annealing.TEMPERATURE, "kl_weight": annealing.KL_WEIGHT, "lr": annealing.STEP_SIZE}


def run(case: Case) -> dict[str, Tensor]:
    steps = case.config["steps"]
    return {name: torch.tensor([curve.at(step) for step in steps], dtype=torch.float64) for name, curve in CURVES.items()}
