from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from limner.errors import InputError
from limner.evaluation import frechet
from limner.evaluation.drawing import Wishes
from tests.evaluation.tiny import COLOURS, emoji, system


def by_root(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook's form, with a matrix root."""
    c_a, c_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(c_a @ c_b)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c_a + c_b - 2 * np.real(root)))


@pytest.mark.parametrize(("n", "m"), [(200, 300), (40, 12), (9, 60)])
def test_the_distance_is_that_of_the_formula_with_more_and_with_fewer_pictures_than_features(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, 8)), rng.normal(size=(m, 8)) @ rng.normal(size=(8, 8)) + 1
    assert frechet.distance(a, b) == pytest.approx(by_root(a, b), rel=1e-6)


def test_fewer_pictures_than_features_are_measured_without_a_singular_root() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 50)), rng.normal(size=(7, 50))
    c_a, c_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values = np.clip(np.linalg.eigvals(c_a @ c_b).real, 0, None)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c_a) + np.trace(c_b) - 2 * np.sqrt(values).sum()
    assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-4)


def test_a_set_has_no_distance_to_itself_and_a_shift_counts_squared() -> None:
    a = np.random.default_rng(2).normal(size=(30, 5))
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet.distance(a, a + 2) == pytest.approx(5 * 4)


@pytest.mark.parametrize(("a", "b"), [((1, 4), (5, 4)), ((5, 4), (5, 3))])
def test_sets_that_cannot_be_compared_are_refused(a: tuple[int, int], b: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="two sets"):
        frechet.distance(np.zeros(a), np.zeros(b))


def test_drawings_are_compared_with_the_held_out_split(tmp_path: Path) -> None:
    source = emoji(tmp_path / "emoji")
    result = frechet.evaluate(system(), source, COLOURS, Wishes(), n=7)
    assert (result.n, result.n_real, result.n_floor) == (7, len(source.held_out(32)), 7)
    assert result.distance > 0
    assert (result.features.net, result.drawing.seed, result.data) == ("mean colour", 0, source.name)


def test_drawings_are_compared_with_views_of_the_same_captions(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    source = emoji(tmp_path / "emoji")
    result = frechet.evaluate(
        system(), source, COLOURS, Wishes(), n=5, against="views", progress=lambda *where: seen.append(where)
    )
    assert result.n_real == 5
    assert {what for what, _, _ in seen} == {"drawn", "real", "floor"}
    # Real pictures lie nearer to each other than the noise of an untrained network.
    assert result.floor < result.distance


def test_a_single_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two pictures or more"):
        frechet.evaluate(system(), emoji(tmp_path / "emoji"), COLOURS, Wishes(), n=1)
