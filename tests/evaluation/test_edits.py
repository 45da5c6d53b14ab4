"""The judge of edits: what counts as done, what as left alone, and what a seam is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from limner.config import dump
from limner.data import shapes_edits
from limner.data.shapes import Scene
from limner.data.shapes_edits import Edit
from limner.errors import InputError
from limner.evaluation import edits
from limner.evaluation.drawing import Wishes
from limner.recipe import Image
from limner.systems import edits as painting
from limner.systems.base import Request
from limner.systems.drawing import Pipe
from tests.evaluation.tiny import system


def pipe() -> Pipe:
    return Pipe(system(), "tiny")


def moved(edit: Edit, number: int, by: float) -> Scene:
    """The scene that is wanted, one shape shifted."""
    return Scene(tuple(s._replace(x=s.x + by) if k == number else s for k, s in enumerate(edit.after.shapes)))


def perfect(monkeypatch: pytest.MonkeyPatch, wrong: int = 0) -> None:
    """Paint what would be right; the first `wrong` edits are left undone."""
    truths = {one.caption + one.mask(32): one.truth(32) for verb in shapes_edits.VERBS for one in shapes_edits.edits(verb, 20)}
    left = [wrong]

    def paint(used: Pipe, canvas: painting.Canvas, asked: Request) -> Iterator[Image]:
        new = canvas.picture if left[0] else PIL.Image.fromarray(truths[asked.prompt + canvas.facts["boxes"]])
        left[0] = max(0, left[0] - 1)
        yield Image(new, used.recipe(asked, asked.first, new.size))

    monkeypatch.setattr(painting, "paint", paint)


def test_true_pictures_are_all_right_and_have_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    perfect(monkeypatch)
    done: list[tuple[int, int]] = []
    result = edits.evaluate({"trained": pipe()}, Wishes(), n=12, progress=lambda k, of: done.append((k, of)))
    (one,) = result.methods
    assert (one.right.hits, one.right.of, one.failures, one.outside) == (12, 12, {}, 0)
    assert (one.restored.hits, one.restored.of) == (2, 2)
    assert (one.seam.error, one.cut_seam.error) == (0, 0)
    assert done == [(k, 14) for k in range(1, 15)]
    assert {verb: each.of for verb, each in one.by_verb.items()} == {"add": 4, "recolour": 4, "remove": 4}


def test_an_edit_that_is_not_done_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    perfect(monkeypatch, wrong=2)
    (one,) = edits.evaluate({"replacement": pipe()}, Wishes(), n=9).methods
    assert one.right.hits == 7
    assert one.failures == {"number": 2}
    assert "'add " in one.examples["number"]


@pytest.mark.parametrize("verb", ["add", "recolour", "remove"])
def test_a_shape_that_moved_is_not_unchanged(verb: shapes_edits.Verb) -> None:
    for edit in shapes_edits.edits(verb, 10):
        for number, shape in enumerate(edit.after.shapes):
            by = 0.06 if shape.x < 0.5 else -0.06
            failure, reason = edits.verdict(edit, moved(edit, number, by))
            if verb == "add" and number == edit.target:  # where in its region is not said
                continue
            assert failure in ("moved", "place")
            assert reason
            assert edits.verdict(edit, moved(edit, number, by / 3))[0] in (None, "place")


def test_a_new_shape_must_lie_in_its_region() -> None:
    edit = next(one for one in shapes_edits.edits("add", 50) if not one.wanted.relations)
    failure, reason = edits.verdict(edit, moved(edit, edit.target, 0.4))
    assert failure == "moved"
    assert "not in its region" in reason


def test_a_seam_is_the_jump_across_the_border_against_the_true_one() -> None:
    inside = np.zeros((8, 8), bool)
    inside[:, :4] = True
    truth = np.zeros((8, 8, 3), np.uint8)
    truth[:, 4:] = 100
    assert edits.seam(truth, truth, inside) == edits.Seam(error=0, jump=100, true=100)
    flat = np.full_like(truth, 100)
    assert edits.seam(flat, truth, inside) == edits.Seam(error=100, jump=0, true=100)
    inside[:] = True
    assert edits.seam(flat, truth, inside).error == 0


@pytest.mark.filterwarnings("ignore::limner.PromptCutWarning")
def test_an_untrained_model_leaves_the_outside_alone_and_is_told_so() -> None:
    result = edits.evaluate({"replacement": pipe()}, Wishes(), n=6)
    (one,) = json.loads(dump(result))["methods"]
    assert one["outside"] == 0
    assert one["drawing"]["model"] == "tiny"
    assert one["seam"]["error"] > 0


def test_too_few_edits_are_refused() -> None:
    with pytest.raises(InputError, match="at least 6"):
        edits.evaluate({"replacement": pipe()}, Wishes(), n=5)


def test_pictures_too_small_to_read_are_refused() -> None:
    small = pipe()
    stage = small.system.stages[0]
    network = stage.settings.network.model_copy(update={"side": 16})
    small = Pipe(small.system.of((replace(stage, settings=stage.settings.model_copy(update={"network": network})),)), "tiny")
    with pytest.raises(InputError, match="draws 16 px"):
        list(edits.judged(small, shapes_edits.edits("add", 1), Wishes()))
