from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.dice import dice
from limner.data.shapes_words import (
    Description,
    Item,
    Relation,
    canonical,
    describe,
    held_out,
    parse,
    write,
)
from limner.errors import InputError

RED, BLUE, PINK = Item("square", "red", "small"), Item("circle", "blue", "large"), Item("triangle", "pink")


@given(st.integers(0, 2**64 - 1))
def test_every_wording_parses_back_to_what_it_describes(seed: int) -> None:
    roll = dice(seed)
    description = describe(roll)
    assert canonical(parse(write(description, roll))) == canonical(description)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A small red square above a large blue circle.", Description((RED, BLUE), (Relation((0,), "above", (1,)),))),
        ("there is a  little red square", Description((RED,))),
        ("above a big blue circle is a small red square", Description((RED, BLUE), (Relation((0,), "above", (1,)),))),
        ("a small red square and a big blue circle", Description((RED, BLUE))),
        ("a small red square, a large blue circle and a pink triangle", Description((RED, BLUE, PINK))),
        (
            "a picture of a small red square to the left of a large blue circle, both under a pink triangle",
            Description((RED, BLUE, PINK), (Relation((0,), "left of", (1,)), Relation((0, 1), "below", (2,)))),
        ),
    ],
)
def test_a_caption_says_exactly_one_thing(caption: str, expected: Description) -> None:
    assert parse(caption) == expected


@pytest.mark.parametrize("caption", ["", "a red fox", "a huge red circle", "a red circle near a blue square", "a circle"])
def test_a_sentence_of_another_world_is_refused_with_an_example(caption: str) -> None:
    with pytest.raises(InputError, match="above a large blue circle"):
        parse(caption)


def test_order_and_mirrored_relations_do_not_change_the_meaning() -> None:
    left = Description((RED, BLUE), (Relation((0,), "left of", (1,)),))
    right = Description((BLUE, RED), (Relation((0,), "right of", (1,)),))
    other = Description((RED, BLUE), (Relation((0,), "right of", (1,)),))
    assert canonical(left) == canonical(right) != canonical(other)
    assert held_out(left) == held_out(right)


def test_about_a_tenth_of_all_descriptions_is_held_out() -> None:
    share = sum(held_out(describe(dice(k))) for k in range(4000)) / 4000
    assert 0.07 < share < 0.13


def test_one_two_and_three_shapes_come_in_the_promised_shares() -> None:
    counts = Counter(len(describe(dice(k)).items) for k in range(4000))
    assert [round(counts[n] / 4000, 1) for n in (1, 2, 3)] == [0.3, 0.5, 0.2]


def test_what_no_caption_can_say_is_refused() -> None:
    with pytest.raises(InputError, match="no caption can say"):
        write(Description((RED, BLUE, PINK), (Relation((1,), "above", (2,)),)), dice(0))


def test_dice_differ_by_each_number_and_repeat() -> None:
    streams = [tuple(roll(1000) for _ in range(8)) for roll in (dice(1, 2), dice(2, 1), dice(1, 3), dice(1), dice(1, 2))]
    assert len(set(streams)) == 4
    assert streams[0] == streams[4]
