"""Multistep consistency sampling with a small network under the paper's boundary scalings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.diffusion import samplers, schedules
from limner.diffusion.targets import Prediction, at
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    config, x_T, w = case.config, case.input("x_T"), case.input("w")
    low, spread = config["sigma_min"], config.get("sigma_data", 0.5)
    sigmas = schedules.karras_sigmas(config["steps"], low, config["sigma_max"], config.get("rho", 7.0))
    alpha_bar = schedules.from_sigmas(sigmas)
    path = tuple(config["steps"] - 1 - i for i in config["ts"])  # their grid falls, a limner schedule rises
    nothing = torch.zeros(())

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        sigma = float(sigmas[t])
        large = x / at(alpha_bar, t).sqrt()
        said = torch.tanh(large / math.hypot(sigma, spread) @ w + 1e-3 * 250 * math.log(sigma))
        skip, gain = spread**2 / ((sigma - low) ** 2 + spread**2), (sigma - low) * spread / math.hypot(sigma, spread)
        return Prediction((gain * said + skip * large).clamp(-1, 1), nothing, nothing)

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.step.{k}", tuple(x_T.shape))

    start = x_T * config["sigma_max"] * at(alpha_bar, path[0]).sqrt()
    steps = list(samplers.consistency(denoise, alpha_bar, start, path, noise, least=low))
    returned = steps[-1].x / at(alpha_bar, path[-1]).sqrt()
    return {
        "denoised_each_step": torch.stack([step.x0 for step in steps]),
        "returned": returned,
        "returned_clamped": returned.clamp(-1, 1),
    }
