"""The compare tab's functions."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
from typing import Any

import PIL.Image
import pytest

from limner.errors import InputError
from limner.studio import compare
from limner.studio.compare import Grid
from limner.studio.desk import Desk
from tests.studio.conftest import asked


def ordered(desk: Desk, *axes: str) -> Grid:
    kept, _ = compare.submit(desk, asked(), list(axes))
    grid = compare.grid_of(kept)
    assert grid is not None
    return grid


def scenes(desk: Desk, grid: Grid | None) -> list[tuple[Any, ...]]:
    async def all_of() -> list[tuple[Any, ...]]:
        return [scene async for scene in compare.scenes(desk, grid, "session")]

    return asyncio.run(all_of())


def test_a_grid_is_drawn_and_handed_out_as_png_and_csv(desk: Desk) -> None:
    grid = ordered(desk, "steps", "2, 3", "seed", "0, 1")
    desk.queue.start()
    html, said, cancel = scenes(desk, grid)[-1]
    assert html.count("<img") == 4
    assert '<th scope="col">steps 2</th>' in html
    assert '<th scope="row">seed 1</th>' in html
    assert said == "Done: 4 pictures"
    assert cancel.interactive is False
    (_, sheet), (_, table) = desk.files.values()
    assert PIL.Image.open(io.BytesIO(sheet)).width > 2 * 128
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [(row["steps"], row["seed"], row["state"]) for row in rows] == [
        (steps, seed, "done") for seed in "01" for steps in ("2", "3")
    ]


def test_nothing_is_ordered_when_one_cell_does_not_fit(desk: Desk) -> None:
    with pytest.raises(InputError):
        compare.submit(desk, asked(), ["steps", "2, x", "nothing", ""])
    assert desk.queue.list() == []


def test_cancelling_stops_every_cell(desk: Desk) -> None:
    grid = ordered(desk, "seed", "1, 2, 3", "nothing", "")
    compare.stopped(desk, grid)
    assert {status.state for status in desk.queue.list()} == {"cancelled"}
    assert "cancelled" in scenes(desk, grid)[-1][0]


def test_another_model_takes_its_own_steps(desk: Desk) -> None:
    for job in ordered(desk, "model", "tiny, glide-shapes", "nothing", "").all:
        status = desk.queue.status(job)
        assert status is not None
        assert (status.order.steps, status.order.guidance) == (None, None)


def test_a_grid_comes_back_from_what_a_browser_kept() -> None:
    kept = {"columns": ["a"], "rows": [""], "jobs": [["j"]]}
    assert compare.grid_of(kept) == Grid(["a"], [""], [["j"]])


@pytest.mark.parametrize("kept", [None, [], {}, {"columns": ["a"], "rows": [""], "jobs": [["j", "k"]]}, {"jobs": 3}])
def test_what_is_no_grid_shows_the_empty_stage(desk: Desk, kept: Any) -> None:
    assert scenes(desk, compare.grid_of(kept))[-1][0] == compare.EMPTY


def test_others_are_served_while_a_grid_is_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def exported(*_: Any) -> str:
        threads.append(threading.current_thread())
        return ""

    monkeypatch.setattr(compare, "exported", exported)
    grid = ordered(desk, "seed", "0", "nothing", "")
    desk.queue.start()
    scenes(desk, grid)
    assert threads
    assert threading.main_thread() not in threads
