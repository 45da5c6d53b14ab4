"""The sketch tab's orders."""

from __future__ import annotations

import pytest

from limner.errors import InputError
from limner.studio import sketch
from limner.studio.desk import Desk
from tests.studio.conftest import asked
from tests.studio.test_canvas import painting


def test_a_sketch_is_ordered_with_its_strength(desk: Desk) -> None:
    jobs, seed = sketch.submit(desk, asked(), 0.7, painting((1, 1, 5, 5)), [])
    status = desk.queue.status(jobs[-1])
    assert status is not None
    assert (status.order.verb, status.order.strength, status.order.seed) == ("sketch", 0.7, seed)


def test_without_a_picture_nothing_is_ordered(desk: Desk) -> None:
    with pytest.raises(InputError):
        sketch.submit(desk, asked(), 0.7, None, [])


def test_the_empty_sheet_is_white() -> None:
    assert sketch.sheet().getextrema() == ((255, 255),) * 3
