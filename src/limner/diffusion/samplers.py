"""From noise to picture along a path of levels: generators of Step, all with one signature.

`sampler(denoiser, alpha_bar, x_T, path, noise, *, ...)`. `noise(k)` gives the draw of the k-th step of the path, in
shape, dtype and device of x; a step that needs no noise does not ask. The last Step holds the picture. A caller
cancels by stopping to ask, and draws the progress bar itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from torch import Tensor

from limner.diffusion.schedules import CLEAN
from limner.diffusion.targets import Denoiser, at, like, mean_of, noise_of

Noise: TypeAlias = Callable[[int], Tensor]
NO_CHURN: Mapping[int, int] = MappingProxyType({})


class Step(NamedTuple):
    """Where a sampler stands."""

    t: int  # the level of x: CLEAN in the last step
    x: Tensor  # the sample
    x0: Tensor  # the clean picture the network saw in it before this step


class Sampler(Protocol):
    """What every sampler can be called with; some have further keywords."""

    def __call__(
        self, denoiser: Denoiser, alpha_bar: Tensor, x_T: Tensor, path: Sequence[int], noise: Noise, /
    ) -> Iterator[Step]: ...


def ddpm(denoiser: Denoiser, alpha_bar: Tensor, x_T: Tensor, path: Sequence[int], noise: Noise) -> Iterator[Step]:
    """Ancestral sampling: x_s ~ p(x_s | x_t), without noise in the last step (DDPM algorithm 2).

    Shapes: x_T [B ...].
    """
    x = x_T
    for k, (t, s) in enumerate(pairwise(path)):
        seen = denoiser(x, t, s)
        mean = mean_of(seen, x, t, s, alpha_bar)
        x = mean if s == CLEAN else mean + (0.5 * seen.log_variance).exp() * noise(k)
        yield Step(s, x, seen.x0)


def ddim(
    denoiser: Denoiser, alpha_bar: Tensor, x_T: Tensor, path: Sequence[int], noise: Noise, *, eta: float = 0.0
) -> Iterator[Step]:
    """DDIM: keeps the predicted noise, replacing the share eta of it by fresh noise (DDIM eq. 12 and 16).

    Shapes: x_T [B ...].
    Units:  eta 0 is deterministic, 1 is as noisy as DDPM.
    """
    x = x_T
    for k, (t, s) in enumerate(pairwise(path)):
        seen = denoiser(x, t, s)
        x0, eps = noise_of(seen, x, t, alpha_bar)
        signal_t, signal_s = at(alpha_bar, t), at(alpha_bar, s)
        sigma = eta * ((1 - signal_s) / (1 - signal_t)).sqrt() * (1 - signal_t / signal_s).sqrt()
        x = like(signal_s.sqrt(), x) * x0 + like((1 - signal_s - sigma**2).clamp(min=0).sqrt(), x) * eps
        if eta and s != CLEAN:
            x = x + like(sigma, x) * noise(k)
        yield Step(s, x, x0)


def ddim_inverse(denoiser: Denoiser, alpha_bar: Tensor, x_0: Tensor, path: Sequence[int], noise: Noise) -> Iterator[Step]:
    """The noise from which DDIM with eta 0 draws a given picture: its steps backwards (DDIM section 4.3).

    Takes the path of the drawing, noisy to clean, and walks it from its end; the picture itself counts as the
    cleanest level. The last Step is pure noise at level T, ready for `ddim`; the one before lies at path[0], and
    drawing from there reconstructs better (ADM appendix F). No noise is drawn.

    Shapes: x_0 [B ...].
    """
    x = x_0
    levels = (*reversed(path), len(alpha_bar))
    for below, t, s in zip(levels, levels[1:], levels[2:]):
        x0, eps = noise_of(denoiser(x, t, below), x, t, alpha_bar)
        x = _straight(x0, eps, s, alpha_bar)
        yield Step(s, x, x0)


def dpmpp2m(denoiser: Denoiser, alpha_bar: Tensor, x_T: Tensor, path: Sequence[int], noise: Noise) -> Iterator[Step]:
    """DPM-Solver++(2M): second order from the last two predictions, one call a step (DPM-Solver++ algorithm 2).

    The first step and the step to CLEAN are of first order. Deterministic.

    Shapes: x_T [B ...].
    """
    x, before, h_before = x_T, None, None
    for t, s in pairwise(path):
        x0, _ = noise_of(denoiser(x, t, s), x, t, alpha_bar)
        signal_t, signal_s = at(alpha_bar, t), at(alpha_bar, s)
        h = 0.5 * ((signal_s / (1 - signal_s)).log() - (signal_t / (1 - signal_t)).log())  # rise of log(a / b)
        aim = x0
        if before is not None and h_before is not None and s != CLEAN:
            aim = x0 + like(0.5 * h / h_before, x) * (x0 - before)
        shrink = ((1 - signal_s) / (1 - signal_t)).sqrt()  # 0 at CLEAN, where x becomes the aim
        x = like(shrink, x) * x + like(signal_s.sqrt() - shrink * signal_t.sqrt(), x) * aim
        before, h_before = x0, h
        yield Step(s, x, x0)


def euler(
    denoiser: Denoiser,
    alpha_bar: Tensor,
    x_T: Tensor,
    path: Sequence[int],
    noise: Noise,
    *,
    churn: Mapping[int, int] = NO_CHURN,
    noise_scale: float = 1.0,
) -> Iterator[Step]:
    """Straight steps along the noise level; without churn the same as DDIM with eta 0 (EDM algorithm 2, first order).

    Shapes: x_T [B ...].
    Units:  churn: level -> the noisier level to which fresh noise lifts x first (`churned`).
    """
    x = x_T
    for k, (t, s) in enumerate(pairwise(path)):
        x, t = _lift(x, t, churn.get(t, t), alpha_bar, noise, k=k, scale=noise_scale)
        x0, eps = noise_of(denoiser(x, t, s), x, t, alpha_bar)
        x = _straight(x0, eps, s, alpha_bar)
        yield Step(s, x, x0)


def heun(
    denoiser: Denoiser,
    alpha_bar: Tensor,
    x_T: Tensor,
    path: Sequence[int],
    noise: Noise,
    *,
    churn: Mapping[int, int] = NO_CHURN,
    noise_scale: float = 1.0,
    straight_above: float = 100.0,
) -> Iterator[Step]:
    """Second order: an Euler step, corrected by the slope found at its end; two calls a step (EDM algorithm 2).

    The step to CLEAN stays an Euler step.

    Shapes: x_T [B ...].
    Units:  churn: level -> the noisier level to which fresh noise lifts x first (`churned`). straight_above: the
            noise-to-signal ratio from which steps are not corrected.
    Differs: EDM corrects every step, but never begins above 80. The cosine schedule begins at 20,000, and half of a
            first step from there to 60 would be a hundredfold exaggerated correction.
    """
    x = x_T
    for k, (t, s) in enumerate(pairwise(path)):
        x, t = _lift(x, t, churn.get(t, t), alpha_bar, noise, k=k, scale=noise_scale)
        x0, eps = noise_of(denoiser(x, t, s), x, t, alpha_bar)
        x = _straight(x0, eps, s, alpha_bar)
        if s != CLEAN and _sigma(alpha_bar, t) <= straight_above:
            _, eps_after = noise_of(denoiser(x, s, path[k + 2]), x, s, alpha_bar)
            half = at(alpha_bar, s).sqrt() * (_sigma(alpha_bar, s) - _sigma(alpha_bar, t)) / 2
            x = x + like(half, x) * (eps_after - eps)
        yield Step(s, x, x0)


def churned(
    alpha_bar: Tensor, path: Sequence[int], amount: float, *, low: float = 0.0, high: float = math.inf
) -> dict[int, int]:
    """For each level of the path the noisier level to start its step from (EDM algorithm 2, S_churn, S_tmin, S_tmax).

    Units:  low, high: noise-to-signal ratios between which noise is added; outside, a level stays.
    Note:   a schedule has only its own levels: the one nearest in noise is taken.
    """
    sigmas = ((1 - alpha_bar) / alpha_bar).sqrt()
    factor = 1 + min(amount / max(len(path) - 1, 1), math.sqrt(2) - 1)
    lifted = {}
    for t in path[:-1]:
        sigma = float(sigmas[t])
        if low <= sigma <= high:
            lifted[t] = max(t, int((sigmas - factor * sigma).abs().argmin()))
    return lifted


def consistency(
    denoiser: Denoiser,
    alpha_bar: Tensor,
    x_T: Tensor,
    path: Sequence[int],
    noise: Noise,
    *,
    least: float = 0.0,
) -> Iterator[Step]:
    """Multistep consistency sampling: see, noise to the next level, look again (Consistency models, algorithm 1).

    Shapes: x_T [B ...].
    Units:  least: the noise-to-signal ratio at which the model is the identity (0.002 in the paper); the noise added is
            reduced by it, because the model's picture still has it.
    """
    x = x_T
    for k, (t, s) in enumerate(pairwise(path)):
        x0 = denoiser(x, t, s).x0
        if s == CLEAN:
            x = x0
        else:
            fresh = (_sigma(alpha_bar, s) ** 2 - least**2).clamp(min=0).sqrt()
            x = like(at(alpha_bar, s).sqrt(), x0) * (x0 + like(fresh, x0) * noise(k))
        yield Step(s, x, x0)


def resampled(sampler: Sampler, rounds: int) -> Sampler:
    """Every step taken `rounds` times, noised back in between, so that known and new pixels can agree (RePaint algorithm 1).

    A sampler that remembers earlier steps forgets them: each step stands alone, so second order becomes first.

    Units: rounds 1 leaves every step single, as RePaint's U.
    """

    def sample(denoiser: Denoiser, alpha_bar: Tensor, x_T: Tensor, path: Sequence[int], noise: Noise, /) -> Iterator[Step]:
        x, drawn = x_T, itertools.count()
        for t, s in pairwise(path):
            for left in reversed(range(rounds if s != CLEAN else 1)):
                for step in sampler(denoiser, alpha_bar, x, (t, s), lambda _: noise(next(drawn))):
                    x = step.x
                    yield step
                if left:
                    ratio = at(alpha_bar, t) / at(alpha_bar, s)
                    x = like(ratio.sqrt(), x) * x + like((1 - ratio).sqrt(), x) * noise(next(drawn))

    return sample


def last(steps: Iterator[Step]) -> Tensor:
    """Run a sampler to its end and return the picture."""
    *_, step = steps
    return step.x


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "heun": heun,
    "dpmpp2m": dpmpp2m,
    "euler": euler,
    "consistency": consistency,
}


def _sigma(alpha_bar: Tensor, t: int) -> Tensor:
    """Noise-to-signal ratio of a level."""
    return (1 / at(alpha_bar, t) - 1).sqrt()


def _straight(x0: Tensor, eps: Tensor, s: int, alpha_bar: Tensor) -> Tensor:
    """The same picture and noise, mixed for level s (DDIM eq. 12 with sigma 0)."""
    signal = at(alpha_bar, s)
    return like(signal.sqrt(), x0) * x0 + like((1 - signal).sqrt(), x0) * eps


def _lift(x: Tensor, t: int, to: int, alpha_bar: Tensor, noise: Noise, *, k: int, scale: float) -> tuple[Tensor, int]:
    """Add fresh noise to x at level t until it lies at level `to`."""
    if to == t:
        return x, t
    fresh = (_sigma(alpha_bar, to) ** 2 - _sigma(alpha_bar, t) ** 2).sqrt()
    signal = at(alpha_bar, to).sqrt()
    return like(signal / at(alpha_bar, t).sqrt(), x) * x + like(scale * signal * fresh, x) * noise(k), to
