"""Which part of a training picture a network that learns to inpaint is not shown (GLIDE section 4.3: "random regions").

All is drawn from the generator that is handed in: which generator belongs to which view is the business of `feed.py`. The
paper does not give the shapes of its regions; ours are shares of the recipe (`EraseSettings`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from limner.config import EraseSettings

Region = NDArray[np.bool_]  # [S S], True = erased
PLAIN = 24  # how far, of 255, a channel may be from the ground's for a pixel to belong to the ground
GROUND = 0.6  # share of the border that must be ground for a picture to have one
COARSE = 64  # things are looked for on at most so many cells a side


def region(picture: NDArray[np.uint8], recipe: EraseSettings, rng: np.random.Generator) -> Region:
    """What is erased from a picture. Shapes: [S S 3] -> [S S], True = erased."""
    side = len(picture)
    chance = rng.random()
    kinds: tuple[tuple[float, Callable[[], Region]], ...] = (
        (recipe.everything, lambda: np.ones((side, side), np.bool_)),
        (recipe.nothing, lambda: np.zeros((side, side), np.bool_)),
        (recipe.boxes, lambda: boxes(side, recipe, rng)),
        (recipe.strokes, lambda: strokes(side, recipe, rng)),
        (recipe.objects, lambda: thing(picture, recipe, rng)),
    )
    for share, make in kinds:
        if chance < share:
            return make()
        chance -= share
    return next(make for share, make in reversed(kinds) if share)()  # the shares' sum is 1 but for its last bits


def boxes(side: int, recipe: EraseSettings, rng: np.random.Generator) -> Region:
    """One to three rectangles, wholly inside. Shapes: -> [side side]."""
    out = np.zeros((side, side), np.bool_)
    for _ in range(rng.integers(1, 4)):
        width, height = (max(1, round(side * rng.uniform(*recipe.box))) for _ in range(2))
        left, top = (int(rng.integers(side - length + 1)) for length in (width, height))
        out[top : top + height, left : left + width] = True
    return out


def strokes(side: int, recipe: EraseSettings, rng: np.random.Generator) -> Region:
    """One to three lines of two to four pieces, as of a thick brush. Shapes: -> [side side]."""
    out = np.zeros((side, side), np.bool_)
    for _ in range(rng.integers(1, 4)):
        corners = rng.uniform(0, side, (rng.integers(3, 6), 2))
        out |= line(side, corners, side * rng.uniform(*recipe.brush) / 2)
    return out


def thing(picture: NDArray[np.uint8], recipe: EraseSettings, rng: np.random.Generator) -> Region:
    """One thing that lies on a plain ground, a little wider, or the box around it; a blob where there is none.

    A third of the regions are put elsewhere: or the shape of a hole would give away what was there, and a network would never
    learn to take a thing away.

    Shapes: picture [S S 3] -> [S S].
    """
    side = len(picture)
    factor = max(1, side // COARSE) if side % COARSE == 0 else 1
    outline = lone(on_ground(picture), factor, rng)
    wider = rng.uniform(*recipe.margin)
    if outline is None:
        return blob(side, recipe, rng)
    reach = max(1, round(wider * len(outline)))
    grown = around(outline) if rng.random() < 0.5 else outline
    for _ in range(reach):
        grown = widened(grown)
    if rng.random() < 1 / 3:
        grown = elsewhere(grown, rng)
    return grown.repeat(factor, 0).repeat(factor, 1)


def blob(side: int, recipe: EraseSettings, rng: np.random.Generator) -> Region:
    """A round, uneven patch: a brush that is led around in a small area. Shapes: -> [side side]."""
    size = side * rng.uniform(*recipe.box) / 2
    corners = rng.uniform(0, side, 2) + rng.uniform(-size / 2, size / 2, (6, 2))
    return line(side, corners, size / 2)


def on_ground(picture: NDArray[np.uint8]) -> Region | None:
    """The pixels that are not ground; None when the picture has no plain ground, or nothing on it.

    Shapes: [S S 3] -> [S S].
    """
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]]).astype(np.int16)
    ground = np.median(border, axis=0)
    if (np.abs(border - ground).max(axis=1) <= PLAIN).mean() < GROUND:
        return None
    other: Region = np.abs(picture.astype(np.int16) - ground).max(axis=2) > PLAIN
    return other if other.any() and not other.all() else None


def lone(other: Region | None, factor: int, rng: np.random.Generator) -> Region | None:
    """The connected thing that a random pixel of `other` belongs to. Shapes: [S S] -> [S/factor S/factor]."""
    if other is None:
        return None
    side = len(other) // factor
    cells: Region = np.asarray(other.reshape(side, factor, side, factor).any(axis=(1, 3)))
    places = np.argwhere(cells)
    found: Region = np.zeros_like(cells)
    found[tuple(places[rng.integers(len(places))])] = True
    while True:
        grown: Region = widened(found) & cells
        if np.array_equal(grown, found):
            return found
        found = grown


def around(shape: Region) -> Region:
    """The box around a shape. Shapes: [S S] -> [S S]."""
    out = np.zeros_like(shape)
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return out


def elsewhere(shape: Region, rng: np.random.Generator) -> Region:
    """A shape moved to any place where all of it stays inside. Shapes: [S S] -> [S S]."""
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    moves = (int(rng.integers(-lines[0], len(shape) - lines[-1])) for lines in (rows, columns))
    return np.roll(shape, tuple(moves), axis=(0, 1))


def widened(shape: Region) -> Region:
    """A shape and the eight neighbours of each of its pixels. Shapes: [S S] -> [S S]."""
    rows = shape.copy()
    rows[1:] |= shape[:-1]
    rows[:-1] |= shape[1:]
    out = rows.copy()
    out[:, 1:] |= rows[:, :-1]
    out[:, :-1] |= rows[:, 1:]
    return out


def line(side: int, corners: NDArray[np.float64], radius: float) -> Region:
    """The pixels at most `radius` from a line through corners (x, y). Shapes: corners [N 2] -> [side side]. Units: pixels."""
    at = np.arange(side) + 0.5
    points = np.stack(np.meshgrid(at, at), axis=-1)  # [S S 2]
    out = np.zeros((side, side), np.bool_)
    for start, end in pairwise(corners):
        along = end - start
        place = ((points - start) @ along / max(float(along @ along), 1e-9)).clip(0, 1)
        out |= ((points - start - place[..., None] * along) ** 2).sum(-1) <= radius**2
    return out
