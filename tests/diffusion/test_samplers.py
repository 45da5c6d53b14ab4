from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor

from limner.config import SamplingSettings
from limner.diffusion import samplers, schedules, targets
from limner.diffusion.samplers import Step
from limner.diffusion.schedules import CLEAN
from limner.diffusion.targets import Prediction
from tests.diffusion.closed_form import MEAN, SPREAD, denoiser, exact

SIGMAS = schedules.karras_sigmas(2000, 0.002, 80.0, 3.0)
FINE = schedules.from_sigmas(SIGMAS)  # so many levels that the path alone makes the error
LINEAR = schedules.linear(1000)
DETERMINISTIC = ["ddim", "euler", "heun", "dpmpp2m"]


def start(count: int = 64) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def no_noise(k: int) -> Tensor:
    raise AssertionError(f"asked for draw {k}")


def random(like: Tensor, seed: int = 0) -> Callable[[int], Tensor]:
    return lambda k: torch.randn(like.shape, generator=torch.Generator().manual_seed(1000 * seed + k), dtype=like.dtype)


def even(count: int) -> tuple[int, ...]:
    return schedules.path(len(FINE), str(count))


def error(name: str, count: int) -> float:
    x = start()
    drawn = samplers.last(samplers.SAMPLERS[name](denoiser(FINE), FINE, x, even(count), no_noise))
    return float((drawn - exact(FINE, x, len(FINE) - 1)).abs().max())


def test_there_is_a_sampler_for_every_name_a_setting_may_have() -> None:
    assert set(get_args(SamplingSettings.model_fields["sampler"].annotation)) <= set(samplers.SAMPLERS)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_samplers_follow_the_probability_flow(name: str) -> None:
    assert error(name, 1000) < 1e-2


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp2m", 2)])
def test_halving_the_steps_shrinks_the_error_as_its_order_says(name: str, order: int) -> None:
    gain = error(name, 40) / error(name, 80)
    assert 2 ** (order - 0.4) < gain < 2 ** (order + 0.8)


def test_euler_and_ddim_without_noise_are_the_same_walk() -> None:
    x, path = start(), schedules.path(1000, "13")
    for one, other in zip(
        *(samplers.SAMPLERS[name](denoiser(LINEAR), LINEAR, x, path, no_noise) for name in ("euler", "ddim"))
    ):
        torch.testing.assert_close(one.x, other.x)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_draws_from_the_data(eta: float) -> None:
    x = start(4000)
    drawn = samplers.last(samplers.ddim(denoiser(LINEAR), LINEAR, x, schedules.path(1000, "200"), random(x), eta=eta))
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(drawn.std()) == pytest.approx(SPREAD, abs=0.03)


def test_ddpm_with_the_true_variance_draws_from_the_data_in_few_steps() -> None:
    x = start(4000)
    drawn = samplers.last(samplers.ddpm(denoiser(LINEAR), LINEAR, x, schedules.path(1000, "4"), random(x)))
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.03)
    # The last step adds no noise: what is missing is its variance.
    missing = denoiser(LINEAR)(x, 0, CLEAN).variance
    assert float(drawn.var()) == pytest.approx(SPREAD**2 - float(missing), abs=0.03)


def test_ddim_with_eta_one_and_ddpm_with_small_variance_are_one_step() -> None:
    x, z = start(8), random(start(8))
    path = schedules.path(1000, "9")

    def small(x_t: Tensor, t: int, s: int) -> Prediction:
        limits = targets.bounds(LINEAR, t, s)
        return denoiser(LINEAR)(x_t, t, s)._replace(variance=limits.small, log_variance=limits.log_small)

    one = list(samplers.ddpm(small, LINEAR, x, path, z))
    other = list(samplers.ddim(small, LINEAR, x, path, z, eta=1.0))
    for a, b in zip(one, other):
        torch.testing.assert_close(a.x, b.x)


@pytest.mark.parametrize("name", sorted(samplers.SAMPLERS))
def test_a_sampler_yields_one_step_for_each_of_the_path_and_ends_clean(name: str) -> None:
    x, path = start(2), schedules.path(1000, "5")
    steps = list(samplers.SAMPLERS[name](denoiser(LINEAR), LINEAR, x, path, random(x)))
    assert [step.t for step in steps] == list(path[1:])
    assert all(step.x.shape == step.x0.shape == x.shape for step in steps)


@pytest.mark.parametrize("name", sorted(samplers.SAMPLERS))
def test_a_sampler_works_step_by_step_so_that_it_can_be_stopped(name: str) -> None:
    calls: list[int] = []

    def counted(x: Tensor, t: int, s: int) -> Prediction:
        calls.append(t)
        return denoiser(LINEAR)(x, t, s)

    x = start(2)
    steps: Iterator[Step] = samplers.SAMPLERS[name](counted, LINEAR, x, schedules.path(1000, "50"), random(x))
    assert calls == []
    next(steps)
    assert len(calls) <= 2


@pytest.mark.parametrize("name", sorted(samplers.SAMPLERS))
def test_float32_and_float64_agree(name: str) -> None:
    x, path = start(4), schedules.path(1000, "20")
    double = samplers.last(samplers.SAMPLERS[name](denoiser(LINEAR), LINEAR, x, path, random(x)))
    draws = random(x)
    single = samplers.last(samplers.SAMPLERS[name](denoiser(LINEAR), LINEAR, x.float(), path, lambda k: draws(k).float()))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3)


def test_noise_is_asked_for_by_step_and_not_at_the_last() -> None:
    x, asked = start(2), []

    def noise(k: int) -> Tensor:
        asked.append(k)
        return torch.zeros_like(x)

    samplers.last(samplers.ddpm(denoiser(LINEAR), LINEAR, x, schedules.path(1000, "6"), noise))
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("steps", ["40", "200"])
def test_ddim_inversion_finds_the_noise_that_draws_the_picture(steps: str) -> None:
    picture, path = MEAN + SPREAD * start(16), schedules.path(1000, steps)
    latent = samplers.last(samplers.ddim_inverse(denoiser(LINEAR), LINEAR, picture, path, no_noise))
    again = samplers.last(samplers.ddim(denoiser(LINEAR), LINEAR, latent, path, no_noise))
    assert float((again - picture).abs().max()) < 8 / int(steps)


def test_an_inversion_can_be_drawn_from_the_noisiest_level_of_the_path_too() -> None:
    picture, path = MEAN + SPREAD * start(16), schedules.path(1000, "50")
    *_, before, noisiest = samplers.ddim_inverse(denoiser(LINEAR), LINEAR, picture, path, no_noise)
    assert (before.t, noisiest.t) == (path[0], len(LINEAR))
    again = samplers.last(samplers.ddim(denoiser(LINEAR), LINEAR, before.x, path, no_noise))
    assert float((again - picture).abs().max()) < 0.15


def test_churn_lifts_levels_between_its_bounds_and_no_others() -> None:
    path = even(20)
    lifted = samplers.churned(FINE, path, 4.0, low=0.05, high=50.0)
    assert lifted
    for t, to in lifted.items():
        assert 0.05 <= float(SIGMAS[t]) <= 50
        assert float(SIGMAS[to] / SIGMAS[t]) == pytest.approx(1.2, abs=0.02)
    assert all(not 0.05 <= float(SIGMAS[t]) <= 50 for t in path[:-1] if t not in lifted)


def test_churn_is_at_most_the_square_root_of_two() -> None:
    lifted = samplers.churned(FINE, even(20), 1e6, high=30.0)
    assert max(float(SIGMAS[to] / SIGMAS[t]) for t, to in lifted.items()) < math.sqrt(2) + 0.02


@pytest.mark.parametrize("name", ["heun", "euler"])
def test_churned_walks_still_draw_from_the_data(name: str) -> None:
    x, path = start(4000), even(300)
    churn = samplers.churned(FINE, path, 20.0)
    sampler = {"heun": samplers.heun, "euler": samplers.euler}[name]
    drawn = samplers.last(sampler(denoiser(FINE), FINE, x, path, random(x), churn=churn))
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.04)
    assert float(drawn.std()) == pytest.approx(SPREAD, abs=0.04)


def test_heun_goes_straight_where_the_schedule_is_extreme() -> None:
    cosine, x = schedules.cosine(1000), start()
    path = schedules.path(1000, "20")
    wanted = exact(cosine, x, 999)
    careful, blind = (
        float((samplers.last(samplers.heun(denoiser(cosine), cosine, x, path, no_noise, **options)) - wanted).abs().max())
        for options in ({}, {"straight_above": math.inf})
    )
    assert careful < 0.05 < blind


def test_consistency_renoises_what_it_saw_to_the_next_level() -> None:
    x, path = start(8), (1999, 800, CLEAN)
    seen: list[tuple[int, Tensor]] = []

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        seen.append((t, x))
        return denoiser(FINE)(x, t, s)

    steps = list(samplers.consistency(denoise, FINE, x, path, random(x)))
    assert torch.equal(steps[-1].x, steps[-1].x0)
    torch.testing.assert_close(seen[1][1], targets.q_sample(steps[0].x0, 800, FINE, random(x)(0)))


def test_consistency_adds_no_noise_at_the_level_where_the_model_is_the_identity() -> None:
    x = start(8)
    steps = list(samplers.consistency(denoiser(FINE), FINE, x, (1999, 0), random(x), least=float(SIGMAS[0])))
    torch.testing.assert_close(steps[-1].x / FINE[0].sqrt(), steps[-1].x0, rtol=0, atol=1e-9)
