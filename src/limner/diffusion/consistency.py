"""Consistency models: scalings, losses and schedules of training, and DALL-E 3's two-step decoding of latents.

Training speaks of noise-to-signal ratios sigma and of pictures whose signal is not scaled down; the decoder of levels of
a variance-preserving process. Multistep sampling itself is `samplers.consistency`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.diffusion import samplers
from limner.diffusion.likelihood import flat_mean
from limner.diffusion.samplers import Noise, Step
from limner.diffusion.schedules import CLEAN, karras_sigmas
from limner.diffusion.targets import Clip, Denoiser, Network, Prediction, at, clip_unit, like
from limner.errors import ConfigError, ShapeError

Seer: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (x_t [B ...], sigma [B]) -> the clean picture it sees
Distance: TypeAlias = Literal["l1", "l2", "l2-32"]
Weighting: TypeAlias = Literal["uniform", "snr", "snr+1", "karras", "truncated-snr"]

SPREAD = 0.5  # sigma_data, the standard deviation of pictures in [-1, 1]
LEAST = 0.002  # sigma_min: here a consistency model is the identity
LATENT_SCALE = 0.18215  # of kl-f8; the decoder takes latents that are not scaled yet
LATENT_MEAN = (0.38862467, 0.02253063, 0.07381133, -0.0171294)  # of scaled kl-f8 latents (consistency decoder, released code)
LATENT_STD = (0.9654121, 1.0440036, 0.76147926, 0.77022034)


class Scalings(NamedTuple):
    """How a network is wrapped: x_0 = skip * x + out * network(into * x)."""

    skip: Tensor
    out: Tensor
    into: Tensor


def edm_scalings(sigma: Tensor, *, spread: float = SPREAD) -> Scalings:
    """Scalings of a denoiser (EDM table 1). Shapes: [...] -> three of [...] float64."""
    sigma = sigma.double()
    total = sigma**2 + spread**2
    return Scalings(spread**2 / total, sigma * spread / total.sqrt(), 1 / total.sqrt())


def boundary_scalings(sigma: Tensor, *, spread: float = SPREAD, least: float = LEAST) -> Scalings:
    """Scalings of a consistency model, which is the identity at `least` (Consistency models appendix C).

    Shapes: [...] -> three of [...] float64.
    """
    sigma = sigma.double()
    total, above = (sigma**2 + spread**2).sqrt(), sigma - least
    return Scalings(spread**2 / (above**2 + spread**2), above * spread / total, 1 / total)


def level_scalings(alpha_bar: Tensor, *, spread: float = SPREAD) -> Scalings:
    """`edm_scalings` for pictures at unit variance, x_t = sqrt(alpha_bar) (x_0 + sigma eps).

    Shapes: [...] -> three of [...] float64.
    """
    alpha_bar = alpha_bar.double()
    skip, out, into = edm_scalings((1 / alpha_bar - 1).sqrt(), spread=spread)
    return Scalings(skip / alpha_bar.sqrt(), out, into / alpha_bar.sqrt())


def network_time(sigma: Tensor) -> Tensor:
    """What the network is told instead of a step: 250 ln(sigma) (Consistency models, released code; EDM's times 1000)."""
    return 250 * (sigma.double() + 1e-44).log()


def seer(network: Network, *, spread: float = SPREAD, least: float | None = LEAST) -> Seer:
    """The consistency function of a network; `least` None gives the plain denoiser, such as a teacher is."""

    def see(x: Tensor, sigma: Tensor) -> Tensor:
        found = edm_scalings(sigma, spread=spread) if least is None else boundary_scalings(sigma, spread=spread, least=least)
        skip, out, into = (like(scaling, x) for scaling in found)
        return out * network(into * x, network_time(sigma).to(x.dtype)) + skip * x

    return see


def weight(kind: Weighting, sigma: Tensor, *, spread: float = SPREAD) -> Tensor:
    """The weight of a loss at sigma, from its signal-to-noise ratio 1 / sigma^2 (Consistency models, released code).

    Raises: ConfigError for a name that does not exist.
    """
    snr = sigma.double() ** -2
    match kind:
        case "uniform":
            return torch.ones_like(snr)
        case "snr":
            return snr
        case "snr+1":
            return snr + 1
        case "karras":
            return snr + 1 / spread**2
        case "truncated-snr":
            return snr.clamp(min=1)
    raise ConfigError(f"weighting: there is no '{kind}'; have: uniform, snr, snr+1, karras, truncated-snr")


def neighbours(
    indices: Tensor, levels: int, *, low: float = LEAST, high: float = 80.0, rho: float = 7.0
) -> tuple[Tensor, Tensor]:
    """Neighbouring noise-to-signal ratios t > s on a grid of `levels`; index 0 begins at the noisiest (CM section 5).

    Shapes: indices [B] in 0..levels-2 -> two of [B] float64.
    """
    grid = karras_sigmas(levels, low, high, rho).flip(0).to(indices.device)
    return grid[indices], grid[indices + 1]


def euler_step(x: Tensor, t: Tensor, s: Tensor, x_0: Tensor) -> Tensor:
    """x at s on the straight way from x at t to the true picture (CM algorithm 3). Shapes: x, x_0 [B ...], t, s [B]."""
    return x + (x - x_0) / like(t, x) * like(s - t, x)


def heun_step(x: Tensor, t: Tensor, s: Tensor, teacher: Seer) -> Tensor:
    """x at s on the teacher's way from x at t, of second order (CM algorithm 2, EDM algorithm 1).

    Shapes: x [B ...], t, s [B].
    """
    slope = (x - teacher(x, t)) / like(t, x)
    there = x + slope * like(s - t, x)
    slope_there = (there - teacher(there, s)) / like(s, x)
    return x + (slope + slope_there) * like((s - t) / 2, x)


def loss(
    online: Seer,
    target: Seer,
    x_0: Tensor,
    eps: Tensor,
    pair: tuple[Tensor, Tensor],
    *,
    teacher: Seer | None = None,
    distance: Distance = "l2",
    weighting: Weighting = "uniform",
    spread: float = SPREAD,
) -> Tensor:
    """How far the pictures seen from two neighbours on one way lie apart (CM algorithm 2; without a teacher, algorithm 3).

    `pair` is what `neighbours` gives; `target` is the slow average of the online network. Both see the same dropout.
    Shapes: x_0, eps [B ...], pair two of [B] -> [B].
    """
    t, s = pair
    x_t = x_0 + like(t, x_0) * eps
    with torch.no_grad():
        x_s = euler_step(x_t, t, s, x_0) if teacher is None else heun_step(x_t, t, s, teacher)
    # What the online network draws is given back, so that the target drops the same units.
    with torch.random.fork_rng([x_0.device] if x_0.device.type == "cuda" else []):
        seen = online(x_t, t)
    with torch.no_grad():
        aim = target(x_s, s)
    return apart(seen, aim, distance) * weight(weighting, t, spread=spread).to(x_0)


def apart(a: Tensor, b: Tensor, distance: Distance) -> Tensor:
    """The distance of pictures, a sample; "l2-32" compares them at 32 x 32 (CM, released code). Shapes: [B ...] -> [B].

    Raises: ShapeError when what is to be resized is no picture; ConfigError for a name that does not exist.
    """
    match distance:
        case "l1":
            return flat_mean((a - b).abs())
        case "l2":
            return flat_mean((a - b) ** 2)
        case "l2-32":
            if a.ndim != 4:
                raise ShapeError(f"distance l2-32: needs pictures [B, C, H, W]; got {list(a.shape)}")
            a, b = (F.interpolate(x, (32, 32), mode="bilinear") for x in (a, b))
            return flat_mean((a - b) ** 2)
    raise ConfigError(f"distance: there is no '{distance}'; have: l1, l2, l2-32")


def progress(
    step: int, total: int, *, start_levels: int = 2, end_levels: int = 150, start_rate: float = 0.9
) -> tuple[float, int]:
    """The target's averaging rate and the number of levels at a step of training (CM section 5, appendix C).

    The grid grows from `start_levels` to `end_levels` + 1 levels; the rate grows with it.
    """
    share = step / total
    levels = max(math.ceil(math.sqrt(share * ((end_levels + 1) ** 2 - start_levels**2) + start_levels**2) - 1), 1)
    return math.exp(start_levels * math.log(start_rate) / levels), levels + 1


def rounded_level(t: int, T: int = 1024, bins: int = 64) -> int:
    """The level of the distilled bin in which t lies: its upper end, never T itself (consistency decoder, released code)."""
    size = T // bins
    upper = (t // size + 1) * size
    return upper - size if upper == T else upper


def decoder_levels(shares: Sequence[float] = (1.0, 0.5), T: int = 1024, bins: int = 64) -> tuple[int, ...]:
    """The levels the consistency decoder visits: 1008 and 512 as released.

    Raises: ConfigError unless the shares fall from at most 1 to above 0.
    """
    if not shares or not all(0 < share <= 1 for share in shares) or sorted(shares, reverse=True) != list(shares):
        raise ConfigError(f"decoder: shares of the noise must fall from at most 1 to above 0; got {list(shares)}")
    return tuple(rounded_level(int((T - 1) * share), T, bins) for share in shares)


def normalised_latent(z: Tensor) -> Tensor:
    """kl-f8 latents as the consistency decoder sees them: scaled, then of zero mean and unit variance a channel.

    Shapes: [B 4 h w] -> the same. Units: z as the autoencoder gives it, not scaled.
    Raises: ShapeError for other latents.
    """
    if z.ndim != 4 or z.shape[1] != len(LATENT_MEAN):
        raise ShapeError(f"consistency decoder: expected latents [B, {len(LATENT_MEAN)}, h, w]; got {list(z.shape)}")
    mean, std = (torch.tensor(values, dtype=torch.float64).to(z)[:, None, None] for values in (LATENT_MEAN, LATENT_STD))
    return (z * LATENT_SCALE - mean) / std


def level_denoiser(network: Network, alpha_bar: Tensor, *, clip: Clip | None = clip_unit, spread: float = SPREAD) -> Denoiser:
    """A network distilled on a variance-preserving process as a Denoiser; output channels beyond those of x are left out."""
    nothing = torch.zeros(())

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        skip, out, into = (like(scaling, x) for scaling in level_scalings(at(alpha_bar, t), spread=spread))
        said = network(into * x, torch.full((len(x),), t, device=x.device))[:, : x.shape[1]]
        x_0 = out * said + skip * x
        return Prediction(x_0 if clip is None else clip(x_0), nothing, nothing)

    return denoise


def decode(denoiser: Denoiser, alpha_bar: Tensor, noise: Noise, levels: Sequence[int] | None = None) -> Iterator[Step]:
    """Draw what a latent shows: from pure noise, one look a level (DALL-E 3's decoder; Consistency models algorithm 1).

    `noise(k)` is the draw of look k; `levels` are the released two unless given.
    Shapes: noise(k) [B 3 H W] -> Steps of [B 3 H W].
    """
    path = (*(decoder_levels(T=len(alpha_bar)) if levels is None else levels), CLEAN)
    first = noise(0)
    start = like((1 - at(alpha_bar, path[0])).sqrt(), first) * first
    return samplers.consistency(denoiser, alpha_bar, start, path, lambda k: noise(k + 1))
