"""`limner score`: pictures ranked by a text, likelihoods against others, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import clip as made
from tests.cli.conftest import Limner


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(made.save(tmp_path / "clip-tiny"))


@pytest.fixture
def pictures() -> list[str]:
    random = np.random.default_rng(0)
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(name)
    return names


def test_pictures_come_best_first(limner: Limner, model: str, pictures: list[str]) -> None:
    found = limner("score", *pictures, "a fox", "-m", model, "--json").objects
    cosines = [each["cosine"] for each in found]
    assert cosines == sorted(cosines, reverse=True)
    assert {each["path"] for each in found} == set(pictures)
    said = limner("score", *pictures, "a fox", "-m", model, "--keep", "1")
    assert said.lines == [f"{cosines[0]:.4f}  {found[0]['path']}"]


def test_texts_are_weighed_against_each_other(limner: Limner, model: str, pictures: list[str]) -> None:
    words = ("--against", "a house", "--against", "two stars")
    (found,) = limner("score", pictures[0], "a fox", "-m", model, *words, "--json").objects
    assert sum(found["likely"].values()) == pytest.approx(1)
    assert found["best"] == max(found["likely"], key=found["likely"].get)
    assert f"a.png  {found['best']}" in limner("score", pictures[0], "a fox", "-m", model, *words).out


def test_more_than_there_are_cannot_be_kept(limner: Limner, model: str, pictures: list[str]) -> None:
    said = limner("score", *pictures, "a fox", "-m", model, "--keep", "4")
    assert said.code == 2
    assert "there are only 3 pictures" in said.err


def test_a_model_that_scores_nothing_is_refused(limner: Limner, pictures: list[str]) -> None:
    said = limner("score", *pictures, "a fox", "-m", "tiny")
    assert said.code == 2
    assert "without a CLIP" in said.err
