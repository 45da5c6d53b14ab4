"""From noise to picture along a path of levels: generators of Step, all with one signature.

`sampler(denoiser, alpha_bar, x_T, path, noise, *, ...)`. `noise(k)` gives the draw of the k-th step of the path, in
shape, dtype and device of x; a step that needs no noise does not ask. The last Step holds the picture. A caller
cancels by stopping to ask, and draws the progress bar itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeAlias

from torch import Tensor

from limner.diffusion.schedules import CLEAN
from limner.diffusion.targets import Denoiser, at, like, mean_of, noise_of

Noise: TypeAlias = Callable[[int], Tensor]


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
    for t, s in pairwise((*reversed(path[:-1]), len(alpha_bar))):
        seen = denoiser(x, t, CLEAN if t == path[-2] else path[path.index(t) + 1])
        x0, eps = noise_of(seen, x, t, alpha_bar)
        signal = at(alpha_bar, s)
        x = like(signal.sqrt(), x) * x0 + like((1 - signal).sqrt(), x) * eps
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


def last(steps: Iterator[Step]) -> Tensor:
    """Run a sampler to its end and return the picture."""
    *_, step = steps
    return step.x


SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim, "dpmpp2m": dpmpp2m}
