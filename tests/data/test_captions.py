from random import Random

import pytest

from limner.data import captions
from limner.data.concepts import Concept

FOX = Concept("1f98a", "fox", ("animal", "clever", "fox"), "animals-nature", "animal-mammal")
CAR = Concept("1f697", "automobile", (), "travel-places", "transport-ground")


def said(make: object, count: int = 400) -> set[str]:
    return {make(Random(k)) for k in range(count)}  # type: ignore[operator]


def test_a_single_thing_is_worded_in_many_ways() -> None:
    words = said(lambda roll: captions.single(roll, FOX))
    assert {"fox", "a fox", "fox emoji", "an emoji of a fox", "a fox, animal"} <= words
    assert all("fox" in w for w in words)
    assert not any("fox, fox" in w for w in words)


def test_an_adjective_is_always_said() -> None:
    assert all("green fox" in w for w in said(lambda roll: captions.single(roll, FOX, "green")))


def test_other_names_are_used() -> None:
    assert {"an automobile", "a car"} <= said(lambda roll: captions.called(roll, CAR).one())


def test_tags_alone_are_tags_and_a_thing_without_them_gives_its_name() -> None:
    assert all(set(w.split(", ")) <= set(FOX.tags) for w in said(lambda roll: captions.tags_alone(roll, FOX)))
    assert said(lambda roll: captions.tags_alone(roll, CAR)) == {"automobile"}


def test_several_things_are_counted_in_words() -> None:
    assert said(lambda roll: captions.several(roll, CAR, 3, "blue")) == {"three blue automobiles", "three blue cars"}


@pytest.mark.parametrize(
    ("relation", "one"),
    [
        ("and", "and"),
        ("next to", "beside"),
        ("left", "to the left of"),
        ("right", "right of"),
        ("above", "over"),
        ("below", "under"),
    ],
)
def test_a_relation_stands_between_the_two(relation: captions.Relation, one: str) -> None:
    assert f"a fox {one} a star" in said(lambda roll: captions.related("a fox", "a star", relation, roll))


def test_a_list_ends_with_and() -> None:
    assert captions.listed(["a fox", "a star", "a car"]) == "a fox, a star and a car"


def test_a_coloured_ground_is_always_said() -> None:
    words = said(lambda roll: captions.finished(roll, "a fox", "flat", "orange"))
    assert all("orange" in w for w in words)
    assert {"a fox on an orange background", "a fox on orange"} <= words


def test_a_white_ground_and_the_style_are_said_now_and_then() -> None:
    words = [captions.finished(Random(k), "a fox", "3d", "") for k in range(2000)]
    assert 0.05 < sum("white" in w for w in words) / 2000 < 0.15
    assert 0.25 < sum("3d" in w for w in words) / 2000 < 0.35
    assert {"a fox, 3d style", "a fox in 3d style", "3d emoji, a fox", "a fox, 3d"} <= set(words)


def test_a_style_without_words_is_left_unsaid() -> None:
    assert said(lambda roll: captions.finished(roll, "a fox", "photo", "red")) == said(
        lambda roll: captions.finished(roll, "a fox", "", "red")
    )


def test_a_pick_stays_within_the_options() -> None:
    assert said(lambda roll: captions.pick(roll, "abc")) == {"a", "b", "c"}
