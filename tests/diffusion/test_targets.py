from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import schedules, targets
from limner.diffusion.schedules import CLEAN
from limner.errors import ConfigError, ShapeError

T = 60
TABLE = schedules.cosine(T)
VARIANCES = get_args(DiffusionSettings.model_fields["variance"].annotation)
TARGETS = get_args(DiffusionSettings.model_fields["target"].annotation)
PAIRS = st.integers(0, T - 1).flatmap(lambda t: st.tuples(st.just(t), st.integers(CLEAN, t - 1)))


def pictures(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x_0, eps = torch.randn(2, 4, 3, 5, 5, generator=rng, dtype=torch.float64)
    return x_0.clamp(-1, 1), eps


def process(**changed: object) -> DiffusionSettings:
    return DiffusionSettings.model_validate({"levels": T, "variance": "fixed_small", **changed})


@given(st.integers(0, T - 1))
def test_every_target_gives_back_picture_and_noise(t: int) -> None:
    x_0, eps = pictures()
    x_t = targets.q_sample(x_0, t, TABLE, eps)
    v = targets.v_target(x_0, eps, t, TABLE)
    near = {"rtol": 1e-6, "atol": 1e-9}
    torch.testing.assert_close(targets.x0_from_eps(x_t, eps, t, TABLE), x_0, **near)
    torch.testing.assert_close(targets.x0_from_v(x_t, v, t, TABLE), x_0, **near)
    torch.testing.assert_close(targets.eps_from_x0(x_t, x_0, t, TABLE), eps, **near)


@given(PAIRS)
def test_previous_x_gives_back_the_picture(pair: tuple[int, int]) -> None:
    t, s = pair
    x_0, eps = pictures()
    x_t = targets.q_sample(x_0, t, TABLE, eps)
    before = targets.posterior_mean(x_0, x_t, t, s, TABLE)
    torch.testing.assert_close(targets.x0_from_previous(x_t, before, t, s, TABLE), x_0, rtol=1e-6, atol=1e-6)


@given(PAIRS.filter(lambda pair: pair[1] != CLEAN))
def test_the_posterior_is_that_of_bayes(pair: tuple[int, int]) -> None:
    t, s = pair
    beta, rest = targets.beta(TABLE, t, s), 1 - TABLE[s]
    precision = 1 / rest + (1 - beta) / beta
    torch.testing.assert_close(targets.bounds(TABLE, t, s).small, 1 / precision)
    one, nil = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(targets.posterior_mean(one, nil, t, s, TABLE), (TABLE[s].sqrt() / rest / precision)[None])
    torch.testing.assert_close(targets.posterior_mean(nil, one, t, s, TABLE), ((1 - beta).sqrt() / beta / precision)[None])


@given(PAIRS)
def test_the_small_variance_is_never_above_the_large_one(pair: tuple[int, int]) -> None:
    limits = targets.bounds(TABLE, *pair)
    assert limits.small <= limits.large
    assert bool(limits.log_small.isfinite())


def test_a_step_into_the_picture_takes_the_variance_of_the_step_before() -> None:
    path = schedules.path(T, "5")
    limits = targets.bounds(TABLE, 0, CLEAN, targets.floor_of(path))
    assert limits.small == 0
    torch.testing.assert_close(limits.log_small, targets.bounds(TABLE, path[-3], path[-2]).small.log())


def test_a_path_of_a_single_step_has_a_finite_variance() -> None:
    path = (T - 1, CLEAN)
    assert targets.floor_of(path) is None
    limits = targets.bounds(TABLE, *path, targets.floor_of(path))
    assert float(limits.log_small) == pytest.approx(float(limits.large.log()))


def test_levels_one_a_sample_are_levels_for_the_batch() -> None:
    x_0, eps = pictures()
    t = torch.tensor([0, 7, 30, T - 1])
    mixed = targets.q_sample(x_0, t, TABLE, eps)
    for i, level in enumerate(t.tolist()):
        alone = targets.q_sample(x_0[i : i + 1], level, TABLE, eps[i : i + 1])
        torch.testing.assert_close(mixed[i : i + 1], alone)


def test_clean_and_pure_noise_are_levels_too() -> None:
    x_0, eps = pictures()
    ends = torch.tensor([CLEAN, T, CLEAN, T])
    mixed = targets.q_sample(x_0, ends, TABLE, eps)
    assert torch.equal(mixed[::2], x_0[::2])
    assert torch.equal(mixed[1::2], eps[1::2])
    assert torch.equal(targets.q_sample(x_0, CLEAN, TABLE, eps), x_0)
    assert torch.equal(targets.q_sample(x_0, T, TABLE, eps), eps)


def test_float32_pictures_stay_float32() -> None:
    x_0, eps = (x.float() for x in pictures())
    assert targets.q_sample(x_0, 3, TABLE, eps).dtype == torch.float32
    assert targets.q_sample(x_0, torch.full((4,), 3), TABLE, eps).dtype == torch.float32


def test_a_level_too_few_is_told_by_shape() -> None:
    x_0, eps = pictures()
    with pytest.raises(ShapeError, match=r"shape \[4\]; got \[3\]"):
        targets.q_sample(x_0, torch.tensor([1, 2, 3]), TABLE, eps)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_perfect_network_of_any_target_finds_the_picture(target: str, variance: str) -> None:
    x_0, eps = pictures()
    chosen = process(target=target, variance=variance)
    path = schedules.path(T, "6")
    t, s = path[2], path[3]
    x_t = targets.q_sample(x_0, t, TABLE, eps)

    def network(x: Tensor, levels: Tensor) -> Tensor:
        assert levels.tolist() == [t] * 4
        before = targets.posterior_mean(x_0, x, t, s, TABLE)
        said = {"eps": eps, "x0": x_0, "v": targets.v_target(x_0, eps, t, TABLE), "previous": before}[target]
        return torch.cat([said, torch.zeros_like(said)], dim=1) if variance.startswith("learned") else said

    seen = targets.denoiser(network, TABLE, chosen, path=path)(x_t, t, s)
    torch.testing.assert_close(seen.x0, x_0)
    mean = targets.mean_of(seen, x_t, t, s, TABLE)
    torch.testing.assert_close(mean, targets.posterior_mean(x_0, x_t, t, s, TABLE))


@given(st.floats(-1, 1), PAIRS)
@settings(max_examples=50)
def test_a_learned_range_lies_between_its_bounds(share: float, pair: tuple[int, int]) -> None:
    x = torch.zeros(1, 1, 2, dtype=torch.float64)
    output = torch.cat([x, torch.full_like(x, share)], dim=1)
    seen = targets.predict(output, x, *pair, alpha_bar=TABLE, settings=process(variance="learned_range"))
    limits = targets.bounds(TABLE, *pair)
    low, high = sorted([float(limits.log_small), float(limits.large.log())])
    assert low - 1e-9 <= float(seen.log_variance.min())
    assert float(seen.log_variance.max()) <= high + 1e-9


def test_the_picture_is_clipped_to_its_range() -> None:
    x_0, eps = pictures()
    chosen = process(target="x0")
    x_t = targets.q_sample(x_0, 5, TABLE, eps)
    seen = targets.denoiser(lambda x, t: 3 * x_0, TABLE, chosen)(x_t, 5, 4)
    assert float(seen.x0.abs().max()) <= 1
    raw = targets.denoiser(lambda x, t: 3 * x_0, TABLE, chosen, clip=None)(x_t, 5, 4)
    assert torch.equal(raw.x0, 3 * x_0)


def test_rescaled_levels_reach_the_network_as_thousandths() -> None:
    t = torch.tensor([0, 15, 59])
    torch.testing.assert_close(targets.timesteps(t, process(rescale_t=True)), t.float() * 1000 / T)
    assert targets.timesteps(t, process()) is t


@pytest.mark.parametrize(("variance", "channels"), [("learned_range", 3), ("fixed_small", 6), ("learned", 5)])
def test_a_network_with_other_channels_than_promised_is_refused(variance: str, channels: int) -> None:
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ShapeError, match="network output"):
        targets.split(torch.zeros(2, channels, 4, 4), x, process(variance=variance))


def test_a_schedule_of_other_length_than_the_settings_is_refused() -> None:
    with pytest.raises(ConfigError, match="60 levels; the settings say 1000"):
        targets.denoiser(lambda x, t: x, TABLE, DiffusionSettings())


@pytest.mark.parametrize("target", TARGETS)
def test_the_training_target_is_what_a_perfect_network_says(target: str) -> None:
    x_0, eps = pictures()
    t = torch.tensor([0, 9, 30, 59])
    x_t = targets.q_sample(x_0, t, TABLE, eps)
    said = targets.training_target(x_0, x_t, t, eps, TABLE, process(target=target))
    seen = targets.predict(said, x_t, t, t - 1, alpha_bar=TABLE, settings=process(target=target))
    torch.testing.assert_close(seen.x0, x_0, rtol=1e-6, atol=1e-6)
