"""Consistency training and distillation with small closed-form networks."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import consistency
from limner.diffusion.targets import like
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    c = case.config
    spread, low, high, rho = (
        c.get(name, default) for name, default in (("sigma_data", 0.5), ("sigma_min", 0.002), ("sigma_max", 80.0), ("rho", 7.0))
    )

    def seer(weights: str, least: float | None) -> consistency.Seer:
        w = case.input(weights)
        return consistency.seer(lambda x, t: torch.tanh(x @ w + like(1e-3 * t, x)), spread=spread, least=least)

    return {
        "loss": consistency.loss(
            seer("w_online", low),
            seer("w_target", low),
            case.input("x0"),
            case.input("noise"),
            consistency.neighbours(case.input("indices"), c["num_scales"], low=low, high=high, rho=rho),
            teacher=seer("w_teacher", None) if c["mode"] == "distillation" else None,
            distance=c["loss_norm"],
            weighting=c["weight_schedule"],
            spread=spread,
        )
    }
