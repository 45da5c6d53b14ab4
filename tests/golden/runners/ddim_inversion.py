"""The noise of a given picture, and the picture drawn from it again."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import samplers, schedules, targets
from limner.diffusion.samplers import last
from tests.golden.case import Case
from tests.golden.runners.closed_form import data, output
from tests.golden.runners.schedule import NAMES


def run(case: Case) -> dict[str, Tensor]:
    config, x_0 = case.config, case.input("x_0")
    alpha_bar = NAMES[config["schedule"]](config.get("levels", 1000))
    path = schedules.path(len(alpha_bar), str(config["steps"]))
    settings = DiffusionSettings(levels=len(alpha_bar), variance="fixed_small")
    expected = data(case, x_0.dtype)

    def network(x: Tensor, t: Tensor) -> Tensor:
        signal = alpha_bar[int(t[0])].to(x.dtype)
        return output(x, expected(x, signal), signal, "eps")

    denoise = targets.denoiser(network, alpha_bar, settings, path=path, clip=None)
    inverted = [step.x for step in samplers.ddim_inverse(denoise, alpha_bar, x_0, path, torch.zeros)]
    return {
        "timestep_map": torch.tensor(path[-2::-1]),
        "inversion": torch.stack(inverted),
        "latent": inverted[-1],
        "reconstruction": last(samplers.ddim(denoise, alpha_bar, inverted[-1], path, torch.zeros)),
    }
