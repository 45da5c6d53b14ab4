"""diffusers' UnCLIPScheduler: ancestral steps on evenly rounded levels of a cosine schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import samplers, schedules, targets
from tests.golden.case import Case
from tests.golden.runners.closed_form import data, output, rounded_x0

TARGETS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {"fixed_small_log": "fixed_small", "fixed_small": "fixed_small", "learned_range": "learned_range"}


def process(described: Mapping[str, Any]) -> DiffusionSettings:
    """limner's settings for the options of the scheduler."""
    return DiffusionSettings(
        schedule="cosine",
        levels=described.get("num_train_timesteps", 1000),
        target=TARGETS[described.get("prediction_type", "epsilon")],
        variance=VARIANCES[described.get("variance_type", "fixed_small_log")],
    )


def clip_of(described: Mapping[str, Any]) -> targets.Clip:
    """How the scheduler clips the clean sample."""
    edge = described.get("clip_sample_range", 1.0)
    return lambda x_0: x_0.clamp(-edge, edge) if described.get("clip_sample", True) else x_0


def run(case: Case) -> dict[str, Tensor]:
    described, count = case.config["scheduler"], case.config["steps"]
    settings = process(described).model_copy(update={"target": "x0"})
    target = TARGETS[described.get("prediction_type", "epsilon")]
    alpha_bar = schedules.of(settings)
    path = schedules.path(settings.levels, str(count))
    x_T = case.input("x_T")
    expected = data(case, x_T.dtype)

    def network(x: Tensor, t: Tensor) -> Tensor:
        signal = alpha_bar[int(t[0])].to(x.dtype)
        said = output(x, expected(x, signal), signal, target)
        said = rounded_x0(x, said, signal.sqrt(), (1 - signal).sqrt(), target)
        return torch.cat([said, x.tanh()], dim=1) if settings.variance == "learned_range" else said

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.step.{k}", tuple(x_T.shape))

    denoise = targets.denoiser(network, alpha_bar, settings, path=path, clip=clip_of(described))
    steps = list(samplers.ddpm(denoise, alpha_bar, x_T, path, noise))
    return {
        "timesteps": torch.tensor(path[:-1]),
        "trajectory": torch.stack([step.x for step in steps]),
        "pred_x0": torch.stack([step.x0 for step in steps]),
        "alphas_cumprod": alpha_bar,
    }
