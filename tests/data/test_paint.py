import math

import numpy as np
import pytest
from numpy.typing import NDArray

from limner.data import art, paint


def icon(rgb: tuple[int, int, int], alpha: int = 255, side: int = 16) -> NDArray[np.uint8]:
    """A disc of a colour with a dark eye, premultiplied."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    out = np.zeros((side, side, 4), np.uint8)
    out[np.hypot(x, y) < side * 0.45] = (*rgb, alpha)
    out[np.hypot(x, y) < side * 0.12] = (20, 20, 24, alpha)
    return art.premultiplied(out)


def striped(*words: str) -> NDArray[np.uint8]:
    """Stripes of colours."""
    out = np.full((16, 4 * len(words), 4), 255, np.uint8)
    for k, word in enumerate(words):
        out[:, 4 * k : 4 * k + 4, :3] = paint.COLOURS[word]
    return out


def ring(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The straight colour beside the eye."""
    side = picture.shape[0]
    rgb, _ = paint.straight(picture)
    return np.asarray(rgb[side // 2, side // 4] * 255, dtype=np.float64)


@pytest.mark.parametrize("word", [w for w in paint.COLOURS if w != "black"])
def test_the_main_colour_of_a_disc_is_called_by_its_name(word: str) -> None:
    found = paint.main_colour(icon(paint.COLOURS[word]))
    assert found is not None
    assert found.word == word


def test_half_transparent_colours_are_read_without_their_alpha() -> None:
    found = paint.main_colour(icon(paint.COLOURS["green"], alpha=120))
    assert found is not None
    assert found.word == "green"


def test_a_motley_icon_has_no_main_colour() -> None:
    assert paint.main_colour(striped("red", "green", "blue", "grey")) is None


def test_red_beside_yellow_is_not_called_orange() -> None:
    found = paint.main_colour(striped("red", "yellow"))
    assert found is None or found.word in ("red", "yellow", "")


def test_an_empty_icon_has_no_main_colour() -> None:
    assert paint.main_colour(np.zeros((16, 16, 4), np.uint8)) is None


@pytest.mark.parametrize("old", ["red", "yellow", "blue", "grey", "white"])
@pytest.mark.parametrize("new", ["red", "green", "blue", "purple", "yellow", "pink", "orange"])
def test_a_recoloured_icon_has_the_new_colour_s_hue(old: str, new: str) -> None:
    before = icon(paint.COLOURS[old])
    found = paint.main_colour(before)
    assert found is not None
    got = paint.AXES @ ring(paint.recolour(before, found, new))
    wanted = paint.AXES @ np.array(paint.COLOURS[new])
    turn = math.atan2(got[1], got[0]) - math.atan2(wanted[1], wanted[0])
    assert abs((turn + math.pi) % (2 * math.pi) - math.pi) < math.radians(12)
    assert np.hypot(*got) > 0.4 * np.hypot(*wanted)


def test_recolouring_leaves_the_eye_and_the_alpha_alone() -> None:
    before = icon(paint.COLOURS["red"], alpha=200)
    found = paint.main_colour(before)
    assert found is not None
    after = paint.recolour(before, found, "green")
    assert np.array_equal(after[..., 3], before[..., 3])
    assert abs(after[8, 8].astype(int) - before[8, 8]).max() <= 2
    assert (after[..., :3] <= after[..., 3:]).all()


def test_recolouring_keeps_the_order_of_light_and_shade() -> None:
    shaded = np.full((1, 12, 4), 255, np.uint8)
    shaded[0, :, :3] = np.outer(np.linspace(0.3, 1, 12), paint.COLOURS["red"])
    found = paint.main_colour(shaded)
    assert found is not None
    rgb, _ = paint.straight(paint.recolour(shaded, found, "blue"))
    assert (np.diff(rgb[0] @ paint.LUMA) >= -0.01).all()


def test_white_and_black_are_colours_one_can_ask_for() -> None:
    before = icon(paint.COLOURS["yellow"])
    found = paint.main_colour(before)
    assert found is not None
    white, black = (ring(paint.recolour(before, found, word)) for word in ("white", "black"))
    assert white.min() > 190
    assert black.max() < 80


def test_a_colour_between_two_names_has_none() -> None:
    between = [
        (np.array(paint.COLOURS[a]) + np.array(paint.COLOURS[b])) / 510 for a, b in (("blue", "green"), ("pink", "purple"))
    ]
    assert [paint.name(rgb) for rgb in between] == ["", ""]
