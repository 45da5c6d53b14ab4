"""Timestep embedding, Gaussian divergences and the discretised likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion.likelihood import discretised_log_likelihood, normal_cdf, normal_kl
from limner.networks.layers import timestep_embedding
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    out = {}
    for i, entry in enumerate(case.config["embeddings"]):
        period = entry.get("max_period", 10_000)
        out[f"emb{i}"] = timestep_embedding(torch.tensor(entry["timesteps"]), entry["dim"], period=period)
    x, mean, log_scale, mean2, log_scale2 = map(case.input, ("x", "mean", "log_scale", "mean2", "log_scale2"))
    nothing = torch.zeros_like(mean)
    return out | {
        "approx_standard_normal_cdf": normal_cdf(mean),
        "discretized_gaussian_log_likelihood": discretised_log_likelihood(x, mean, log_scale),
        "normal_kl": normal_kl(mean, log_scale, mean2, log_scale2),
        "normal_kl_std": normal_kl(mean, log_scale, nothing, nothing),
    }
