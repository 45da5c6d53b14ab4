from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.config import DiffusionSettings
from limner.diffusion import schedules
from limner.diffusion.schedules import CLEAN
from limner.errors import ConfigError


@pytest.mark.parametrize("schedule", [schedules.linear, schedules.cosine])
@pytest.mark.parametrize("levels", [21, 100, 1000, 4000])
def test_a_schedule_falls_from_almost_one_to_almost_zero(schedule, levels: int) -> None:
    alpha_bar = schedule(levels)
    assert alpha_bar.dtype == torch.float64
    assert alpha_bar.shape == (levels,)
    assert bool((alpha_bar.diff() < 0).all())
    assert alpha_bar[0] > 0.95
    assert 0 < alpha_bar[-1] < 1e-3


def test_linear_keeps_its_end_when_it_has_other_numbers_of_levels() -> None:
    ends = [float(schedules.linear(levels)[-1].log()) for levels in (500, 1000, 4000)]
    assert max(ends) - min(ends) < 0.2


def test_linear_refuses_so_few_levels_that_a_beta_reaches_one() -> None:
    with pytest.raises(ConfigError, match="more than 20 levels"):
        schedules.linear(20)


@pytest.mark.parametrize("levels", [0, -5])
def test_no_schedule_has_less_than_one_level(levels: int) -> None:
    for schedule in (schedules.linear, schedules.cosine):
        with pytest.raises(ConfigError, match="levels"):
            schedule(levels)


@pytest.mark.parametrize("betas", [[], [0.0, 0.1], [0.5, 1.0], [[0.1]]])
def test_betas_outside_zero_to_one_are_refused(betas: list) -> None:
    with pytest.raises(ConfigError, match="betas"):
        schedules.from_betas(betas)


@given(st.floats(0.1, 10))
def test_shifting_divides_the_signal_to_noise_ratio_by_the_square(shift: float) -> None:
    plain = schedules.cosine(50)
    moved = schedules.shifted(plain, shift)
    torch.testing.assert_close(moved / (1 - moved) * shift**2, plain / (1 - plain))


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_settings_name_the_schedule_and_its_shift(name: str) -> None:
    made = schedules.of(DiffusionSettings(schedule=name, levels=200, shift=2.0))
    plain = {"linear": schedules.linear, "cosine": schedules.cosine}[name](200)
    torch.testing.assert_close(made, schedules.shifted(plain, 2.0))
    assert torch.equal(schedules.of(DiffusionSettings(schedule=name, levels=200)), plain)


def test_levels_given_as_sigmas_have_that_ratio_of_noise_to_signal() -> None:
    sigmas = schedules.karras_sigmas(9, 0.01, 50.0)
    alpha_bar = schedules.from_sigmas(sigmas)
    torch.testing.assert_close(((1 - alpha_bar) / alpha_bar).sqrt(), sigmas)
    assert sigmas[0].item() == pytest.approx(0.01)
    assert sigmas[-1].item() == pytest.approx(50)


def test_a_single_sigma_is_the_highest_for_a_sample_begins_there() -> None:
    assert schedules.karras_sigmas(1, 0.01, 50.0).tolist() == pytest.approx([50.0])


@given(st.integers(2, 2000), st.data())
def test_an_even_path_falls_from_the_last_level_to_clean(levels: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, levels))
    path = schedules.path(levels, str(count))
    assert len(path) == count + 1
    assert path[0] == levels - 1
    assert path[-2:] == (0, CLEAN)
    assert all(before > after for before, after in pairwise(path))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 50))
def test_sections_keep_their_counts(counts: list[int], spare: int) -> None:
    levels = 8 * len(counts) + spare
    kept = schedules.kept(levels, counts)
    assert kept == schedules.kept(levels, ",".join(map(str, counts)))
    start = 0
    for i, count in enumerate(counts):
        end = start + levels // len(counts) + (i < levels % len(counts))
        assert sum(start <= level < end for level in kept) == count
        start = end


def test_no_spacing_visits_all_levels() -> None:
    assert schedules.path(5) == (4, 3, 2, 1, 0, CLEAN)


def test_ddim_spacing_takes_whole_strides_from_zero() -> None:
    assert schedules.kept(1000, "ddim25") == tuple(range(0, 1000, 40))


def test_fast27_has_27_levels_most_of_them_clean_and_not_the_noisiest() -> None:
    kept = schedules.kept(1000, "fast27")
    assert len(kept) == 27
    assert sum(level < 400 for level in kept) == 20
    assert kept[-1] == 997


@given(st.integers(1, 400), st.data())
def test_trailing_spacing_ends_at_the_noisiest_level(levels: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, levels))
    kept = schedules.kept(levels, f"trail{count}")
    assert len(set(kept)) == count
    assert kept == tuple(sorted(kept))
    assert kept[-1] == levels - 1


@pytest.mark.parametrize("schedule", [schedules.linear, schedules.cosine])
def test_even_snr_steps_have_almost_equal_ratios_of_noise(schedule) -> None:
    alpha_bar = schedule(1000)
    path = schedules.path(1000, "snr12", alpha_bar=alpha_bar)
    assert path[0] == 999
    assert len(path) == 13
    steps = (1 / alpha_bar[list(path[1:-1])] - 1).sqrt().log().diff()
    assert steps.max() - steps.min() < 0.3 * steps.mean().abs()


@pytest.mark.parametrize(
    ("levels", "steps", "says"),
    [
        (1000, "ddim60", "no whole stride"),
        (1000, "ddim1", "no whole stride"),
        (1000, "ddim0", "visits no level"),
        (1000, "trail0", "visits no level"),
        (1000, "9" * 5000, "no spacing"),
        (10, "5,6", "section 2 has 5 levels"),
        (10, "11", "cannot hold 11"),
        (1000, "many", "no spacing"),
        (1000, "-5", "no spacing"),
        (1000, "10,,5", "no spacing"),
        (1000, "ddim", "no spacing"),
        (1000, "³", "no spacing"),
        (40, "fast27", "section 1 has 8 levels"),
        (1000, "0", "visits no level"),
        (1000, [], "visits no level"),
        (10, [-1], "cannot hold -1"),
        (10, "trail11", "only 10 levels"),
        (1000, "snr20", "not known here"),
    ],
)
def test_an_impossible_spacing_is_refused_in_one_line(levels: int, steps: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        schedules.path(levels, steps)
    assert "\n" not in str(caught.value)


def test_more_snr_steps_than_the_schedule_can_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        schedules.path(50, "snr50", alpha_bar=schedules.cosine(50))


@pytest.mark.parametrize(("steps", "says"), [("snr0", "visits no level"), ("snr999999999", "only 50 levels")])
def test_a_count_of_snr_steps_beyond_all_levels_is_refused_before_a_table_of_it_is_made(steps: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        schedules.path(50, steps, alpha_bar=schedules.cosine(50))


def test_a_respaced_process_has_the_full_ones_levels() -> None:
    alpha_bar = schedules.cosine(100)
    kept = schedules.kept(100, "7")
    assert schedules.respaced(alpha_bar, kept).tolist() == [float(alpha_bar[level]) for level in kept]
