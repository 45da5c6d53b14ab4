"""Edits of the shapes world: what is asked, where, and what would be right."""

from __future__ import annotations

import numpy as np
import pytest

from limner.data import shapes_edits, shapes_judge
from limner.data.shapes import GRID
from limner.data.shapes_edits import VERBS, Verb
from limner.data.shapes_words import canonical, held_out, parse
from limner.systems import masks


@pytest.mark.parametrize("verb", VERBS)
def test_the_picture_that_would_be_right_shows_the_caption(verb: Verb) -> None:
    for one in shapes_edits.edits(verb, 40):
        assert canonical(parse(one.caption)) == canonical(one.wanted)
        assert held_out(one.wanted)
        assert shapes_judge.judge(one.truth(GRID), one.caption).ok


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("side", [32, 50, 64])
def test_only_the_region_differs_from_what_is_there(verb: Verb, side: int) -> None:
    for one in shapes_edits.edits(verb, 20):
        inside = np.asarray(masks.boxes(one.mask(side), (side, side))) > 0
        assert (one.picture(side)[~inside] == one.truth(side)[~inside]).all()
        assert (one.picture(side) != one.truth(side)).any() == (verb != "restore")


@pytest.mark.parametrize("verb", ["add", "recolour", "remove"])
def test_what_is_there_is_not_yet_what_is_asked(verb: Verb) -> None:
    assert not any(shapes_judge.judge(one.picture(GRID), one.caption).ok for one in shapes_edits.edits(verb, 40))


def test_a_region_to_restore_cuts_through_its_shape() -> None:
    for one in shapes_edits.edits("restore", 20):
        inside = np.asarray(masks.boxes(one.mask(64), (64, 64))) > 0
        drawn = (one.truth(64) != one.truth(64)[0, 0]).any(-1)
        assert (drawn & inside).any()
        assert (drawn & ~inside).any()


@pytest.mark.parametrize(("verb", "opening"), [("add", "add a"), ("recolour", "make the "), ("remove", "remove the ")])
def test_an_edit_is_said_in_words(verb: Verb, opening: str) -> None:
    sentences = [one.sentence for one in shapes_edits.edits(verb, 30)]
    assert all(sentence.startswith(opening) for sentence in sentences)
    assert verb != "add" or any(" the " in sentence for sentence in sentences)


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_is_always_the_same_and_says_nothing_twice(verb: Verb) -> None:
    some = shapes_edits.edits(verb, 30)
    assert shapes_edits.edits(verb, 10) == some[:10]
    assert len({(one.sentence, one.caption) for one in some}) == 30
