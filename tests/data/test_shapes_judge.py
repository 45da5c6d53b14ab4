from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from limner.data.dice import dice
from limner.data.shapes import PALETTE, Scene, Shape, arrange, draw, illustrate
from limner.data.shapes_judge import components, judge, read, satisfies
from limner.data.shapes_words import describe, write
from limner.errors import InputError, ShapeError

Picture = NDArray[np.uint8]
CAPTION = "a small red square above a large blue circle"


def _clean(picture: Picture) -> Picture:
    return picture


def _noisy(picture: Picture) -> Picture:
    noise = np.random.default_rng(picture.sum()).integers(-8, 9, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _blurred(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.6 * len(picture) / 32)))


def _content(scene: Scene) -> list[tuple[str, str, str]]:
    return sorted((s.kind, s.colour, s.size) for s in scene.shapes)


@pytest.mark.parametrize(
    ("side", "scenes", "spoil"),
    [(32, 500, _clean), (32, 2000, _noisy), (64, 100, _clean), (64, 200, _noisy), (32, 300, _blurred)],
)
def test_every_true_picture_is_read_right(side: int, scenes: int, spoil: Callable[[Picture], Picture]) -> None:
    for k in range(scenes):
        roll = dice(5, k)
        description = describe(roll)
        caption = write(description, roll)
        scene = arrange(description, roll)
        seen = read(spoil(draw(scene, side)))
        assert _content(seen) == _content(scene), (k, caption, seen)
        verdict = satisfies(seen, caption)
        assert verdict.ok, (k, caption, verdict)


def test_places_and_extents_are_read_to_half_a_cell() -> None:
    for k in range(100):
        roll = dice(6, k)
        scene = arrange(describe(roll), roll)
        seen = read(draw(scene, 64))
        for true, found in zip(sorted(scene.shapes), sorted(seen.shapes), strict=True):
            assert np.allclose(true[3:], found[3:], atol=0.5 / 32), (true, found)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("a small pink square above a large blue circle", "no small red square among"),
        ("a small red triangle above a large blue circle", "no small red square among"),
        ("a large red square above a large blue circle", "no small red square among"),
        ("a small red square above a small blue circle", "no large blue circle among"),
        ("a small red square below a large blue circle", "not above large blue circle"),
        ("a small red square left of a large blue circle", "not above large blue circle"),
        ("a small red square", "2 shapes promised, 1 shown"),
        ("a small red square above a large blue circle, both left of a green triangle", "2 shapes promised, 3 shown"),
        ("a large red square above a small blue circle", "no small red square among"),
        ("a small blue square above a large red circle", "no small red square among"),
    ],
)
@pytest.mark.parametrize("side", [32, 64])
def test_a_picture_of_something_else_is_rejected_with_the_reason(shown: str, reason: str, side: int) -> None:
    for seed in range(10):
        verdict = judge(illustrate(shown, side, seed), CAPTION)
        assert not verdict.ok
        assert reason in verdict.reason


@pytest.mark.parametrize("caption", ["a large blue circle below a little red square", "a red square and a circle that is blue"])
def test_wording_does_not_matter_but_grammar_does(caption: str) -> None:
    picture = illustrate(CAPTION)
    if "that is" in caption:
        with pytest.raises(InputError, match="no sentence"):
            judge(picture, caption)
    else:
        assert judge(picture, caption).ok


def test_what_the_caption_leaves_open_may_be_anything() -> None:
    picture = illustrate(CAPTION)
    assert judge(picture, "a red square and a blue circle").ok
    assert judge(picture, "a red square above a blue circle").ok


def test_both_must_lie_where_the_caption_says() -> None:
    caption = "a red square left of a blue circle, both above a green triangle"
    assert judge(illustrate(caption), caption).ok
    assert "both" not in judge(illustrate(caption.replace("above", "below")), caption).reason
    assert not judge(illustrate(caption.replace("above", "below")), caption).ok


def test_speckles_are_dirt_but_a_third_blob_is_a_shape_too_many() -> None:
    picture = illustrate(CAPTION, 32, seed=1)
    free = next((y, x) for y in range(1, 26) for x in range(1, 26) if (picture[y - 1 : y + 7, x - 1 : x + 7] > 240).all())
    dirty, spoilt = picture.copy(), picture.copy()
    dirty[free[0] : free[0] + 2, free[1] : free[1] + 2] = PALETTE["green"]
    spoilt[free[0] : free[0] + 6, free[1] : free[1] + 2] = PALETTE["green"]
    assert judge(dirty, CAPTION).ok
    assert "green piece that is no" in judge(spoilt, CAPTION).reason


def _box(picture: Picture, rows: slice, columns: slice, colour: tuple[int, int, int]) -> Picture:
    out = picture.copy()
    out[rows, columns] = colour
    return out


PLAIN = np.full((32, 32, 3), 248, np.uint8)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((32, 32, 3), np.uint8), "ground is not light"),
        (_box(PLAIN, slice(6, 26), slice(6, 26), PALETTE["red"]), "no known size"),
        (_box(PLAIN, slice(10, 14), slice(4, 28), PALETTE["red"]), "no circle, square or triangle"),
        (_box(PLAIN, slice(10, 18), slice(10, 18), (190, 120, 130)), "pale or mixed"),
        (_box(PLAIN, slice(8, 24), slice(8, 24), (205, 205, 204)), "pale smear"),
        (PLAIN, "1 shapes promised, 0 shown: nothing"),
    ],
)
def test_what_is_no_shape_is_named(picture: Picture, reason: str) -> None:
    verdict = judge(picture, "a red square")
    assert not verdict.ok
    assert reason in verdict.reason


def test_touching_shapes_of_two_colours_are_told_apart() -> None:
    picture = _box(_box(PLAIN, slice(4, 12), slice(6, 14), PALETTE["red"]), slice(12, 25), slice(4, 17), PALETTE["blue"])
    assert judge(picture, "a small red square above a large blue square").ok


def test_a_shape_partly_outside_is_still_read_or_named() -> None:
    picture = _box(PLAIN, slice(0, 8), slice(26, 32), PALETTE["green"])
    assert len(read(picture).shapes) + len(read(picture).flaws) == 1


@pytest.mark.parametrize("shape", [(32, 32), (32, 48, 3), (16, 16, 3), (32, 32, 4)])
def test_a_picture_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"side, side >= 32|\[side side 3\]"):
        read(np.zeros(shape, np.uint8))


def test_components_are_connected_by_edges() -> None:
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]], bool)
    assert sorted(int(piece.sum()) for piece in components(mask)) == [1, 2, 4]


def test_a_relation_needs_its_axis_to_lead() -> None:
    def scene(dx: float, dy: float) -> Scene:
        first = Shape("circle", "red", "small", 0.3, 0.3, 0.2)
        return Scene((first, Shape("square", "blue", "small", 0.3 + dx, 0.3 + dy, 0.2)))

    caption = "a red circle above a blue square"
    assert satisfies(scene(0.1, 0.4), caption).ok
    assert not satisfies(scene(0.4, 0.35), caption).ok  # rather left of
    assert not satisfies(scene(0.05, 0.1), caption).ok  # overlaps
    assert not satisfies(scene(0.0, -0.4), caption).ok
