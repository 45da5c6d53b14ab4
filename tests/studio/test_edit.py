"""The edit tab's orders."""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import pytest

from limner.errors import InputError, UnsupportedError
from limner.serving.orders import Order
from limner.studio import canvas, edit
from limner.studio.desk import Desk
from tests.studio.conftest import asked, noted
from tests.studio.test_canvas import painting


def order(desk: Desk, what: str, value: Any, boxes: str = "", margins: tuple[int, ...] = (0, 0, 0, 0)) -> Order:
    jobs, _ = edit.submit(desk, asked(), [what, 0.5, 2, boxes, *margins, value, None], [])
    status = desk.queue.status(jobs[-1])
    assert status is not None
    return status.order


def test_what_is_brushed_is_repainted(desk: Desk) -> None:
    made = order(desk, edit.REPAINT, painting((1, 1, 5, 5)))
    assert (made.verb, made.strength, made.soft, made.margins) == ("edit", 0.5, 2, None)


def test_a_mask_is_brought_to_the_size_of_the_gallerys_picture(desk: Desk) -> None:
    row = noted(desk, "a fox")
    shown = canvas.shown(desk.store.pictures / row.path)
    stroke = PIL.Image.new("RGBA", (256, 256))
    stroke.paste((255, 77, 141, 200), (0, 0, 128, 128))
    jobs, _ = edit.submit(desk, asked(), [edit.REPAINT, 1, 0, "", 0, 0, 0, 0, shown | {"layers": [stroke]}, row.id], [])
    job = desk.store.job(jobs[-1])
    assert job is not None
    assert PIL.Image.open(io.BytesIO(desk.store.input(job.mask))).getbbox() == (0, 0, 4, 4)


def test_boxes_stand_for_the_brush(desk: Desk) -> None:
    assert order(desk, edit.REPAINT, painting(), boxes="1,1,4,4").verb == "edit"


def test_going_on_beyond_the_border_takes_the_margins(desk: Desk) -> None:
    made = order(desk, edit.GO_ON, painting(), margins=(8, 0, 16, 0))
    assert (made.verb, made.margins) == ("outpaint", (8, 0, 16, 0))


def test_a_small_picture_is_enlarged_by_the_last_stage(desk: Desk) -> None:
    made = order(desk, edit.ENLARGE, painting(background=PIL.Image.new("RGB", (8, 8))))
    assert (made.verb, made.strength, made.soft, made.margins) == ("upscale", None, 0, None)


def test_what_would_become_no_larger_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="the picture has 16 x 12 pixels and tiny enlarges to 16"):
        order(desk, edit.ENLARGE, painting(background=PIL.Image.new("RGB", (16, 12))))


def test_a_model_that_cannot_enlarge_names_those_that_can(desk: Desk) -> None:
    with pytest.raises(UnsupportedError, match=r"models that can: .*tiny"):
        edit.submit(desk, asked(model="glide-shapes"), [edit.ENLARGE, 1, 0, "", 0, 0, 0, 0, painting(), None], [])


def test_only_the_fields_of_what_is_to_be_done_are_shown() -> None:
    def seen(what: str) -> list[bool]:
        return [field.visible for field in edit.fitting(what)[:-1]]

    assert seen(edit.REPAINT) == [True, True, True, False, False, False, False]
    assert seen(edit.GO_ON) == [False, True, False, True, True, True, True]
    assert not any(seen(edit.ENLARGE))
    assert edit.fitting(edit.ENLARGE)[-1].value == "Enlarge"


def test_an_edit_without_a_mark_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="nothing is marked"):
        order(desk, edit.REPAINT, painting())


def test_going_on_by_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="margins are all 0"):
        order(desk, edit.GO_ON, painting())


def test_a_box_outside_the_picture_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="leaves the picture"):
        order(desk, edit.REPAINT, painting(background=PIL.Image.new("RGB", (8, 8))), boxes="4,4,8,8")
