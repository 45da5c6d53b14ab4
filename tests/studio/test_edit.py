"""The edit tab's orders."""

from __future__ import annotations

from typing import Any

import PIL.Image
import pytest

from limner.errors import InputError
from limner.serving.orders import Order
from limner.studio import edit
from limner.studio.desk import Desk
from tests.studio.conftest import asked
from tests.studio.test_canvas import painting


def order(desk: Desk, what: str, value: Any, boxes: str = "", margins: tuple[int, ...] = (0, 0, 0, 0)) -> Order:
    jobs, _ = edit.submit(desk, asked(), [what, 0.5, 2, boxes, *margins, value, None], [])
    status = desk.queue.status(jobs[-1])
    assert status is not None
    return status.order


def test_what_is_brushed_is_repainted(desk: Desk) -> None:
    made = order(desk, edit.REPAINT, painting((1, 1, 5, 5)))
    assert (made.verb, made.strength, made.soft, made.margins) == ("edit", 0.5, 2, None)


def test_boxes_stand_for_the_brush(desk: Desk) -> None:
    assert order(desk, edit.REPAINT, painting(), boxes="1,1,4,4").verb == "edit"


def test_going_on_beyond_the_border_takes_the_margins(desk: Desk) -> None:
    made = order(desk, edit.GO_ON, painting(), margins=(8, 0, 16, 0))
    assert (made.verb, made.margins) == ("outpaint", (8, 0, 16, 0))


def test_an_edit_without_a_mark_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="nothing is marked"):
        order(desk, edit.REPAINT, painting())


def test_going_on_by_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="margins are all 0"):
        order(desk, edit.GO_ON, painting())


def test_a_box_outside_the_picture_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="leaves the picture"):
        order(desk, edit.REPAINT, painting(background=PIL.Image.new("RGB", (8, 8))), boxes="4,4,8,8")
