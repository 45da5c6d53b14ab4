"""The whole way from noise to a CLIP image embedding, guided by a text."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import guidance, samplers, schedules, targets
from tests.golden.case import Case
from tests.golden.runners.diffusers_prior import networks
from tests.golden.runners.unclip_scheduler import clip_of, process


def run(case: Case) -> dict[str, Tensor]:
    config, given = case.config, case.inputs()
    net, statistics = networks(case, config["prior"])
    settings = process(config["scheduler"])
    alpha_bar = schedules.of(settings)
    path = schedules.path(settings.levels, str(config["steps"]))
    x_T = given["x_T"]
    with torch.no_grad():
        words = net.project({"text": given["text_enc"], "pooled": given["text_emb"], "mask": given["mask"]})
    null = {name: value[: len(x_T)] for name, value in words.items()}  # the case has those without words in front
    cond = {name: value[len(x_T) :] for name, value in words.items()}

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.step.{k}", tuple(x_T.shape))

    with torch.no_grad():
        guided = guidance.cfg(net, config["guidance"], cond, null)
        denoise = targets.denoiser(guided, alpha_bar, settings, path=path, clip=clip_of(config["scheduler"]))
        normalised = samplers.last(samplers.ddpm(denoise, alpha_bar, x_T, path, noise))
        return {"normalised": normalised, "image_embedding": statistics.restore(normalised)}
