"""Masks: which pixels of a picture may be repainted, from a file, a box or a margin. White (255) = repaint.

A file says it by its alpha channel (transparent = repaint) or, without one, in black and white (white = repaint).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from PIL import ImageFilter, ImageOps
from torch import Tensor

from limner import images
from limner.errors import InputError

HALF = 128  # a pixel of a mask is set from here up


def read(source: str | Path | bytes | PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A mask of a picture of this size: mode L, 0 or 255.

    `source` is a picture (a file, its bytes, an image), or boxes in pixels, "x,y,w,h" or several joined by ";".

    Raises: InputError for a file that is no picture, a mask of another size, or boxes outside the picture.
    """
    if isinstance(source, str) and re.fullmatch(r"[\d\s,;.+-]+", source):
        return boxes(source, size)
    if isinstance(source, PIL.Image.Image):
        given, where = source, "mask"
    else:
        where, data = images.read_bytes(source)
        with images.peek(data, where) as opened, images.quiet():
            try:
                given = ImageOps.exif_transpose(opened)
                given.load()
            except (OSError, ValueError, SyntaxError) as error:
                raise InputError(f"{where}: the mask is broken or truncated ({type(error).__name__})") from None
    if given.size != size:
        raise InputError(f"{where}: the mask has {given.width}x{given.height} pixels, the picture {size[0]}x{size[1]}")
    if "A" in given.getbands() or "transparency" in given.info:
        return ImageOps.invert(given.convert("RGBA").getchannel("A")).point(_hard)
    return given.convert("L").point(_hard)


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
    wide = ImageOps.expand(mask, border=2 * int(edge) + 2, fill=255)  # the picture's own border is no edge
    shrunk = wide.filter(ImageFilter.MinFilter(2 * int(edge) + 1)).filter(ImageFilter.GaussianBlur(edge / 2))
    border = 2 * int(edge) + 2
    fade = shrunk.crop((border, border, border + mask.width, border + mask.height))
    return PIL.Image.fromarray(np.minimum(np.asarray(fade), np.asarray(mask)))


def cells(mask: PIL.Image.Image, side: int) -> Tensor:
    """The mask as a stage sees it: a cell is repainted when any pixel in it is. Shapes: -> [1 1 side side], 0 or 1."""
    small = mask.resize((side, side), PIL.Image.Resampling.BOX) if max(mask.size) > side else mask.resize((side, side), 0)
    return torch.from_numpy((np.asarray(small) > 0).astype(np.float32))[None, None]


def digest(mask: PIL.Image.Image) -> str:
    """SHA-256 of a mask's size and pixels, whatever file it came from."""
    return hashlib.sha256(f"{mask.width}x{mask.height}:".encode() + mask.tobytes()).hexdigest()


def _hard(value: int) -> int:
    return 255 if value >= HALF else 0
