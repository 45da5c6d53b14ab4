"""How much signal is left at every level, and which levels a sampler visits.

A schedule is one float64 tensor `alpha_bar` [T]: x_t = sqrt(alpha_bar[t]) x_0 + sqrt(1 - alpha_bar[t]) eps. Level t
counts steps of noise minus one; CLEAN = -1 is the picture itself and T is pure noise. What is done with a level is
in targets.py, what walks along a path in samplers.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.errors import ConfigError

CLEAN = -1


def linear(T: int) -> Tensor:
    """alpha_bar of T evenly rising betas, 1e-4 to 0.02 for T = 1000 and scaled by 1000 / T (DDPM section 4; IDDPM section 4).

    Shapes: -> [T] float64.
    Raises: ConfigError when T is so small that a beta would reach 1.
    """
    scale = 1000 / T if T > 0 else math.inf
    if scale * 0.02 >= 1:
        raise ConfigError(f"levels: the linear schedule needs more than 20 levels; got {T}; use 'cosine' for so few")
    return from_betas(np.linspace(scale * 1e-4, scale * 0.02, T, dtype=np.float64))


def cosine(T: int) -> Tensor:
    """alpha_bar of the squared-cosine schedule with offset 0.008 and betas capped at 0.999 (IDDPM eq. 17).

    Shapes: -> [T] float64.
    Raises: ConfigError when T < 1.
    """
    if T < 1:
        raise ConfigError(f"levels: a schedule needs at least one level; got {T}")
    signal = [math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(T + 1)]
    return from_betas(np.array([min(1 - after / before, 0.999) for before, after in pairwise(signal)]))


def from_betas(betas: np.ndarray) -> Tensor:
    """alpha_bar as the running product of 1 - beta (DDPM eq. 4).

    Shapes: [T] -> [T] float64.
    Raises: ConfigError when a beta lies outside 0..1.
    """
    betas = np.asarray(betas, dtype=np.float64)
    if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
        raise ConfigError("schedule: betas must be a non-empty list of numbers between 0 and 1")
    return torch.from_numpy(np.cumprod(1 - betas))


def from_sigmas(sigmas: Tensor) -> Tensor:
    """alpha_bar of levels given as noise-to-signal ratios: 1 / (1 + sigma^2) (EDM section 2, divided by its scale).

    Shapes: [T] -> [T] float64.
    Units:  sigmas rise with the level, as alpha_bar falls.
    """
    return 1 / (1 + sigmas.double() ** 2)


def karras_sigmas(levels: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """Noise-to-signal ratios from `low` to `high`, evenly spaced in their rho-th root; a single one is `high` (EDM eq. 5).

    Shapes: -> [levels] float64, rising.
    """
    ends = low ** (1 / rho), high ** (1 / rho)
    falling: Tensor = (ends[1] + torch.linspace(0, 1, levels, dtype=torch.float64) * (ends[0] - ends[1])) ** rho
    return falling.flip(0)


def shifted(alpha_bar: Tensor, shift: float) -> Tensor:
    """The schedule with the signal-to-noise ratio of every level divided by shift^2 (Simple diffusion eq. 3).

    Shapes: [T] -> [T] float64.
    Units:  shift > 1 is more noise at every level, for pictures larger than those the schedule was made for.
    """
    if shift == 1:
        return alpha_bar
    return alpha_bar / (alpha_bar + shift**2 * (1 - alpha_bar))


def of(settings: DiffusionSettings) -> Tensor:
    """The schedule a stage was trained with.

    Shapes: -> [levels] float64.
    """
    match settings.schedule:
        case "linear":
            alpha_bar = linear(settings.levels)
        case "cosine":
            alpha_bar = cosine(settings.levels)
    return shifted(alpha_bar, settings.shift)


def path(T: int, steps: str | Sequence[int] = "", *, alpha_bar: Tensor | None = None) -> tuple[int, ...]:
    """The levels to visit, from noisy to clean; the last is CLEAN.

    `alpha_bar` [T] is needed for "snr20" alone.
    Raises: ConfigError when T levels cannot be spaced so.
    """
    return (*reversed(kept(T, steps, alpha_bar=alpha_bar)), CLEAN)


def kept(T: int, steps: str | Sequence[int] = "", *, alpha_bar: Tensor | None = None) -> tuple[int, ...]:
    """The levels a respacing keeps, rising (IDDPM section 4; GLIDE section 5.2 for "fast27").

    "" keeps all; "27" spreads 27 over all levels, both ends included; "10,10,3,2,2" (or a list of counts) does so in
    equal sections, the first nearest to the picture; "ddim25" takes every (T / 25)-th from 0; "fast27" is GLIDE's set.
    For second-order samplers, which dislike a last step much longer than the one before: "trail20" takes every
    (T / 20)-th from the noisy end; "snr20" begins with pure noise and spreads the rest evenly in the logarithm of the
    noise-to-signal ratio, from 20 to 0.02 (DPM-Solver section 3.4).
    Raises: ConfigError when T levels cannot be spaced so.
    """
    if not isinstance(steps, str):
        return _sections(T, list(steps), ",".join(map(str, steps)))
    word = steps.strip()
    if not word:
        return tuple(range(T))
    if word == "fast27":
        return (*_sections(T, (10, 10, 3, 2, 2), word)[:-1], T - 3)  # the last level would be T - 1
    if word.startswith("ddim"):
        return _strided(T, _count(word.removeprefix("ddim"), word), word)
    if word.startswith("trail"):
        return _trailing(T, _count(word.removeprefix("trail"), word), word)
    if word.startswith("snr"):
        if alpha_bar is None:
            raise ConfigError(f"steps: '{word}' depends on the schedule, which is not known here; write '{word[3:]}' instead")
        return _even_snr(alpha_bar, _count(word.removeprefix("snr"), word), word)
    return _sections(T, [_count(part, word, least=0) for part in word.split(",")], word)


def respaced(alpha_bar: Tensor, levels: Sequence[int]) -> Tensor:
    """The shorter process that has only these levels (rising): its level i is level `levels[i]` of the full one.

    Shapes: [T] -> [len(levels)] float64.
    """
    return alpha_bar[torch.tensor(levels, dtype=torch.int64, device=alpha_bar.device)]


def _count(text: str, word: str, *, least: int = 1) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise ConfigError(f"steps: '{word}' is no spacing; write '100', '10,10,3,2,2', 'ddim25', 'fast27', 'trail20', 'snr20'")
    if int(text) < least:
        raise _no_level(word)
    return int(text)


def _no_level(word: str) -> ConfigError:
    return ConfigError(f"steps: '{word}' visits no level; take one step at least, or write '' for all")


def _strided(T: int, count: int, word: str) -> tuple[int, ...]:
    for stride in range(1, T):  # a stride of T would visit the cleanest level alone, which draws nothing
        levels = range(0, T, stride)
        if len(levels) == count:
            return tuple(levels)
    raise ConfigError(f"steps: '{word}': no whole stride makes {count} steps of {T} levels; write '{count}' for even ones")


def _trailing(T: int, count: int, word: str) -> tuple[int, ...]:
    if count > T:
        raise ConfigError(f"steps: '{word}': there are only {T} levels")
    return tuple(round(T - i * T / count) - 1 for i in reversed(range(count)))


def _even_snr(alpha_bar: Tensor, count: int, word: str) -> tuple[int, ...]:
    if count > len(alpha_bar):  # before a table of count rows is made
        raise ConfigError(f"steps: '{word}': there are only {len(alpha_bar)} levels")
    sigmas = (1 / alpha_bar - 1).sqrt().log()
    aims = torch.linspace(math.log(0.02), math.log(20), max(count - 1, 0), dtype=torch.float64)
    nearest = (sigmas[None] - aims[:, None]).abs().argmin(1)  # [count - 1]
    levels = sorted({len(alpha_bar) - 1, *nearest.tolist()})
    if len(levels) != count:
        raise ConfigError(f"steps: '{word}': {len(alpha_bar)} levels are too few to tell {count} apart; take fewer steps")
    return tuple(levels)


def _sections(T: int, counts: Sequence[int], word: str) -> tuple[int, ...]:
    size, longer = divmod(T, len(counts)) if counts else (0, 0)
    levels: list[int] = []
    start = 0
    for i, count in enumerate(counts):
        here = size + (i < longer)
        if count < 0 or count > here:
            raise ConfigError(f"steps: '{word}': section {i + 1} has {here} levels of {T}, it cannot hold {count} steps")
        # Repeated addition and rounding half to even, not i * stride: which levels are kept depends on it.
        stride = (here - 1) / (count - 1) if count > 1 else 1.0
        offset = 0.0
        for _ in range(count):
            levels.append(start + round(offset))
            offset += stride
        start += here
    if not levels:
        raise _no_level(word)
    return tuple(levels)
