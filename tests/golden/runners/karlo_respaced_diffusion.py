"""Karlo's respaced diffusion loops with a closed-form network."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import samplers, schedules, targets
from tests.golden.case import Case
from tests.golden.runners.closed_form import data, output


def run(case: Case) -> dict[str, Tensor]:
    config, described = case.config, case.config["diffusion"]
    fixed = "fixed_small" if described["sigma_small"] else "fixed_large"
    settings = DiffusionSettings(
        schedule="linear" if described["noise_schedule"] == "linear" else "cosine",
        levels=described["steps"],
        target="x0" if described["predict_xstart"] else "eps",
        variance="learned_range" if described["learn_sigma"] else fixed,
    )
    alpha_bar = schedules.of(settings)
    path = schedules.path(settings.levels, described["timestep_respacing"])
    x_T = case.input("x_T")
    expected = data(case, x_T.dtype)

    def network(x: Tensor, t: Tensor) -> Tensor:
        signal = alpha_bar[int(t[0])].to(x.dtype)
        said = output(x, expected(x, signal), signal, settings.target)
        return torch.cat([said, x.tanh()], dim=1) if described["learn_sigma"] else said

    def clip(x_0: Tensor) -> Tensor:
        if "clamp" in config:
            x_0 = x_0.clamp(-config["clamp"], config["clamp"])
        return targets.clip_unit(x_0) if config["clip"] else x_0

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.step.{k}", tuple(x_T.shape))

    denoise = targets.denoiser(network, alpha_bar, settings, path=path, clip=clip)
    if config.get("ddim"):
        steps = samplers.ddim(denoise, alpha_bar, x_T, path, noise, eta=config.get("eta", 0.0))
    else:
        steps = samplers.ddpm(denoise, alpha_bar, x_T, path, noise)
    return {"timestep_map": torch.tensor(path[-2::-1]), "trajectory": torch.stack([step.x for step in steps])}
