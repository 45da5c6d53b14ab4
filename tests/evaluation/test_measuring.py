"""The measures as Python asks for them; what they find is tested beside each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner
from limner.errors import ConfigError, DataError, InputError, UnsupportedError
from limner.evaluation.edits import EditsResult
from limner.evaluation.shapes import ShapesResult
from tests import tiny


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "wide", side=16)


def test_a_measure_is_named_and_tells_how_it_drew(wide: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = limner.evaluate("shapes", wide, n=2, steps="2", seed=3, progress=lambda *step: told.append(step))
    assert isinstance(found, ShapesResult)
    assert (found.accuracy.of, found.drawing.steps, found.drawing.seed) == (2, "2", 3)
    assert told[-1] == ("shapes", 2, 2)


@pytest.mark.filterwarnings("ignore::limner.PromptCutWarning")  # the tiny cascade reads few tokens
def test_a_model_without_a_sibling_edits_by_replacement_alone(wide: Path) -> None:
    found = limner.evaluate("edits", wide, n=6, steps="1")
    assert isinstance(found, EditsResult)
    assert [one.method for one in found.methods] == ["replacement"]


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (("beauty", "glide-shapes"), InputError, "no measure 'beauty'; there are shapes, edits, emoji, frechet"),
        (("frechet", "glide-shapes"), InputError, "frechet needs a data set"),
        (("emoji", "glide-emoji", "shapes"), DataError, "emoji folders only"),
    ],
)
def test_what_cannot_be_measured_is_refused(asked: tuple[str, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        limner.evaluate(*asked)  # type: ignore[call-overload]


def test_a_wish_that_there_is_not_is_refused(wide: Path) -> None:
    with pytest.raises(ConfigError, match="beams"):
        limner.evaluate("shapes", wide, beams=4)


def test_a_model_that_reads_no_words_is_refused(tmp_path: Path) -> None:
    from tests import tiny_adm

    with pytest.raises(UnsupportedError, match="reads no words"):
        limner.evaluate("shapes", tiny_adm.save(tmp_path / "adm"), n=1)
