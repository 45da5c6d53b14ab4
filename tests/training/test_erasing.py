"""What a network that learns to inpaint is not shown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from limner.config import EraseSettings
from limner.data.shapes import Shapes
from limner.errors import ConfigError
from limner.training import erasing, feed

KINDS = ("boxes", "strokes", "objects", "everything", "nothing")


def only(kind: str, **sizes: object) -> EraseSettings:
    return EraseSettings.model_validate({**dict.fromkeys(KINDS, 0.0), kind: 1.0, **sizes})


def scene(*things: tuple[int, int, int]) -> np.ndarray:
    """Squares (top, left, side) on a light ground, 32 px."""
    picture = np.full((32, 32, 3), 248, np.uint8)
    for top, left, side in things:
        picture[top : top + side, left : left + side] = (200, 30, 40)
    return picture


def rng(number: int) -> np.random.Generator:
    return feed.draws(0, number)


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_a_pure_function_of_picture_and_draws(kind: str) -> None:
    picture = Shapes().view(3, 32, 0).image
    one, two = (erasing.region(picture, only(kind), rng(7)) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == (32, 32)
    assert one.dtype == np.bool_


@pytest.mark.parametrize(("kind", "wanted"), [("everything", 1.0), ("nothing", 0.0)])
def test_everything_and_nothing_are_what_they_say(kind: str, wanted: float) -> None:
    assert erasing.region(scene((4, 4, 9)), only(kind), rng(0)).mean() == wanted


@pytest.mark.parametrize("kind", ["boxes", "strokes", "objects"])
def test_other_regions_leave_something_and_take_something(kind: str) -> None:
    source = Shapes()
    shares = [erasing.region(source.view(k, 32, 0).image, only(kind), rng(k)).mean() for k in range(100)]
    assert min(shares) > 0
    assert max(shares) < 1
    assert np.std(shares) > 0.02


def test_each_kind_comes_as_often_as_its_share_says() -> None:
    recipe = EraseSettings(boxes=0.5, strokes=0, objects=0, everything=0.3, nothing=0.2)
    shares = [erasing.region(scene(), recipe, rng(k)).mean() for k in range(2000)]
    for share, found in ((0.3, sum(s == 1 for s in shares)), (0.2, sum(s == 0 for s in shares))):
        assert abs(found / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_a_box_is_within_the_sizes_asked_for() -> None:
    recipe = only("boxes", box=(0.25, 0.25))
    sizes = {int(erasing.boxes(32, recipe, rng(k)).sum()) for k in range(50)}
    assert min(sizes) == 64
    assert max(sizes) <= 3 * 64


def test_a_thing_is_erased_whole_and_the_other_one_kept() -> None:
    picture = scene((3, 3, 8), (20, 20, 9))
    one, other = np.zeros((32, 32), np.bool_), np.zeros((32, 32), np.bool_)
    one[3:11, 3:11], other[20:29, 20:29] = True, True
    hits = {"one": 0, "other": 0, "elsewhere": 0}
    for k in range(200):
        gone = erasing.thing(picture, only("objects", margin=(0.03, 0.06)), rng(k))
        whole = [bool(gone[thing].all()) and not gone[rest].any() for thing, rest in ((one, other), (other, one))]
        hits["one" if whole[0] else "other" if whole[1] else "elsewhere"] += 1
    assert min(hits.values()) > 20
    assert hits["elsewhere"] < 100


def test_a_picture_without_a_plain_ground_loses_a_blob() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    assert erasing.on_ground(noise) is None
    assert 0 < erasing.thing(noise, only("objects"), rng(1)).mean() < 1


@pytest.mark.parametrize("picture", [np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])
def test_an_empty_ground_has_no_thing_on_it(picture: np.ndarray) -> None:
    assert erasing.on_ground(picture) is None
    assert erasing.thing(picture, only("objects"), rng(2)).any()


def test_things_of_large_pictures_are_found_on_a_coarser_grid() -> None:
    picture = scene((3, 3, 8)).repeat(8, 0).repeat(8, 1)
    found = [erasing.thing(picture, only("objects"), rng(k)) for k in range(20)]
    assert {gone.shape for gone in found} == {(256, 256)}
    assert any(gone[24:88, 24:88].all() for gone in found)


def test_a_shape_that_is_moved_keeps_its_form() -> None:
    shape = np.zeros((16, 16), np.bool_)
    shape[2:5, 3:9] = True
    places = set()
    for k in range(60):
        moved = erasing.elsewhere(shape, rng(k))
        box = np.argwhere(moved)
        places.add(tuple(box.min(0)))
        assert np.array_equal(np.unique(box - box.min(0), axis=0), np.unique(np.argwhere(shape) - [2, 3], axis=0))
    assert len(places) > 30


def test_a_line_is_as_thick_as_asked() -> None:
    drawn = erasing.line(32, np.array([[0.0, 16.0], [32.0, 16.0]]), 3)
    assert np.array_equal(np.flatnonzero(drawn[:, 16]), np.arange(13, 19))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"boxes": 0.5}, "must add up to 1"),
        ({"box": (0.5, 0.2)}, "box must be two sizes"),
        ({"brush": (0.0, 0.2)}, "brush must be two sizes"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, object], named: str) -> None:
    from limner.config import parse

    with pytest.raises(ConfigError, match=named):
        parse(EraseSettings, wrong, where="preset")
