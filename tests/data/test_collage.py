import numpy as np
import pytest

from limner.data import collage, paint
from limner.data.collage import Piece, Scene


def levels() -> dict[int, np.ndarray]:
    """One icon: left half red, right half half-transparent blue, at two sides."""
    made = {}
    for side in (8, 32):
        picture = np.zeros((1, side, side, 4), np.uint8)
        picture[0, :, : side // 2] = (255, 0, 0, 255)
        picture[0, :, side // 2 :] = (0, 0, 128, 128)
        made[side] = picture
    return made


def drawn(*pieces: Piece, side: int = 32, ground: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    return collage.render(Scene(ground, pieces, ""), levels(), lambda row: None, side)


@pytest.mark.parametrize("side", [8, 16, 32, 48])
def test_a_piece_of_full_size_fills_the_picture(side: int) -> None:
    image = drawn(Piece(0, 0.5, 0.5, 1.0), side=side)
    assert image.shape == (side, side, 3)
    assert (image[:, : side // 2 - 2] == (255, 0, 0)).all()


def test_half_transparent_colours_mix_with_the_ground() -> None:
    assert drawn(Piece(0, 0.5, 0.5, 1.0), ground=(0, 200, 0))[5, 30].tolist() == [0, 100, 128]


def test_a_mirrored_piece_is_mirrored() -> None:
    plain, mirrored = drawn(Piece(0, 0.5, 0.5, 1.0)), drawn(Piece(0, 0.5, 0.5, 1.0, mirrored=True))
    assert np.array_equal(plain[:, ::-1], mirrored)
    assert not np.array_equal(plain, mirrored)


@pytest.mark.parametrize(("x", "y"), [(-0.2, 0.5), (1.2, 0.5), (0.5, -0.2), (0.5, 1.2), (3.0, 3.0)])
def test_what_hangs_over_the_edge_is_cut_off(x: float, y: float) -> None:
    image = drawn(Piece(0, x, y, 0.5))
    assert image.shape == (32, 32, 3)
    assert (image[16, 16] == 255).all()


def test_a_later_piece_lies_in_front() -> None:
    image = drawn(Piece(0, 0.5, 0.5, 1.0, mirrored=True), Piece(0, 0.25, 0.5, 0.5))
    assert image[16, 4].tolist() == [255, 0, 0]


def test_a_piece_lies_where_it_was_put() -> None:
    image = drawn(Piece(0, 0.25, 0.75, 0.25))
    ys, xs = np.nonzero((image != 255).any(axis=-1))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (4, 11, 20, 27)


def test_a_colour_is_given_only_where_the_icon_has_a_main_one() -> None:
    scene = Scene((255, 255, 255), (Piece(0, 0.5, 0.5, 1.0, colour="green"),), "")
    red = paint.main_colour(levels()[8][0, :, :4])
    painted = collage.render(scene, levels(), lambda row: red, 32)
    left = collage.render(scene, levels(), lambda row: None, 32)
    assert painted[5, 5].argmax() == 1
    assert left[5, 5].argmax() == 0


def test_resizing_keeps_the_mean_of_a_premultiplied_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 4)).astype(np.uint8)
    small = collage.resized(noise, 11)
    assert small.shape == (11, 11, 4)
    assert abs(small.mean((0, 1)) - noise.mean((0, 1))).max() < 6
    assert collage.resized(noise, 32) is noise
