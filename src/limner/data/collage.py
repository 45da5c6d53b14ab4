"""Scenes in pixels: stored icons resized, mirrored, recoloured and laid over a ground.

Which scene it is was decided in compose.py; the stored pictures come from emoji.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.data import paint
from limner.data.paint import Paint

WHITE = (255, 255, 255)


class Piece(NamedTuple):
    """One icon: its row, the centre and side of its frame in fractions of the picture, mirrored or not, recoloured or not."""

    row: int
    x: float
    y: float
    size: float
    mirrored: bool = False
    colour: str = ""


class Scene(NamedTuple):
    """What a picture shows, from back to front, and its words; `kind` is plain or one of MIX."""

    ground: tuple[int, int, int]
    pieces: tuple[Piece, ...]
    caption: str
    kind: str = "plain"


def render(
    scene: Scene, levels: Mapping[int, NDArray[np.uint8]], colour_of: Callable[[int], Paint | None], side: int
) -> NDArray[np.uint8]:
    """Draw a scene with the stored pictures.

    Shapes: levels {S: [N S S 4]} -> [side side 3]; Units: uint8, levels premultiplied.
    """
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = scene.ground
    for piece in scene.pieces:
        size = max(1, round(piece.size * side))
        level = min((s for s in levels if s >= size), default=max(levels))
        icon = resized(levels[level][piece.row], size)
        own = colour_of(piece.row) if piece.colour else None
        if own is not None:
            icon = paint.recolour(icon, own, piece.colour)
        put(
            canvas,
            icon[:, ::-1] if piece.mirrored else icon,
            round(piece.x * side - size / 2),
            round(piece.y * side - size / 2),
        )
    return canvas


def resized(icon: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A premultiplied picture at another size, anti-aliased. Shapes: [S S 4] -> [size size 4]."""
    if icon.shape[0] == size:
        return icon
    # "RGBa" is Pillow's premultiplied mode: its four bytes are resampled independently, as they must be.
    picture = Image.frombuffer("RGBa", (icon.shape[1], icon.shape[0]), np.ascontiguousarray(icon), "raw", "RGBa", 0, 1)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def put(canvas: NDArray[np.uint8], icon: NDArray[np.uint8], x: int, y: int) -> None:
    """Lay a premultiplied picture over the canvas, its corner at (x, y); what hangs over the edge is cut off.

    Shapes: canvas [H W 3], icon [h w 4].
    """
    top, left = max(0, y), max(0, x)
    bottom, right = min(canvas.shape[0], y + icon.shape[0]), min(canvas.shape[1], x + icon.shape[1])
    if bottom <= top or right <= left:
        return
    part = icon[top - y : bottom - y, left - x : right - x]
    under = canvas[top:bottom, left:right]
    through = 255 - part[..., 3:].astype(np.uint16)
    canvas[top:bottom, left:right] = part[..., :3] + ((under * through + 127) // 255).astype(np.uint8)
