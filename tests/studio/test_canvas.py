"""What comes out of the canvas."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import PIL.Image
import pytest
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData

from limner import images
from limner.errors import InputError
from limner.studio import canvas
from limner.studio.desk import Desk
from tests.studio.conftest import noted, png

RED = PIL.Image.new("RGBA", (8, 8), "red")


def painting(*strokes: tuple[int, int, int, int], background: Any = RED) -> Any:
    layer = PIL.Image.new("RGBA", (8, 8))
    for box in strokes:
        layer.paste((255, 77, 141, 200), box)
    return {"background": background, "layers": [layer], "composite": None if background is None else background}


def test_strokes_become_the_mask() -> None:
    made = canvas.painted(painting((2, 1, 4, 3)))
    assert made.mask.getbbox() == (2, 1, 4, 3)
    assert set(made.mask.tobytes()) == {0, 255}
    assert made.picture.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("value", [None, painting(background=None)])
def test_without_a_picture_there_is_a_line_that_says_what_to_do(value: Any) -> None:
    with pytest.raises(InputError, match="drop one onto the canvas"):
        canvas.painted(value)


def test_transparent_places_are_white() -> None:
    clear = PIL.Image.new("RGBA", (8, 8))
    assert canvas.painted({"background": clear, "layers": [], "composite": clear}).over.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_of_the_gallery_is_taken_from_its_file(desk: Desk) -> None:
    row = noted(desk, "a fox")
    nearly = PIL.Image.new("RGB", (256, 256), (253, 1, 0))  # as a canvas rounds it
    assert canvas.source(desk, nearly, row.id) == (desk.store.pictures / row.path).read_bytes()


@pytest.mark.parametrize("other", [PIL.Image.new("RGB", (8, 8), "blue"), PIL.Image.new("RGB", (9, 8), "red")])
def test_another_picture_on_the_canvas_is_taken_as_it_is_shown(desk: Desk, other: PIL.Image.Image) -> None:
    assert canvas.source(desk, other, noted(desk, "a fox").id) == canvas.png(other)


def test_a_picture_put_onto_the_canvas_has_no_strokes(desk: Desk) -> None:
    shown = canvas.shown(desk.store.pictures / noted(desk, "a fox").path)
    assert shown["layers"] == []
    assert shown["background"].size == (256, 256)  # a stroke would hide 8 x 8


def test_a_small_picture_of_the_gallery_is_shown_enlarged_and_taken_as_its_file(desk: Desk) -> None:
    row = noted(desk, "a fox")
    picture = canvas.shown(desk.store.pictures / row.path)["background"]
    assert canvas.source(desk, picture, row.id) == (desk.store.pictures / row.path).read_bytes()


def test_a_picture_that_limner_would_refuse_is_not_decoded(tmp_path: Path) -> None:
    editor = canvas.guarded(gr.ImageEditor(type="pil"))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture at all")
    with pytest.raises(gr.Error):
        editor.preprocess(EditorData(background=FileData(path=str(bad))))


def test_a_good_picture_is_decoded(tmp_path: Path) -> None:
    editor = canvas.guarded(gr.ImageEditor(type="pil"))
    good = tmp_path / "good.png"
    good.write_bytes(png())
    value = editor.preprocess(EditorData(background=FileData(path=str(good))))
    assert value is not None
    assert canvas.painted(value).picture.size == (8, 8)
    assert editor.preprocess(None) is None


def test_the_page_refuses_files_at_the_servers_own_limits() -> None:
    script = (resources.files("limner.studio") / "assets" / "studio.js").read_text(encoding="utf-8")
    mega = 2**20
    assert f"MOST_BYTES = {canvas.UPLOADS // mega} * 2 ** 20" in script
    assert f"MOST_PIXELS = {images.LARGEST // mega} * 2 ** 20" in script
