"""Masks: which pixels of a picture may be repainted, from a file, a box or a margin. White (255) = repaint.

A file says it by its alpha channel (transparent = repaint) or, without one, in black and white (white = repaint). A mask
travels in a recipe as its boxes, or packed when it is small (`written`, `restored`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from PIL import ImageFilter, ImageOps
from torch import Tensor

from limner import images
from limner.errors import InputError

HALF = 128  # a pixel of a mask is set from here up
SOFTEST = 500  # pixels; the widest edge
_PACKED = 12_000  # characters of a mask that travels in a recipe; a JPEG holds 32,000 in all
_BOXES = re.compile(r"[\d\s,;.+-]+")


def read(source: str | Path | bytes | PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A mask of a picture of this size: mode L, 0 or 255.

    `source` is a picture (a file, its bytes, an image), or boxes in pixels, "x,y,w,h" or several joined by ";".

    Raises: InputError for a file that is no picture, a mask of another size, or boxes outside the picture.
    """
    if isinstance(source, str) and are_boxes(source):
        return boxes(source, size)
    if isinstance(source, PIL.Image.Image):
        given, where = source, "mask"
    else:
        where, data = images.read_bytes(source)
        with images.peek(data, where) as opened, images.quiet():
            try:
                given = ImageOps.exif_transpose(opened)
                given.load()
            except Exception as error:  # noqa: BLE001 (decoders raise whatever they trip over, see images.open_picture)
                raise InputError(f"{where}: the mask is broken or truncated ({type(error).__name__})") from None
    if given.size != size:
        raise InputError(f"{where}: the mask has {given.width}x{given.height} pixels, the picture {size[0]}x{size[1]}")
    if given.has_transparency_data:
        return ImageOps.invert(given.convert("RGBA").getchannel("A")).point(_hard)
    return images.flat(given, where).picture.convert("L").point(_hard)


def are_boxes(text: str) -> bool:
    """Whether a mask that is named by a text is meant as boxes, not as a file."""
    return _BOXES.fullmatch(text) is not None


def written(source: object, mask: PIL.Image.Image) -> dict[str, Any]:
    """What a recipe records of a mask: its hash, and the boxes it was given as or, when it is small, its pixels (PNG, base64).

    Units: mask mode L, 0 or 255.
    """
    facts: dict[str, Any] = {"mask": digest(mask)}
    if isinstance(source, str) and are_boxes(source):
        return facts | {"boxes": source}
    file = io.BytesIO()
    mask.convert("1").save(file, "PNG", optimize=True)
    packed = base64.b64encode(file.getvalue()).decode()
    return facts | ({"mask_png": packed} if len(packed) <= _PACKED else {})


def restored(facts: Mapping[str, Any], size: tuple[int, int], given: str | Path | bytes | None = None) -> PIL.Image.Image:
    """The mask that a recipe records, for a picture of this size; `given` is its file where the recipe has only its hash.

    Raises: InputError when it is not at hand, or not the one that was used.
    """
    wanted = str(facts.get("mask", ""))
    match facts:
        case _ if given is not None:
            mask = read(given, size)
        case {"boxes": str(text)}:
            mask = boxes(text, size)
        case {"mask_png": str(packed)}:
            try:
                mask = read(base64.b64decode(packed, validate=True), size)
            except binascii.Error:
                raise InputError("recipe: its mask is damaged (not base64)") from None
        case _:
            raise InputError(f"the mask was too large for the recipe; give its file, sha256 of its pixels {wanted[:12]}")
    if digest(mask) != wanted:
        raise InputError(f"the mask is another one: its pixels have sha256 {digest(mask)[:12]}, the recipe says {wanted[:12]}")
    return mask


def boxes(text: str, size: tuple[int, int]) -> PIL.Image.Image:
    """A mask of boxes "x,y,w,h", in pixels from the top left, joined by ";". Raises: InputError for what is none."""
    mask = PIL.Image.new("L", size, 0)
    for box in text.split(";"):
        numbers = box.split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d{1,7}\s*", number) for number in numbers):
            raise InputError(f"mask: '{box.strip()[:40]}' is no box; write x,y,w,h in pixels, several joined by ';'")
        x, y, w, h = (int(number) for number in numbers)
        if not (w and h and x + w <= size[0] and y + h <= size[1]):
            raise InputError(f"mask: the box {box.strip()} is empty or leaves the picture of {size[0]}x{size[1]}")
        mask.paste(255, (x, y, x + w, y + h))
    return mask


def softened(mask: PIL.Image.Image, edge: float) -> PIL.Image.Image:
    """How much of the new picture each pixel takes, 0..255: full inside, fading over `edge` pixels within the mask only.

    Outside the mask it is 0, so that no pixel there changes.
    """
    if edge <= 0:
        return mask
    # What is blurred is a mask shrunk by the edge; the border then lies where the fade has ended.
    reach = int(edge)
    border = 2 * reach + 2
    wide = ImageOps.expand(mask, border=border, fill=255)  # the picture's own border is no edge
    # Shrunk by a box whose mean is full only where all of it is: unlike a minimum filter, as fast for any width.
    shrunk = wide.filter(ImageFilter.BoxBlur(reach)).point(lambda value: 255 if value == 255 else 0)
    fade = shrunk.filter(ImageFilter.GaussianBlur(edge / 2)).crop((border, border, border + mask.width, border + mask.height))
    return PIL.Image.fromarray(np.minimum(np.asarray(fade), np.asarray(mask)))


def cells(mask: PIL.Image.Image, side: int) -> Tensor:
    """The mask as a stage sees it: a cell is repainted when any pixel in it is. Shapes: -> [1 1 side side], 0 or 1."""
    marked = np.asarray(mask) > 0
    for axis in (0, 1):
        marked = _any(marked, side, axis)
    return torch.from_numpy(marked.astype(np.float32))[None, None]


def _any(marked: NDArray[np.bool_], side: int, axis: int) -> NDArray[np.bool_]:
    """Whether anything is marked in each of `side` equal parts of an axis; a pixel on a border belongs to both parts."""
    length = marked.shape[axis]
    starts = [k * length // side for k in range(side)]
    ends = [max(-(-(k + 1) * length // side), start + 1) for k, start in enumerate(starts)]
    bounds = np.stack([starts, ends], 1).ravel()
    longer = np.concatenate([marked, np.take(marked, [0], axis)], axis)  # the last end must be an index too
    return np.asarray(np.take(np.logical_or.reduceat(longer, bounds, axis), np.arange(0, 2 * side, 2), axis))


def digest(picture: PIL.Image.Image) -> str:
    """SHA-256 of a mask's or picture's size and pixels, whatever file it came from."""
    return hashlib.sha256(f"{picture.width}x{picture.height}:".encode() + picture.tobytes()).hexdigest()


def _hard(value: int) -> int:
    return 255 if value >= HALF else 0
