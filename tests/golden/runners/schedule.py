"""Coefficient tables of whole processes, under their official names."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import schedules
from limner.diffusion.schedules import CLEAN
from limner.diffusion.targets import at, beta, bounds, posterior_mean
from tests.golden.case import Case

NAMES = {"linear": schedules.linear, "cosine": schedules.cosine, "squaredcos_cap_v2": schedules.cosine}


def run(case: Case) -> dict[str, Tensor]:
    out = {}
    for entry in case.config["schedules"]:
        name = entry.get("guided_name") or entry["glide_name"]
        for table, values in tables(NAMES[name](entry["steps"])).items():
            out[f"{name}{entry['steps']}.{table}"] = values
    return out


def tables(alpha_bar: Tensor) -> dict[str, Tensor]:
    """All official float64 tables of a process whose steps go from t to t - 1."""
    t = torch.arange(len(alpha_bar))
    limits = bounds(alpha_bar, t, t - 1)
    one, zero = torch.ones(len(alpha_bar), dtype=torch.float64), torch.zeros(len(alpha_bar), dtype=torch.float64)
    return {
        "betas": beta(alpha_bar, t, t - 1),
        "alphas_cumprod": alpha_bar,
        "alphas_cumprod_prev": at(alpha_bar, torch.where(t == 0, CLEAN, t - 1)),
        "alphas_cumprod_next": at(alpha_bar, t + 1),
        "sqrt_alphas_cumprod": alpha_bar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alpha_bar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - alpha_bar).log(),
        "sqrt_recip_alphas_cumprod": (1 / alpha_bar).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alpha_bar - 1).sqrt(),
        "posterior_variance": limits.small,
        "posterior_log_variance_clipped": limits.log_small,
        "posterior_mean_coef1": posterior_mean(one, zero, t, t - 1, alpha_bar),
        "posterior_mean_coef2": posterior_mean(zero, one, t, t - 1, alpha_bar),
    }
