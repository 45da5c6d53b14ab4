"""What a network predicts and what follows from it for the step from level t to level s.

Every formula reads only alpha_bar[t] and alpha_bar[s], so a respaced process needs no tables of its own. Levels are
ints (one for the batch) or int64 tensors [B]; tables are float64 and are read before anything is rounded to the
dtype of x. Samplers that use a Denoiser are in samplers.py, training losses in losses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion.schedules import CLEAN
from limner.errors import ConfigError, ShapeError

Level: TypeAlias = int | Tensor
Network: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (x_t, t [B] as the network was trained to see it) -> output
Clip: TypeAlias = Callable[[Tensor], Tensor]


class Prediction(NamedTuple):
    """What a network says about the step from x_t to x_s."""

    x0: Tensor  # the clean picture, edited and clipped
    variance: Tensor  # of p(x_s | x_t), as wide as x or one value a sample; 0 is possible at the last step
    log_variance: Tensor  # its logarithm, where 0 is replaced by the variance one step earlier
    mean: Tensor | None = None  # of p(x_s | x_t), only when the network predicts x_s itself
    push: Tensor | None = None  # gradient of a score that x should climb


Denoiser: TypeAlias = Callable[[Tensor, int, int], Prediction]  # (x_t, t, s)


class Bounds(NamedTuple):
    """The two variances between which p(x_s | x_t) lies (IDDPM section 3.1)."""

    small: Tensor  # of q(x_s | x_t, x_0); 0 when s is CLEAN
    large: Tensor  # beta, of the forward step from s to t
    log_small: Tensor  # logarithm of small; of `floor` where s is CLEAN
    floor: Tensor  # small of the last step but one, which replaces 0


def at(alpha_bar: Tensor, t: Level) -> Tensor:
    """alpha_bar at level t, in float64; 1 at CLEAN = -1 and 0 at pure noise = T.

    Shapes: int -> []; [B] -> [B].
    """
    if isinstance(t, int):
        if t in (CLEAN, len(alpha_bar)):
            return torch.tensor(float(t == CLEAN), dtype=torch.float64, device=alpha_bar.device)
        return alpha_bar[t]
    # Index -1 is the last entry of a table that ends with pure noise and clean.
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device=alpha_bar.device)
    return torch.cat([alpha_bar, ends])[t.to(alpha_bar.device)]


def like(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient in the dtype of x and ready to multiply it.

    Shapes: [] -> []; [B] -> [B 1 1 ...].
    """
    if coefficient.ndim == 0:
        return coefficient.to(x.dtype)
    if coefficient.shape != x.shape[:1]:
        raise ShapeError(f"t must hold one level a sample, shape [{len(x)}]; got {list(coefficient.shape)}")
    return coefficient.to(x).view(-1, *[1] * (x.ndim - 1))  # [B 1 1 ...]


def q_sample(x_0: Tensor, t: Level, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    """Jump from clean data to level t in one draw of q(x_t | x_0) (DDPM eq. 4).

    Shapes: x_0, eps [B ...] -> [B ...], dtype of x_0.
    Units:  x_0 in [-1, 1]; t = 0 is one step of noise, t = T - 1 is almost pure noise.
    Raises: ShapeError when t does not hold one level a sample.
    """
    signal = at(alpha_bar, t)
    # The table stays float64 until here: float32 loses 1 - alpha_bar near t = 0.
    return like(signal.sqrt(), x_0) * x_0 + like((1 - signal).sqrt(), x_0) * eps


def v_target(x_0: Tensor, eps: Tensor, t: Level, alpha_bar: Tensor) -> Tensor:
    """v = a eps - b x_0 (Progressive distillation, appendix D)."""
    signal = at(alpha_bar, t)
    return like(signal.sqrt(), x_0) * eps - like((1 - signal).sqrt(), x_0) * x_0


def x0_from_eps(x_t: Tensor, eps: Tensor, t: Level, alpha_bar: Tensor) -> Tensor:
    """The clean picture that x_t and its noise imply (DDPM eq. 15)."""
    signal = at(alpha_bar, t)
    return like((1 / signal).sqrt(), x_t) * x_t - like((1 / signal - 1).sqrt(), x_t) * eps


def eps_from_x0(x_t: Tensor, x_0: Tensor, t: Level, alpha_bar: Tensor) -> Tensor:
    """The noise that x_t and a clean picture imply (DDIM eq. 12)."""
    signal = at(alpha_bar, t)
    return (x_t - like(signal.sqrt(), x_t) * x_0) / like((1 - signal).sqrt(), x_t)


def x0_from_v(x_t: Tensor, v: Tensor, t: Level, alpha_bar: Tensor) -> Tensor:
    """x_0 = a x_t - b v (Progressive distillation, appendix D)."""
    signal = at(alpha_bar, t)
    return like(signal.sqrt(), x_t) * x_t - like((1 - signal).sqrt(), x_t) * v


def x0_from_previous(x_t: Tensor, x_s: Tensor, t: Level, s: Level, alpha_bar: Tensor) -> Tensor:
    """The clean picture whose posterior mean is x_s (DDPM eq. 7, solved for x_0)."""
    of_x0, of_xt = _posterior_weights(alpha_bar, t, s)
    return like(1 / of_x0, x_t) * x_s - like(of_xt / of_x0, x_t) * x_t


def posterior_mean(x_0: Tensor, x_t: Tensor, t: Level, s: Level, alpha_bar: Tensor) -> Tensor:
    """Mean of q(x_s | x_t, x_0) (DDPM eq. 7).

    Shapes: x_0, x_t [B ...] -> [B ...].
    """
    of_x0, of_xt = _posterior_weights(alpha_bar, t, s)
    return like(of_x0, x_t) * x_0 + like(of_xt, x_t) * x_t


def beta(alpha_bar: Tensor, t: Level, s: Level) -> Tensor:
    """Variance of the forward step from s to t (DDPM eq. 2)."""
    return 1 - at(alpha_bar, t) / at(alpha_bar, s)


def bounds(alpha_bar: Tensor, t: Level, s: Level, floor: tuple[int, int] | None = (1, 0)) -> Bounds:
    """The smallest and largest variance of p(x_s | x_t) (IDDPM eq. 15; DDPM eq. 7).

    `floor` is the step (t, s) whose small variance stands in where s is CLEAN, the last but one of the path;
    None takes beta, for a path of a single step.

    Shapes: [] or [B] float64, as t.
    """
    large = beta(alpha_bar, t, s)
    small = large * (1 - at(alpha_bar, s)) / (1 - at(alpha_bar, t))
    least = large if floor is None else bounds(alpha_bar, *floor, None).small
    return Bounds(small, large, torch.where(small > 0, small, least).log(), least)


def floor_of(path: Sequence[int]) -> tuple[int, int] | None:
    """The last step of a path that has a variance: that into the level before CLEAN; None when there is none."""
    return (path[-3], path[-2]) if len(path) > 2 else None


def timesteps(t: Tensor, settings: DiffusionSettings) -> Tensor:
    """Levels as the network was trained to see them: with rescale_t as t * 1000 / T (improved-diffusion).

    Shapes: [B] int64 -> [B] int64 or float32.
    """
    return t.float() * (1000.0 / settings.levels) if settings.rescale_t else t


def clip_unit(x_0: Tensor) -> Tensor:
    """Pictures lie in [-1, 1]."""
    return x_0.clamp(-1, 1)


def split(output: Tensor, x_t: Tensor, settings: DiffusionSettings) -> tuple[Tensor, Tensor | None]:
    """The prediction and, when the variance is learned, the channels that say it.

    Shapes: [B C ...] or [B 2C ...] -> [B C ...], [B C ...] | None.
    Raises: ShapeError when the network has other channels than its settings promise.
    """
    ranged = settings.variance in ("learned", "learned_range")
    channels = x_t.shape[1]
    wanted = (len(x_t), channels * (2 if ranged else 1), *x_t.shape[2:])
    if output.shape != wanted:
        raise ShapeError(
            f"network output: variance '{settings.variance}' needs shape {list(wanted)}; got {list(output.shape)}; "
            "set diffusion.variance as the network was built"
        )
    return (output[:, :channels], output[:, channels:]) if ranged else (output, None)


def predict(
    output: Tensor,
    x_t: Tensor,
    t: Level,
    s: Level,
    *,
    alpha_bar: Tensor,
    settings: DiffusionSettings,
    clip: Clip | None = None,
    floor: tuple[int, int] | None = (1, 0),
) -> Prediction:
    """p(x_s | x_t) from what the network said at x_t (DDPM section 3.2; IDDPM eq. 15).

    Shapes: output [B C ...] or [B 2C ...]; x_t [B C ...].
    """
    said, spread = split(output, x_t, settings)
    mean = None
    match settings.target:
        case "eps":
            x_0 = x0_from_eps(x_t, said, t, alpha_bar)
        case "x0":
            x_0 = said
        case "v":
            x_0 = x0_from_v(x_t, said, t, alpha_bar)
        case "previous":
            x_0, mean = x0_from_previous(x_t, said, t, s, alpha_bar), said
    variance, log_variance = _variance(spread, x_t, bounds(alpha_bar, t, s, floor), settings)
    return Prediction(x_0 if clip is None else clip(x_0), variance, log_variance, mean)


def denoiser(
    network: Network,
    alpha_bar: Tensor,
    settings: DiffusionSettings,
    *,
    path: Sequence[int] | None = None,
    clip: Clip | None = clip_unit,
) -> Denoiser:
    """Bind a network to its process: (x_t, t, s) -> Prediction.

    `path` is the path it will be asked along; only the variance of the very last step depends on it. None stands for
    all levels.
    Raises: ConfigError when the settings do not fit the schedule.
    """
    if len(alpha_bar) != settings.levels:
        raise ConfigError(f"diffusion.levels: the schedule has {len(alpha_bar)} levels; the settings say {settings.levels}")
    floor = floor_of(path) if path is not None else (1, 0)

    def denoise(x_t: Tensor, t: int, s: int) -> Prediction:
        output = network(x_t, timesteps(torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device), settings))
        return predict(output, x_t, t, s, alpha_bar=alpha_bar, settings=settings, clip=clip, floor=floor)

    return denoise


def edited(denoise: Denoiser, edit: Clip) -> Denoiser:
    """The same denoiser, its clean picture passed through `edit`."""

    def denoise_and_edit(x_t: Tensor, t: int, s: int) -> Prediction:
        prediction = denoise(x_t, t, s)
        return prediction._replace(x0=edit(prediction.x0))

    return denoise_and_edit


def mean_of(prediction: Prediction, x_t: Tensor, t: Level, s: Level, alpha_bar: Tensor) -> Tensor:
    """Mean of p(x_s | x_t), moved by the push: + variance * gradient (ADM algorithm 1).

    Shapes: x_t [B ...] -> [B ...].
    """
    mean = prediction.mean
    if mean is None:
        mean = posterior_mean(prediction.x0, x_t, t, s, alpha_bar)
    return mean if prediction.push is None else mean + prediction.variance * prediction.push


def noise_of(prediction: Prediction, x_t: Tensor, t: int, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """Clean picture and noise at x_t, moved by the push: eps - b * gradient (ADM algorithm 2).

    Shapes: x_t [B ...] -> x_0 [B ...], eps [B ...].
    Note:   the moved clean picture is not clipped again, as in the official code.
    """
    eps = eps_from_x0(x_t, prediction.x0, t, alpha_bar)
    if prediction.push is None:
        return prediction.x0, eps
    eps = eps - like((1 - at(alpha_bar, t)).sqrt(), x_t) * prediction.push
    return x0_from_eps(x_t, eps, t, alpha_bar), eps


def training_target(x_0: Tensor, x_t: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor, settings: DiffusionSettings) -> Tensor:
    """What the network should have said at x_t.

    Shapes: x_0, x_t, eps [B ...]; t [B] -> [B ...].
    """
    match settings.target:
        case "eps":
            return eps
        case "x0":
            return x_0
        case "v":
            return v_target(x_0, eps, t, alpha_bar)
        case "previous":
            return posterior_mean(x_0, x_t, t, t - 1, alpha_bar)


def _posterior_weights(alpha_bar: Tensor, t: Level, s: Level) -> tuple[Tensor, Tensor]:
    signal_t, signal_s = at(alpha_bar, t), at(alpha_bar, s)
    forward = signal_t / signal_s  # 1 - beta
    return (1 - forward) * signal_s.sqrt() / (1 - signal_t), (1 - signal_s) * forward.sqrt() / (1 - signal_t)


def _variance(spread: Tensor | None, x: Tensor, limits: Bounds, settings: DiffusionSettings) -> tuple[Tensor, Tensor]:
    match settings.variance:
        case "learned" if spread is not None:
            return spread.exp(), spread
        case "learned_range" if spread is not None:
            share = (spread + 1) / 2  # neither clipped nor squashed
            log_variance = share * like(limits.large.log(), x) + (1 - share) * like(limits.log_small, x)
            return log_variance.exp(), log_variance
        case "fixed_large":
            # Differs: DDPM takes beta at every step; the official code starts with the floor, as here.
            large = torch.where(limits.small > 0, limits.large, limits.floor)
            return like(large, x), like(large.log(), x)
        case _:
            return like(limits.small, x), like(limits.log_small, x)
