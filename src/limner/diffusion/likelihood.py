"""How many bits a picture costs: Gaussian divergences, the discretised likelihood, the variational bound.

Everything is in bits per dimension, per sample. The training losses built on the bound are in losses.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion.schedules import CLEAN
from limner.diffusion.schedules import path as all_levels
from limner.diffusion.targets import (
    Clip,
    Level,
    Network,
    Prediction,
    at,
    bounds,
    clip_unit,
    eps_from_x0,
    floor_of,
    like,
    mean_of,
    posterior_mean,
    predict,
    q_sample,
    timesteps,
)


class BoundTerm(NamedTuple):
    """One level's share of the variational bound."""

    t: int
    bits: Tensor  # [B] bits per dimension
    x0_mse: Tensor  # [B] squared error of the clean picture
    eps_mse: Tensor  # [B] squared error of the noise that this picture implies


def flat_mean(x: Tensor) -> Tensor:
    """Mean over everything but the batch.

    Shapes: [B ...] -> [B].
    """
    return x.flatten(1).mean(1)


def normal_kl(mean: Tensor, log_variance: Tensor, mean_other: Tensor, log_variance_other: Tensor) -> Tensor:
    """KL divergence of two Gaussians with diagonal covariance, in nats, element by element.

    Shapes: broadcast against each other.
    """
    ratio = (log_variance - log_variance_other).exp()
    distance = (mean - mean_other) ** 2 * (-log_variance_other).exp()
    return 0.5 * (ratio + distance - 1 + log_variance_other - log_variance)


def normal_cdf(x: Tensor) -> Tensor:
    """The standard normal distribution function by its usual tanh approximation (as the official code has it)."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log probability of the 8-bit bin that holds x, in nats, element by element (DDPM eq. 13).

    Shapes: broadcast against each other.
    Units:  x in [-1, 1], in steps of 2 / 255; log_scale is the log of the standard deviation.
    """
    sharpness = (-log_scale).exp()
    below = normal_cdf(sharpness * (x - mean - 1 / 255))
    above = normal_cdf(sharpness * (x - mean + 1 / 255))
    # The bins at the ends of the range reach to infinity.
    probability = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return probability.clamp(min=1e-12).log()


def bound_term(
    seen: Prediction, x_0: Tensor, x_t: Tensor, t: Level, s: Level, *, alpha_bar: Tensor, floor: tuple[int, int] | None = (1, 0)
) -> Tensor:
    """L_{t-1}, or L_0 where s is CLEAN, in bits per dimension (DDPM eq. 5; IDDPM eq. 4 to 7).

    Shapes: x_0, x_t [B ...] -> [B].
    """
    mean = mean_of(seen, x_t, t, s, alpha_bar)
    true_mean = posterior_mean(x_0, x_t, t, s, alpha_bar)
    true_log_variance = like(bounds(alpha_bar, t, s, floor).log_small, x_t)
    divergence = flat_mean(normal_kl(true_mean, true_log_variance, mean, seen.log_variance))
    surprise = -flat_mean(discretised_log_likelihood(x_0, mean, 0.5 * seen.log_variance))
    ends = torch.as_tensor(s, device=x_0.device) == CLEAN
    return torch.where(ends, surprise, divergence) / math.log(2)


def prior_bits(x_0: Tensor, alpha_bar: Tensor, t: int | None = None) -> Tensor:
    """L_T: what is still known of the picture at level t, in bits per dimension (DDPM section 3.1).

    None stands for the noisiest level; for a path it is path[0].

    Shapes: x_0 [B ...] -> [B].
    """
    signal = at(alpha_bar, len(alpha_bar) - 1 if t is None else t)
    nothing = torch.zeros((), dtype=x_0.dtype, device=x_0.device)
    return flat_mean(normal_kl(like(signal.sqrt(), x_0) * x_0, like((1 - signal).log(), x_0), nothing, nothing)) / math.log(2)


def bits_per_dim(
    network: Network,
    x_0: Tensor,
    alpha_bar: Tensor,
    settings: DiffusionSettings,
    noise: Callable[[int], Tensor],
    *,
    path: Sequence[int] | None = None,
    clip: Clip | None = clip_unit,
) -> Iterator[BoundTerm]:
    """The terms of the variational bound along a path, noisy to clean; with `prior_bits` they sum to bits per dim.

    `noise(k)` is the noise of the k-th term. None as path stands for all levels.

    Shapes: x_0 [B C ...].
    """
    levels = all_levels(len(alpha_bar)) if path is None else path
    floor = floor_of(levels)
    for k, (t, s) in enumerate(pairwise(levels)):
        eps = noise(k)
        x_t = q_sample(x_0, t, alpha_bar, eps)
        output = network(x_t, timesteps(torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device), settings))
        seen = predict(output, x_t, t, s, alpha_bar=alpha_bar, settings=settings, clip=clip, floor=floor)
        bits = bound_term(seen, x_0, x_t, t, s, alpha_bar=alpha_bar, floor=floor)
        eps_mse = flat_mean((eps_from_x0(x_t, seen.x0, t, alpha_bar) - eps) ** 2)
        yield BoundTerm(t, bits, flat_mean((seen.x0 - x_0) ** 2), eps_mse)
