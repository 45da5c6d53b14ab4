"""Finished pictures as clients want them, and the masks that uploaded pictures carry in themselves.

Everything here reads files and computes, so routes call it in a thread. It imports what needs torch only when it is called.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

ENDINGS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_HALF = 128  # alpha below this is a hole


class Facts(NamedTuple):
    """What an answer says of a picture beside its pixels."""

    width: int
    height: int
    native: tuple[int, int]  # as the model drew it, before it was resampled
    prompt: str


def encoded(path: Path, ending: str, quality: int | None = None) -> bytes:
    """A finished picture as the bytes of a png, jpeg or webp file, its recipe inside.

    Raises: InputError for a recipe too long for JPEG.
    """
    data = path.read_bytes()
    if ending == "png":
        return data
    from limner import images, recipe

    return recipe.encode(images.open_picture(data), recipe.read(data), ending, quality=quality)


def facts(path: Path) -> Facts:
    """What the recipe inside a finished picture says."""
    from limner import recipe

    made = recipe.read(path)
    size = made.width, made.height
    native = made.extra.get("resampled", {}).get("from", size)
    return Facts(*size, (native[0], native[1]), made.prompt)


def preview(png: bytes, ending: str, quality: int | None = None) -> bytes:
    """A picture on the way, as the bytes of a file of the wanted kind."""
    if ending == "png":
        return png
    from limner import images, recipe

    return recipe.encode(images.open_picture(png), None, ending, quality=quality)


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture that limner wrote, in pixels."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(data)) as picture:
        return picture.size


def holes(png: bytes) -> bytes | None:
    """The transparent part of a picture as a mask in black and white, white where it may be painted; None without any."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(png)) as picture:
        if "A" not in picture.getbands():
            return None
        mask = picture.getchannel("A").point(lambda value: 255 if value < _HALF else 0)
    if mask.getbbox() is None:
        return None
    file = io.BytesIO()
    mask.save(file, "PNG", compress_level=1)
    return file.getvalue()


def tokens(folder: Path, texts: list[str]) -> int:
    """How many tokens some texts have for a model; 0 for one that reads no words."""
    from limner import catalog
    from limner.tokens import load

    for stage in catalog.settings_of(folder).stages:
        if stage.network.text is not None:
            return sum(len(load(stage.network.text.vocabulary, folder).ids(text)) for text in texts)
    return 0


def usage(texts: int, source: tuple[int, int] | None, drawn: list[tuple[int, int]]) -> dict[str, Any]:
    """Tokens as OpenAI tells them; a picture has one for each 16 x 16 pixels. Units: texts in tokens, the rest in pixels."""
    read = 0 if source is None else _cells(source)
    made = sum(_cells(size) for size in drawn)
    return {
        "input_tokens": texts + read,
        "input_tokens_details": {"text_tokens": texts, "image_tokens": read},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": texts + read + made,
    }


def _cells(size: tuple[int, int]) -> int:
    return -(-size[0] // 16) * -(-size[1] // 16)
