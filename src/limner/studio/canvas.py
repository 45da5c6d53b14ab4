"""The canvas a person paints on: what comes out of it as a picture and a mask, and what is put into it.

The canvas gives back the pixels it shows. Where the picture came from the gallery, the file itself is taken instead, so that
every pixel outside the mask stays what it was and the edit's recipe names its parent.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import PIL.Image
from gradio.components.image_editor import EditorData, EditorValue

from limner import images
from limner.errors import InputError, LimnerError
from limner.studio.asking import plain
from limner.studio.desk import Desk

MASK = ("#ff4d8d", 0.65)  # colour and opacity: what lies beneath the strokes is seen
SEEN = 8  # alpha from which a stroke counts
CLOSE = 3  # of 255: the canvas rounds
SHOWN = 256  # pixels; a picture from the gallery fills at least half of that
UPLOADS = 20 * 2**20  # bytes of an uploaded picture


def guarded(editor: gr.ImageEditor) -> gr.ImageEditor:
    """The same editor, which decodes no picture that limner would refuse.

    Not a class of its own: gradio would write a stub file beside the source of one.
    """
    decode = editor.preprocess

    def checked(payload: EditorData | None) -> EditorValue | None:
        for data in _files(editor, payload):
            try:
                images.peek(data, "picture").close()
            except LimnerError as error:
                raise gr.Error(plain(str(error)), title="That does not work", print_exception=False) from None
        return decode(payload)

    editor.preprocess = checked  # type: ignore[method-assign]
    return editor


class Painting(NamedTuple):
    """What came out of a canvas."""

    picture: PIL.Image.Image  # RGB, what lies beneath the strokes
    mask: PIL.Image.Image  # L, 255 where a stroke is
    over: PIL.Image.Image  # RGB, with the strokes


def painted(value: EditorValue | None) -> Painting:
    """What a person has painted. Raises: InputError when there is no picture."""
    if value is None or not isinstance(value["background"], PIL.Image.Image):
        raise InputError("there is no picture yet; drop one onto the canvas, or send one here from the history")
    picture = _opaque(value["background"])
    mask = PIL.Image.new("L", picture.size, 0)
    for layer in value["layers"]:
        if isinstance(layer, PIL.Image.Image):
            strokes = layer.convert("RGBA").getchannel("A").resize(picture.size, PIL.Image.Resampling.NEAREST)
            mask.paste(255, mask=strokes.point(lambda alpha: 255 if alpha >= SEEN else 0))
    composite = value["composite"]
    over = _opaque(composite) if isinstance(composite, PIL.Image.Image) else picture
    return Painting(picture, mask, over)


def source(desk: Desk, picture: PIL.Image.Image, known: str | None) -> bytes:
    """The file to work on: that of the gallery's picture `known` while the canvas still shows it, else what it shows."""
    path = desk.store.picture(known) if known else None
    if path is not None and same(picture, enlarged(images.open_picture(path))):
        return path.read_bytes()
    return png(picture)


def same(a: PIL.Image.Image, b: PIL.Image.Image) -> bool:
    """Whether two pictures are one but for the canvas's rounding."""
    if a.size != b.size:
        return False
    apart = np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16))
    return int(apart.max()) <= CLOSE


def shown(path: Path) -> dict[str, Any]:
    """A picture as the canvas takes it, without strokes."""
    picture = enlarged(images.open_picture(path))
    return {"background": picture, "layers": [], "composite": picture}


def enlarged(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as large as a brush needs it: one stroke would hide a picture of 32 pixels."""
    times = max(1, SHOWN // max(picture.size))
    return picture.resize((picture.width * times, picture.height * times), PIL.Image.Resampling.NEAREST)


def fitted(mask: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A mask at its picture's size; whatever a stroke touches is marked. Units: size (width, height) in pixels."""
    return mask.resize(size, PIL.Image.Resampling.BOX).point(lambda alpha: 255 if alpha else 0)


def png(picture: PIL.Image.Image) -> bytes:
    """A picture as a PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _opaque(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode == "RGB":
        return picture
    over = picture.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, "white"), over).convert("RGB")


def _files(editor: gr.ImageEditor, payload: EditorData | None) -> list[bytes]:
    """The files in what a page sends."""
    if payload is None:
        return []
    if payload.id is None:
        sent = [payload.background, payload.composite, *payload.layers]
        return [Path(file.path).read_bytes() for file in sent if file is not None]
    kept = editor.blob_storage.get(payload.id)
    blobs = [] if kept is None else [kept.background, kept.composite, *kept.layers]
    return [blob for blob in blobs if blob is not None]
