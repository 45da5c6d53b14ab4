from collections import Counter
from random import Random

import pytest

from limner.data import compose, paint
from limner.data.collage import WHITE, Scene
from limner.data.compose import Cast, Picture
from limner.data.concepts import Concept

RED, WHITISH = (paint.Paint("hue", (1.0, 0.0), 0.3, 0.4, "red"), paint.Paint("grey", (0.0, 0.0), 0.0, 0.95, "white"))
LABELS = (
    ("fox", "animals-nature", "animal-mammal"),
    ("star", "travel-places", "sky-weather"),
    ("red apple", "food-drink", "food-fruit"),
    ("grapes", "food-drink", "food-fruit"),
    ("up arrow", "symbols", "arrow"),
    ("small airplane", "travel-places", "transport-air"),
)
PICTURES = [
    Picture(row, Concept(f"{row:x}", label, ("tag", "word", "more"), group, subgroup), "flat", "MIT", (0, 0, 64, 64))
    for row, (label, group, subgroup) in enumerate(LABELS)
]
FOX, STAR, APPLE, GRAPES, ARROW, PLANE = PICTURES
CAST = Cast({"flat": PICTURES}, lambda row: WHITISH if row == STAR.row else RED)


def scenes(main: Picture, kind: str = "", count: int = 3000) -> list[Scene]:
    every = [compose.scene(Random(f"{main.row} {k}"), main, CAST) for k in range(count)]
    return [s for s in every if kind in ("", s.kind)]


def test_about_two_thirds_are_single_icons_on_a_plain_ground() -> None:
    kinds = Counter(s.kind for s in scenes(FOX))
    assert set(kinds) == {"plain", *compose.MIX}
    assert 0.5 < (kinds["plain"] + kinds["ground"]) / 3000 < 0.7


def test_the_main_picture_is_always_there() -> None:
    assert all(FOX.row in [p.row for p in s.pieces] for s in scenes(FOX))


def test_a_plain_scene_is_one_icon_on_white() -> None:
    for s in scenes(FOX, "plain"):
        assert s.ground == WHITE
        assert len(s.pieces) == 1
        assert s.pieces[0].colour == ""


def test_a_coloured_ground_is_named_and_differs_from_the_icon() -> None:
    for s in scenes(FOX, "ground"):
        word = max((w for w in paint.GROUNDS if w in s.caption), key=len)
        assert all(abs(a - b) <= compose.SHADE for a, b in zip(s.ground, paint.GROUNDS[word], strict=True))
        assert word != "red"


def test_a_given_colour_is_named_and_never_the_icon_s_own() -> None:
    made = scenes(FOX, "colour")
    assert made
    for s in made:
        assert f"{s.pieces[0].colour} fox" in s.caption
        assert s.pieces[0].colour != "red"


def test_something_white_never_lies_on_white() -> None:
    white = [s for s in scenes(FOX) if any(p.colour == "white" for p in s.pieces)]
    assert white
    assert all(s.ground != WHITE for s in white)


@pytest.mark.parametrize("main", [APPLE, ARROW])
def test_what_is_named_by_its_colour_or_is_a_sign_keeps_its_colour(main: Picture) -> None:
    assert all(p.colour == "" for s in scenes(main) for p in s.pieces if p.row == main.row)


def test_pairs_kept_for_novelty_are_never_drawn() -> None:
    assert compose.novel(FOX.concept, "green")
    assert all(p.colour != "green" for s in scenes(FOX) for p in s.pieces if p.row == FOX.row)


def test_about_a_twentieth_of_all_things_and_colours_is_kept_for_novelty() -> None:
    kept = [
        compose.novel(FOX.concept._replace(key=f"{k:x}", label="thing"), word) for k in range(300) for word in paint.COLOURS
    ]
    assert 0.035 < sum(kept) / len(kept) < 0.065


def test_sizes_are_seen_as_they_are_said() -> None:
    made = scenes(FOX, "size")
    small = [s for s in made if any(word in s.caption.split() for word in ("small", "tiny", "little"))]
    big = [s for s in made if any(word in s.caption.split() for word in ("big", "large", "huge"))]
    assert len(small) + len(big) == len(made)
    assert small
    assert big
    assert max(s.pieces[0].size for s in small) < 0.5 < 1 < min(s.pieces[0].size for s in big)


def test_a_name_that_speaks_of_size_gets_no_other() -> None:
    assert scenes(PLANE, "size") == []


def test_small_things_stay_inside_the_picture() -> None:
    for s in scenes(FOX, "size"):
        piece = s.pieces[0]
        if piece.size < 0.5:
            assert piece.size / 2 <= piece.x <= 1 - piece.size / 2
            assert piece.size / 2 <= piece.y <= 1 - piece.size / 2


@pytest.mark.parametrize(
    ("said", "axis", "first"),
    [
        ("left of", "x", True),
        ("right of", "x", False),
        ("above", "y", True),
        ("over", "y", True),
        ("below", "y", False),
        ("under", "y", False),
    ],
)
def test_a_relation_is_seen_as_it_is_said(said: str, axis: str, first: bool) -> None:
    seen = 0
    for s in scenes(FOX, "two", 6000):
        words = f" {s.caption} "
        if f" {said} " in words:
            seen += 1
            fox = next(getattr(p, axis) for p in s.pieces if p.row == FOX.row)
            other = next(getattr(p, axis) for p in s.pieces if p.row != FOX.row)
            fox_named_first = words.index("fox") < words.index(f" {said} ")
            assert (fox < other) == (fox_named_first == first)
    assert seen > 5


def test_two_things_do_not_cover_each_other() -> None:
    for s in scenes(FOX, "two"):
        a, b = s.pieces
        apart = max(abs(a.x - b.x), abs(a.y - b.y))
        assert apart > 0.9 * (a.size + b.size) / 2


def test_a_partner_is_another_thing_and_no_sign() -> None:
    for kind in ("two", "three"):
        for s in scenes(FOX, kind):
            rows = [p.row for p in s.pieces]
            assert len(set(rows)) == len(rows)
            assert ARROW.row not in rows


def test_a_number_is_seen_as_it_is_said() -> None:
    numbers = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
    made = scenes(FOX, "count")
    assert {len(s.pieces) for s in made} == set(numbers.values())
    for s in made:
        word = next(w for w in s.caption.split() if w in numbers)
        assert numbers[word] == len(s.pieces)
        assert {p.row for p in s.pieces} == {FOX.row}


def test_what_cannot_be_counted_or_composed_is_shown_alone() -> None:
    assert scenes(GRAPES, "count") == []
    assert {s.kind for s in scenes(ARROW)} == {"plain", "ground"}


def test_a_thing_without_company_is_shown_alone() -> None:
    alone = Cast({"flat": [FOX]}, lambda row: None)
    kinds = {compose.scene(Random(k), FOX, alone).kind for k in range(1000)}
    assert kinds == {"plain", "ground", "size", "count"}


def test_signs_and_named_sides_are_never_mirrored() -> None:
    left = FOX._replace(concept=FOX.concept._replace(label="fox facing left"))
    assert not any(p.mirrored for s in scenes(ARROW) for p in s.pieces)
    of_left = [p for k in range(500) for p in compose.scene(Random(k), left, CAST).pieces if p.row == left.row]
    assert not any(p.mirrored for p in of_left)
    share = sum(s.pieces[0].mirrored for s in scenes(FOX, "plain")) / len(scenes(FOX, "plain"))
    assert 0.25 < share < 0.42


def test_grids_lie_inside_the_picture_and_do_not_overlap() -> None:
    for layouts in compose.GRIDS.values():
        for rows in layouts:
            places, size = compose._grid(rows)
            assert all(size / 2 - 0.01 <= v <= 1 - size / 2 + 0.01 for place in places for v in place)
            for i, (x, y) in enumerate(places):
                assert all(max(abs(x - u), abs(y - v)) >= size for u, v in places[:i])
