from __future__ import annotations

import json
from dataclasses import replace

import pytest

from limner.config import dump
from limner.data import shapes_judge
from limner.data.shapes import Shapes, illustrate
from limner.data.shapes_words import parse
from limner.errors import InputError
from limner.evaluation import drawing, shapes
from limner.evaluation.drawing import Illustrated, Wishes
from limner.evaluation.shapes import Judged
from tests.evaluation.tiny import system


def perfect(monkeypatch: pytest.MonkeyPatch, lies: dict[int, str] | None = None) -> None:
    """Draw true pictures of the captions, of another caption where `lies` says so."""

    def draw(glide: object, captions: list[str], wishes: Wishes) -> list[Illustrated]:
        texts = [(lies or {}).get(k, caption) for k, caption in enumerate(captions)]
        return [Illustrated(k, captions[k], illustrate(text, 32, seed=k)) for k, text in enumerate(texts)]

    monkeypatch.setattr(drawing, "draw", draw)


def test_true_pictures_are_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    perfect(monkeypatch)
    result = shapes.evaluate(system(), Wishes(), n=30)
    assert (result.accuracy.hits, result.accuracy.of, result.failures) == (30, 30, {})
    assert sum(part.of for part in result.by_shapes.values()) == 30


def test_a_wrong_picture_counts_and_its_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    perfect(
        monkeypatch, {1: "a red circle, a blue circle and a green square", 4: "a red circle, a pink circle and a black square"}
    )
    done: list[int] = []
    result = shapes.evaluate(system(), Wishes(), n=6, progress=lambda k, of: done.append(k))
    assert result.accuracy.hits == 4
    assert sum(result.failures.values()) == 2
    assert set(result.examples) == set(result.failures)
    assert done == [1, 2, 3, 4, 5, 6]


def test_noise_of_an_untrained_system_is_no_scene() -> None:
    result = shapes.evaluate(system(), Wishes(), n=3)
    assert result.accuracy.hits == 0
    assert json.loads(dump(result))["drawing"]["model"] == "tiny"


@pytest.mark.parametrize(
    ("shown", "asked", "failure"),
    [
        ("a red circle and a blue square", "a red circle", "number"),
        ("a red circle", "a blue circle", "colour"),
        ("a red circle", "a red square", "kind"),
        ("a small red circle", "a large red circle", "size"),
        ("a red circle and a blue square", "a blue circle and a red square", "binding"),
        ("a small red circle and a large blue square", "a large red circle and a small blue square", "binding"),
        ("a red circle above a blue square", "a red circle below a blue square", "place"),
    ],
)
def test_a_failure_is_named_for_what_is_wrong(shown: str, asked: str, failure: str) -> None:
    scene = shapes_judge.read(illustrate(shown, 32, seed=3))
    assert shapes.failed(scene, parse(asked)) == failure


def test_what_cannot_be_read_is_said_so() -> None:
    picture = illustrate("a red circle", 32)
    picture[:] = 60
    assert shapes.failed(shapes_judge.read(picture), parse("a red circle")) == "unreadable"


def test_the_captions_are_the_first_of_those_never_trained_on() -> None:
    assert shapes.captions(5) == [view.caption for view in Shapes().held_out(32, 5)]


def test_pictures_too_small_to_read_are_refused() -> None:
    glide = system()
    network = glide.stages[0].settings.network.model_copy(update={"side": 16})
    glide.stages = (replace(glide.stages[0], settings=glide.stages[0].settings.model_copy(update={"network": network})),)
    with pytest.raises(InputError, match="draws 16 px"):
        shapes.evaluate(glide, Wishes(), n=1)


def test_verdicts_are_summed_by_number_of_shapes() -> None:
    picture = illustrate("a red circle", 32)
    verdicts = [
        Judged(0, "a red circle", picture, None, "as promised"),
        Judged(1, "a blue circle", picture, "colour", "no blue circle"),
        Judged(2, "a red circle and a blue square", picture, "number", "2 promised"),
    ]
    result = shapes.summed(verdicts, drawing.described(system(), Wishes()))
    assert {size: (part.hits, part.of) for size, part in result.by_shapes.items()} == {1: (1, 2), 2: (0, 1)}
    assert result.failures == {"colour": 1, "number": 1}
