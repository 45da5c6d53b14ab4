"""Cosine annealing."""

from __future__ import annotations

import pytest

from limner.discrete.annealing import KL_WEIGHT, STEP_SIZE, TEMPERATURE, Annealing

CURVES = [TEMPERATURE, KL_WEIGHT, STEP_SIZE, Annealing(3.0, -1.0, 7)]


@pytest.mark.parametrize("curve", CURVES)
def test_it_runs_from_start_to_end_and_stays_there(curve: Annealing) -> None:
    assert curve.at(0) == pytest.approx(curve.start)
    assert curve.at(curve.updates) == pytest.approx(curve.end)
    assert curve.at(10 * curve.updates) == curve.at(curve.updates)


@pytest.mark.parametrize("curve", CURVES)
def test_it_never_turns_back(curve: Annealing) -> None:
    values = [curve.at(round(curve.updates * i / 7)) for i in range(8)]
    assert sorted(values, reverse=curve.start > curve.end) == values


def test_it_is_flat_at_both_ends_and_steepest_in_the_middle() -> None:
    curve = Annealing(1.0, 0.0, 100)
    first, middle, last = curve.at(0) - curve.at(1), curve.at(50) - curve.at(51), curve.at(99) - curve.at(100)
    assert first == pytest.approx(last)
    assert middle > 20 * first
