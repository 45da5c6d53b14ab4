"""Importance sampling of training levels."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion.importance import LossSecondMoment
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    config = case.config
    sampler = LossSecondMoment(config["num_timesteps"], history=config["history_per_term"], uniform=config["uniform_prob"])
    t, losses = case.input("ts"), case.input("losses").double().abs()
    first = config["batches"][0]
    out = {"weights_initial": torch.from_numpy(sampler.weights())}
    sampler.update(t[:first], losses[:first])
    out |= {"weights_partial": torch.from_numpy(sampler.weights()), "counts_partial": torch.from_numpy(sampler.counts.copy())}
    for start in range(first, sum(config["batches"])):
        sampler.update(t[start : start + 1], losses[start : start + 1])
    weights = torch.from_numpy(sampler.weights())
    return out | {
        "weights_full": weights,
        "counts_full": torch.from_numpy(sampler.counts),
        "history": torch.from_numpy(sampler.losses),
        "importance_factor_f32": (1 / (len(weights) * weights / weights.sum())).float(),
    }
