"""diffusers' samplers on schedules of betas; what they call a scheduler is a sampler and a choice of levels here.

DDIM steps between integer levels of the schedule. The others know only noise-to-signal ratios, interpolated from the
schedule, which become a table of their own here: level 0 is the last one before clean.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from limner.diffusion import samplers, schedules, targets
from limner.diffusion.samplers import Step
from limner.diffusion.schedules import CLEAN
from limner.diffusion.targets import Denoiser, Prediction, at
from tests.golden.case import Case
from tests.golden.runners.closed_form import data, output, rounded_x0

Rounding = Callable[[Tensor, Tensor, Tensor, str], Tensor]  # (alpha_bar [], x, output, target) -> x_0

LEAST_SIGNAL = 2.0**-24  # where a sampler divides by the signal and would meet none
TARGETS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def run(case: Case) -> dict[str, Tensor]:
    match case.config["scheduler"]:
        case "DDIMScheduler":
            return _ddim(case)
        case "DPMSolverMultistepScheduler":
            return _multistep(case)
        case "HeunDiscreteScheduler":
            return _heun(case)
        case "EulerDiscreteScheduler" | "EulerAncestralDiscreteScheduler":
            return _euler(case)
        case other:
            raise ValueError(f"limner has no sampler like {other}")


def _ddim(case: Case) -> dict[str, Tensor]:
    """Its step goes back by a fixed stride, which need not lead to the next level it visits: each is a path of its own."""
    settings, steps, alpha_bar = case.config["kwargs"], case.config["steps"], _alpha_bar(case.config["kwargs"])
    stride = len(alpha_bar) // steps
    match settings.get("timestep_spacing", "leading"):
        case "leading":
            levels = (np.arange(steps) * stride).round()[::-1] + settings.get("steps_offset", 0)
        case "trailing":
            levels = np.round(np.arange(len(alpha_bar), 0, -len(alpha_bar) / steps)) - 1
        case _:
            levels = np.linspace(0, len(alpha_bar) - 1, steps).round()[::-1]
    final = CLEAN if settings.get("set_alpha_to_one", True) else 0
    x, walked, clip = case.input("x_T"), [], _clip(settings, by_default=True)
    denoise = _denoiser(case, alpha_bar, _through_alpha_bar)
    for i, t in enumerate(int(level) for level in levels):
        s = t - stride if t >= stride else final
        steps_made = samplers.ddim(denoise, alpha_bar, x, (t, s), _draw(case, x, i), eta=case.config.get("eta", 0.0))
        (step,) = steps_made
        # They clip the clean sample, but go on with the noise that the network said; limner's is that of the clipped one.
        x = step.x + at(alpha_bar, s).sqrt().to(x.dtype) * (clip(step.x0) - step.x0)
        walked.append(x)
    return {"timesteps": torch.tensor(levels.astype(np.int64)), "trajectory": torch.stack(walked), "final": x}


def _multistep(case: Case) -> dict[str, Tensor]:
    settings, steps = case.config["kwargs"], case.config["steps"]
    _refuse_other_solvers(settings)
    table = _alpha_bar(settings, least=LEAST_SIGNAL)
    ratios = _ratios(table)
    levels = int((ratios <= math.exp(-settings.get("lambda_min_clipped", -math.inf))).sum())  # noisier ones are left out
    match settings.get("timestep_spacing", "linspace"):
        case "linspace":
            times = np.linspace(0, levels - 1, steps + 1).round()[::-1][:-1]
        case "leading":
            times = (np.arange(steps + 1) * (levels // (steps + 1))).round()[::-1][:-1] + settings.get("steps_offset", 0)
        case _:
            times = np.arange(levels, 0, -len(ratios) / steps).round() - 1
    sigmas, times = _sigmas(settings, ratios, times, np.array([ratios[-1], ratios[0]]))
    to_clean = settings.get("final_sigmas_type", "zero") == "zero"
    ends = [] if to_clean else [float(ratios[0])]
    alpha_bar = schedules.from_sigmas(torch.tensor([*ends, *sigmas[::-1]], dtype=torch.float64))
    path = (*reversed(range(len(alpha_bar))), CLEAN) if to_clean else tuple(reversed(range(len(alpha_bar))))
    x = case.input("x_T")
    # The network is asked at whole levels of the schedule, also where the sampler stands between two.
    asked = table[torch.tensor([*[0] * len(ends), *times.round()[::-1]], dtype=torch.int64)]
    denoise = _denoiser(case, alpha_bar, _through_shares, asked=asked)
    if settings.get("solver_order", 2) == 1:
        steps_made = list(samplers.euler(denoise, alpha_bar, x, path, _draw(case, x, 0)))
    elif not to_clean and (settings.get("euler_at_final") or (settings.get("lower_order_final", True) and steps < 15)):
        steps_made = list(samplers.dpmpp2m(denoise, alpha_bar, x, path[:-1], _draw(case, x, 0)))
        steps_made += samplers.dpmpp2m(denoise, alpha_bar, steps_made[-1].x, path[-2:], _draw(case, x, 0))
    else:
        steps_made = list(samplers.dpmpp2m(denoise, alpha_bar, x, path, _draw(case, x, 0)))
    return {
        "timesteps": torch.tensor(times.round().astype(np.int64)),
        "sigmas": torch.tensor([*sigmas, 0.0 if to_clean else ends[0]]),
        **_trajectory(steps_made),
    }


def _heun(case: Case) -> dict[str, Tensor]:
    """A step of theirs is half a step of ours: the straight guess, seen at the second call, and its correction."""
    settings = case.config["kwargs"]
    ratios = _ratios(_alpha_bar(settings))
    sigmas, times = _sigmas(settings, ratios, _times(settings, len(ratios), case.config["steps"]))
    alpha_bar = schedules.from_sigmas(torch.tensor(sigmas[::-1].copy()))
    met: list[Tensor] = []
    x = _start(case, sigmas)
    denoise = targets.edited(_denoiser(case, alpha_bar, _through_ratio, met=met), _clip(settings, by_default=False))
    last = samplers.last(samplers.heun(denoise, alpha_bar, x, _all(alpha_bar), _draw(case, x, 0), straight_above=math.inf))
    twice = np.repeat(sigmas, 2)[1:]
    return {
        "timesteps": torch.tensor(np.repeat(times, 2)[1:]),
        "sigmas": torch.tensor([*twice, 0.0]),
        "trajectory": torch.stack([*met[1:], last]),
        "final": last,
    }


def _euler(case: Case) -> dict[str, Tensor]:
    settings = case.config["kwargs"]
    ratios = _ratios(_alpha_bar(settings, least=LEAST_SIGNAL))
    sigmas, times = _sigmas(settings, ratios, _times(settings, len(ratios), case.config["steps"]))
    alpha_bar = schedules.from_sigmas(torch.tensor(sigmas[::-1].copy()))
    x = _start(case, sigmas)
    eta = 1.0 if "Ancestral" in case.config["scheduler"] else 0.0
    noise = _draw(case, x, 0)
    steps = list(samplers.ddim(_denoiser(case, alpha_bar, _through_ratio), alpha_bar, x, _all(alpha_bar), noise, eta=eta))
    return {"timesteps": torch.tensor(times), "sigmas": torch.tensor([*sigmas, 0.0]), **_trajectory(steps)}


def _trajectory(steps: list[Step]) -> dict[str, Tensor]:
    return {"trajectory": torch.stack([step.x for step in steps]), "final": steps[-1].x}


def _refuse_other_solvers(settings: dict) -> None:
    """Raises: ValueError for a solver that must not be taken for DPM-Solver++ of first or second order."""
    own = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "thresholding": False}
    own |= {f"use_{name}": False for name in ("lu_lambdas", "exponential_sigmas", "beta_sigmas", "flow_sigmas")}
    other = [name for name, value in own.items() if settings.get(name, value) != value]
    if other or settings.get("solver_order", 2) > 2:
        raise ValueError(f"limner has no such solver: {', '.join(other) or 'of third order'}")


def _clip(settings: dict, *, by_default: bool) -> targets.Clip:
    edge = settings.get("clip_sample_range", 1.0) if settings.get("clip_sample", by_default) else math.inf
    return lambda x_0: x_0.clamp(-edge, edge)


def _alpha_bar(settings: dict, *, least: float = 0.0) -> Tensor:
    """Their tables are float32; the last entry is `least` where they are stretched until no signal is left at the end."""
    levels = settings.get("num_train_timesteps", 1000)
    low, high = settings.get("beta_start", 1e-4), settings.get("beta_end", 0.02)
    match settings.get("beta_schedule", "linear"):
        case "linear":
            betas = torch.linspace(low, high, levels)
        case "scaled_linear":
            betas = torch.linspace(low**0.5, high**0.5, levels) ** 2
        case _:
            alpha_bar = schedules.cosine(levels)
            betas = targets.beta(alpha_bar, torch.arange(levels), torch.arange(levels) - 1).float()
    if not settings.get("rescale_betas_zero_snr"):
        return (1 - betas).cumprod(0).double()
    share = (1 - betas).cumprod(0).sqrt()
    share = (share - share[-1]) * (share[0] / (share[0] - share[-1]))
    stretched = torch.cat([share[:1] ** 2, share[1:] ** 2 / share[:-1] ** 2]).cumprod(0).double()
    stretched[-1] = least
    return stretched


def _ratios(alpha_bar: Tensor) -> np.ndarray:
    return ((1 - alpha_bar) / alpha_bar).sqrt().numpy()


def _times(settings: dict, levels: int, steps: int) -> np.ndarray:
    match settings.get("timestep_spacing", "linspace"):
        case "linspace":
            return np.linspace(0, levels - 1, steps)[::-1]
        case "leading":
            return ((np.arange(steps) * (levels // steps)).round()[::-1] + settings.get("steps_offset", 0)).astype(float)
        case _:
            return np.arange(levels, 0, -levels / steps).round() - 1


def _sigmas(
    settings: dict, ratios: np.ndarray, times: np.ndarray, ends: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Noise-to-signal ratios to visit, falling, and their times.

    When asked for, both are evenly spaced in the 7th root instead, between `ends` or the first and last of them.
    """
    sigmas = np.interp(times, np.arange(len(ratios)), ratios)
    if settings.get("use_karras_sigmas"):
        high, low = (sigmas if ends is None else ends)[[0, -1]]
        sigmas = schedules.karras_sigmas(len(times), float(low), float(high)).numpy()[::-1].copy()
        times = np.interp(np.log(sigmas), np.log(ratios), np.arange(len(ratios)))
    return sigmas, times.copy()


def _start(case: Case, sigmas: np.ndarray) -> Tensor:
    """They scale x_T by the largest ratio, or with 'leading' by what makes it unit variance in our terms."""
    leading = case.config["kwargs"].get("timestep_spacing", "linspace") == "leading"
    return case.input("x_T") * (1.0 if leading else float(sigmas[0] / np.sqrt(1 + sigmas[0] ** 2)))


def _all(alpha_bar: Tensor) -> tuple[int, ...]:
    return (*reversed(range(len(alpha_bar))), CLEAN)


def _through_alpha_bar(alpha_bar: Tensor, x: Tensor, said: Tensor, target: str) -> Tensor:
    signal = alpha_bar.to(x.dtype)
    return rounded_x0(x, said, signal.sqrt(), (1 - signal).sqrt(), target)


def _through_shares(alpha_bar: Tensor, x: Tensor, said: Tensor, target: str) -> Tensor:
    """With shares of signal and noise that were rounded on the way through their ratio."""
    sigma = (1 / alpha_bar - 1).sqrt().to(x.dtype)
    share = 1 / (sigma**2 + 1).sqrt()
    return rounded_x0(x, said, share, sigma * share, target)


def _through_ratio(alpha_bar: Tensor, x: Tensor, said: Tensor, target: str) -> Tensor:
    """With x as large as its noise."""
    sigma = (1 / alpha_bar - 1).sqrt().to(x.dtype)
    large = x * (sigma**2 + 1).sqrt()
    return large - sigma * said if target == "eps" else _through_shares(alpha_bar, x, said, target)


def _draw(case: Case, x: Tensor, first: int) -> Callable[[int], Tensor]:
    return lambda k: case.drawn(f"noise.step.{first + k}", tuple(x.shape))


def _denoiser(
    case: Case, alpha_bar: Tensor, rounding: Rounding, *, met: list[Tensor] | None = None, asked: Tensor | None = None
) -> Denoiser:
    expected, nothing = data(case, case.dtype), torch.zeros(())
    target = TARGETS[case.config["kwargs"].get("prediction_type", "epsilon")]

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        if met is not None:
            met.append(x)
        signal = at(alpha_bar if asked is None else asked, t).to(x.dtype)
        said = output(x, expected(x, signal), signal, target)
        return Prediction(rounding(at(alpha_bar, t), x, said, target), nothing, nothing)

    return denoise
