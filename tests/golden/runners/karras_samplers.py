"""k-diffusion's samplers on the Karras noise levels, where the signal is not scaled down.

limner keeps x at unit variance: its levels are those of alpha_bar = 1 / (1 + sigma^2), its x is theirs divided by
sqrt(1 + sigma^2). Levels to which noise is added first ("churn") are further entries of the same table.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.diffusion import samplers, schedules
from limner.diffusion.targets import Denoiser, Prediction, at
from tests.golden.case import Case
from tests.golden.runners.closed_form import data


def run(case: Case) -> dict[str, Tensor]:
    config = case.config
    sigmas = schedules.karras_sigmas(config["steps"], config["sigma_min"], config["sigma_max"], config["rho"])  # rising
    lifted = [_lifted(float(sigma), config) for sigma in sigmas]
    alpha_bar = schedules.from_sigmas(torch.cat([sigmas, torch.tensor(lifted, dtype=torch.float64)]))
    path = (*reversed(range(config["steps"])), schedules.CLEAN)
    churn = {i: config["steps"] + i for i in range(config["steps"]) if lifted[i] > float(sigmas[i])}
    x_T = case.input("x_T").double()
    start = x_T * config["sigma_max"] / math.sqrt(1 + config["sigma_max"] ** 2)

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.step.{k}", tuple(x_T.shape)).double()

    met: dict[int, Tensor] = {}  # by level the x of the last call there: the call that begins the step from it
    denoise = _denoiser(case, alpha_bar, met)
    options = {"churn": churn, "noise_scale": config.get("s_noise", 1.0)}
    match config["sampler"]:
        case "heun":
            steps = samplers.heun(denoise, alpha_bar, start, path, noise, straight_above=math.inf, **options)
        case "euler":
            steps = samplers.euler(denoise, alpha_bar, start, path, noise, **options)
        case "euler_ancestral":
            louder = config.get("s_noise", 1.0)
            steps = samplers.ddim(denoise, alpha_bar, start, path, lambda k: louder * noise(k), eta=config.get("eta", 1.0))
        case "dpmpp_2m":
            steps = samplers.dpmpp2m(denoise, alpha_bar, start, path, noise)
        case other:
            raise ValueError(f"limner has no sampler like {other}")
    final = samplers.last(steps)
    # After the added noise, but scaled by the level before it.
    scale = {i: ((1 + sigmas[i] ** 2) * at(alpha_bar, churn.get(i, i))).sqrt() for i in path[:-1]}
    return {
        "sigmas": torch.cat([sigmas.flip(0), torch.zeros(1, dtype=torch.float64)]),
        "x_scaled_before_each_step": torch.stack([met[churn.get(i, i)] / scale[i] for i in path[:-1]]),
        "final": final,
    }


def _lifted(sigma: float, config: dict) -> float:
    inside = config.get("s_tmin", 0.0) <= sigma <= config.get("s_tmax", math.inf)
    gain = min(config.get("s_churn", 0.0) / config["steps"], math.sqrt(2) - 1) if inside else 0.0
    return sigma * (1 + gain)


def _denoiser(case: Case, alpha_bar: Tensor, met: dict[int, Tensor]) -> Denoiser:
    expected, nothing = data(case, torch.float64), torch.zeros((), dtype=torch.float64)

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        met[t] = x
        return Prediction(expected(x, at(alpha_bar, t)), nothing, nothing)

    return denoise
