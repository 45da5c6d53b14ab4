"""Grids of two settings."""

from __future__ import annotations

import csv
import io

import numpy as np
import PIL.Image
import pytest

from limner.errors import InputError
from limner.studio import grids
from tests.studio.conftest import asked


def test_every_combination_is_a_cell() -> None:
    plan = grids.plan(asked(), "guidance", "1, 2.5", "seed", "0;7\n9")
    assert [[(cell.guidance, cell.seed) for cell in row] for row in plan.cells] == [
        [(1.0, seed), (2.5, seed)] for seed in (0, 7, 9)
    ]
    assert plan.columns == ("guidance 1", "guidance 2.5")
    assert plan.rows == ("seed 0", "seed 7", "seed 9")


def test_a_prompt_may_hold_commas() -> None:
    plan = grids.plan(asked(), "prompt", "a fox, red\na fox, blue\n", grids.NOTHING, "")
    assert [cell.prompt for cell in plan.cells[0]] == ["a fox, red", "a fox, blue"]
    assert plan.rows == ("",)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (("seed", "", grids.NOTHING, ""), "no values"),
        (("steps", "four", grids.NOTHING, ""), "'four' is no number"),
        (("seed", "1", "seed", "2"), "both axes"),
        (("seed", ",".join(map(str, range(9))), "steps", ",".join(map(str, range(1, 9)))), "9 x 8"),
    ],
)
def test_axes_that_cannot_be_compared_are_refused(axes: tuple[str, str, str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        grids.plan(asked(), *axes)


def test_the_sheet_has_every_picture_in_its_place_and_room_for_words() -> None:
    pictures = {(0, 0): PIL.Image.new("RGB", (160, 160), "red"), (1, 1): PIL.Image.new("RGB", (160, 160), "blue")}
    sheet = np.asarray(grids.sheet(["one", "two"], ["first", "second"], pictures))
    red, blue = (sheet == (255, 0, 0)).all(-1), (sheet == (0, 0, 255)).all(-1)
    assert (red.sum(), blue.sum()) == (160 * 160, 160 * 160)
    assert np.argwhere(red).max(0).tolist() < np.argwhere(blue).min(0).tolist()
    assert (sheet[:, : np.argwhere(red).min(0)[1]] < 100).all(-1).any()  # the words beside the rows


def test_small_pictures_are_enlarged_without_smoothing() -> None:
    sheet = np.asarray(grids.sheet([""], [""], {(0, 0): PIL.Image.new("RGB", (32, 32), "red")}))
    assert (sheet == (255, 0, 0)).all(-1).sum() == 128 * 128


def test_a_grid_without_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="none is finished"):
        grids.sheet(["a"], ["b"], {})


def test_the_table_holds_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(grids.table(["prompt", "seed"], [["=1+1", -3], ["a, b", 4]]))))
    assert rows == [["prompt", "seed"], ["'=1+1", "-3"], ["a, b", "4"]]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "\N{FULLWIDTH EQUALS SIGN}"])
def test_whatever_a_spreadsheet_takes_for_a_formula_is_quoted(sign: str) -> None:
    rows = list(csv.reader(io.StringIO(grids.table(["prompt"], [[f"{sign}1+1"]]), newline="")))
    assert rows[1] == [f"'{sign}1+1"]
