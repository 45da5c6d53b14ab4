"""Masks: what may be repainted, from files, boxes and edges."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import InputError
from limner.systems import masks

SIZE = (12, 9)


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_transparent_pixels_are_repainted() -> None:
    picture = PIL.Image.new("RGBA", SIZE, (255, 255, 255, 255))
    picture.paste((0, 0, 0, 0), (2, 3, 5, 6))
    mask = masks.read(png(picture), SIZE)
    assert mask.getbbox() == (2, 3, 5, 6)
    assert set(np.asarray(mask).ravel().tolist()) == {0, 255}


def test_without_transparency_white_is_repainted() -> None:
    picture = PIL.Image.new("L", SIZE, 0)
    picture.paste(255, (0, 0, 4, 9))
    assert masks.read(png(picture), SIZE).getbbox() == (0, 0, 4, 9)
    assert masks.read(png(picture.convert("RGB")), SIZE).getbbox() == (0, 0, 4, 9)


def test_boxes_are_repainted() -> None:
    mask = np.asarray(masks.read("1,2,3,4; 8,0,4,1", SIZE))
    assert mask[2:6, 1:4].all()
    assert mask[0, 8:].all()
    assert (mask > 0).sum() == 3 * 4 + 4


@pytest.mark.parametrize("text", ["1,2,3", "0,0,0,5", "10,0,3,3", "0,0,-1,4", "1,2,3,4;"])
def test_a_box_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="mask: "):
        masks.read(text, SIZE)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="the mask has 5x5 pixels, the picture 12x9"):
        masks.read(png(PIL.Image.new("L", (5, 5))), SIZE)


def test_a_broken_mask_is_refused() -> None:
    noise = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    with pytest.raises(InputError, match="broken or truncated"):
        masks.read(png(noise)[:900], (64, 64))


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1, 2, 3.7]))
def test_a_soft_edge_stays_inside_the_mask(seed: int, edge: float) -> None:
    hard = PIL.Image.fromarray((np.random.default_rng(seed).random((9, 12)) < 0.7).astype(np.uint8) * 255)
    soft = np.asarray(masks.softened(hard, edge))
    assert (soft <= np.asarray(hard)).all()


def test_a_soft_edge_fades_towards_what_is_kept_only() -> None:
    hard = masks.boxes("0,0,20,30", (40, 30))
    soft = np.asarray(masks.softened(hard, 4))[15]
    assert soft[0] == 255  # the picture's own border is no edge
    assert 0 < soft[17] < 255
    assert (np.diff(soft[:21].astype(int)) <= 0).all()


def test_a_cell_is_repainted_when_any_of_its_pixels_is() -> None:
    cells = masks.cells(masks.boxes("5,0,1,1", (16, 16)), 4)
    assert cells.shape == (1, 1, 4, 4)
    assert cells.sum() == 1
    assert cells[0, 0, 0, 1] == 1
    assert masks.cells(masks.boxes("0,0,1,2", (2, 2)), 4).sum() == 8


def test_a_thin_line_in_a_large_mask_is_not_lost() -> None:
    assert masks.cells(masks.boxes("0,500,1000,1", (1000, 1000)), 8)[0, 0].sum(1).tolist() == [0, 0, 0, 0, 8, 0, 0, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 1000))
def test_every_marked_pixel_lies_in_a_repainted_cell_and_every_such_cell_on_a_marked_pixel(
    width: int, height: int, side: int, seed: int
) -> None:
    marked = np.random.default_rng(seed).random((height, width)) < 0.1
    cells = masks.cells(PIL.Image.fromarray(marked.astype(np.uint8) * 255), side)[0, 0].numpy() > 0
    wanted = np.zeros((side, side), bool)
    for y, x in zip(*np.nonzero(marked), strict=True):
        rows = slice(y * side // height, max(-(-(y + 1) * side // height), y * side // height + 1))
        columns = slice(x * side // width, max(-(-(x + 1) * side // width), x * side // width + 1))
        wanted[rows, columns] = True
    assert (cells == wanted).all()


def test_a_mask_of_16_bits_is_read_by_its_shades() -> None:
    shades = np.array([[0, 300, 32_000, 33_000, 65_535]], np.uint16)
    assert np.asarray(masks.read(PIL.Image.fromarray(shades), (5, 1))).tolist() == [[0, 0, 0, 255, 255]]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_a_recorded_mask_comes_back(width: int, height: int, seed: int) -> None:
    pixels = (np.random.default_rng(seed).random((height, width)) < 0.5).astype(np.uint8) * 255
    facts = masks.written(b"a file", PIL.Image.fromarray(pixels))
    assert (np.asarray(masks.restored(facts, (width, height))) == pixels).all()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"mask": "0", "mask_png": "!"}, "not base64"),
        ({"mask": "0", "mask_png": "aaaa"}, "not a picture"),
        ({"mask": "0", "boxes": "0,0,99,99"}, "leaves the picture"),
        ({"mask": "0", "boxes": "0,0,1,1"}, "the mask is another one"),
        ({"mask": "0"}, "give its file"),
    ],
)
def test_a_recorded_mask_that_cannot_be_used_is_refused(facts: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        masks.restored(facts, SIZE)


def test_a_digest_depends_on_pixels_and_size_only() -> None:
    assert masks.digest(masks.boxes("0,0,2,2", (4, 4))) == masks.digest(masks.boxes("0,0,2,1;0,1,2,1", (4, 4)))
    assert masks.digest(PIL.Image.new("L", (4, 2))) != masks.digest(PIL.Image.new("L", (2, 4)))
