"""The shapes world: one to three flat coloured shapes on a plain light ground, drawn from words, without end.

Everything lies on a grid of 32 x 32 cells, so a picture of 32 or 64 pixels is crisp; other sides are anti-aliased.
Bounding boxes are two cells apart and two from the border: a picture can be read back exactly (`shapes_judge`).
The captions are in `shapes_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner.data.dice import Dice, dice
from limner.data.shapes_words import (
    SIZES,
    WHERE,
    Colour,
    Description,
    Item,
    Kind,
    Relation,
    Size,
    Where,
    describe,
    held_out,
    parse,
    write,
)
from limner.data.source import View
from limner.errors import DataError, InputError

GRID = 32  # cells a side
BORDER = 2  # cells kept free around
GAP = 2  # cells between bounding boxes
EXTENTS: dict[Size, tuple[int, ...]] = {"small": (7, 8), "large": (12, 13)}  # cells across
GROUND = (248, 248, 246)
PALETTE: dict[Colour, tuple[int, int, int]] = {
    "red": (210, 28, 44),
    "orange": (244, 122, 24),
    "yellow": (252, 225, 48),
    "green": (36, 158, 68),
    "blue": (34, 80, 216),
    "purple": (132, 44, 172),
    "pink": (246, 132, 192),
    "black": (24, 24, 28),
}
_TRAIN, _TEST, _WORDS = 1, 2, 3  # first number of the dice: streams that never meet


class Shape(NamedTuple):
    """One shape of a scene; x, y (its bounding box's centre) and extent (across) in sides of the picture."""

    kind: Kind
    colour: Colour
    size: Size
    x: float
    y: float
    extent: float


class Scene(NamedTuple):
    """What a picture shows; `flaws` names what a reader could not make sense of (none in a drawn scene)."""

    shapes: tuple[Shape, ...]
    flaws: tuple[str, ...] = ()


class Shapes:
    """The source "shapes": infinite, its captions never from the held-out tenth.

    `unplaced` of a hundred captions, and the few that are so anyway, do not say how the shapes lie: they are harder, for
    the drawing must make up its mind.
    """

    def __init__(self, unplaced: int = 0) -> None:
        self.unplaced = unplaced
        self.name = f"shapes?unplaced={unplaced}" if unplaced else "shapes"

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th scene of a seed, with its caption. Shapes: image [side side 3] uint8."""
        roll = dice(_TRAIN, seed, k)
        description = _seen(roll, self.unplaced)
        return View(draw(arrange(description, roll), side), write(description, roll))

    def captions(self, count: int = 20_000) -> Iterator[str]:
        """The captions of many views, for a vocabulary."""
        for k in range(count):
            roll = dice(_WORDS, k)
            yield write(_seen(roll), roll)

    def held_out(self, side: int, count: int = 500) -> list[View]:
        """Views whose captions training never gives in any wording; always the same, no caption twice."""
        roll = dice(_TEST)
        views: dict[str, View] = {}
        while len(views) < count:
            description = describe(roll)
            if held_out(description):
                caption = write(description, roll)
                views.setdefault(caption, View(draw(arrange(description, roll), side), caption))
        return list(views.values())


def open_shapes(options: str = "") -> Shapes:
    """The source that "shapes" or "shapes?unplaced=50" names. Raises: DataError when the option is another."""
    name, _, value = options.partition("=")
    if not options:
        return Shapes()
    if name != "unplaced" or not re.fullmatch(r"\d{1,2}|100", value):
        raise DataError(f"shapes?{options}: {options!r} is no option; there is unplaced=0..100, a share in percent")
    return Shapes(int(value))


def _seen(roll: Dice, unplaced: int = 0) -> Description:
    while True:
        description = describe(roll)
        if unplaced and roll(100) < unplaced:
            description = description._replace(relations=())
        if not held_out(description):
            return description


def illustrate(caption: str, side: int = GRID, seed: int = 0) -> NDArray[np.uint8]:
    """A true picture of a caption: [side side 3] uint8. Raises: InputError when the caption cannot be parsed."""
    return draw(arrange(parse(caption), dice(seed)), side)


def arrange(description: Description, roll: Dice) -> Scene:
    """A scene that a description allows: what it leaves open is drawn by lot."""
    items = description.items
    sizes = [item.size or SIZES[roll(2)] for item in items]
    extents = [EXTENTS[size][roll(len(EXTENTS[size]))] for size in sizes]
    match len(items):
        case 1:
            free = GRID - 2 * BORDER - extents[0]
            corners = [(BORDER + roll(free + 1), BORDER + roll(free + 1))]
        case 2:
            corners = _pair(_where(description, 0, roll), extents, roll)
        case 3:
            corners = _trio(*_wheres(description, roll), extents, roll)
        case count:
            raise InputError(f"a scene holds 1 to 3 shapes; got {count}")
    return Scene(tuple(map(_shape, items, sizes, corners, extents)))


def _shape(item: Item, size: Size, corner: tuple[int, int], extent: int) -> Shape:
    x, y = corner
    return Shape(item.kind, item.colour, size, (x + extent / 2) / GRID, (y + extent / 2) / GRID, extent / GRID)


def _where(description: Description, index: int, roll: Dice) -> Where:
    relations = description.relations
    return relations[index].where if relations else WHERE[roll(4)]


def _wheres(description: Description, roll: Dice) -> tuple[Where, Where]:
    """How the first two lie to each other, and both to the third: always along the two different axes."""
    pair: Relation | None = next((r for r in description.relations if len(r.first) == 1), None)
    both: Relation | None = next((r for r in description.relations if len(r.first) == 2), None)
    if both is None:
        inner = pair.where if pair else WHERE[roll(4)]
        return inner, WHERE[roll(2) + (0 if _along(inner) == 0 else 2)]
    return (pair.where if pair else WHERE[roll(2) + (0 if _along(both.where) == 0 else 2)]), both.where


def _along(where: Where) -> int:
    """The axis of a relation: 0 = x, 1 = y."""
    return 0 if where in ("left of", "right of") else 1


def _in_line(before: int, after: int, roll: Dice) -> tuple[int, int]:
    """Where two extents begin on a line, in this order, with at least GAP between them."""
    slack = GRID - 2 * BORDER - before - GAP - after
    lead = roll(slack + 1)
    spread = roll(slack - lead + 1)
    return BORDER + lead, BORDER + lead + before + GAP + spread


def _pair(where: Where, extents: list[int], roll: Dice) -> list[tuple[int, int]]:
    """Corners of two shapes; across the relation's axis they are shifted by at most half their distance."""
    a, b = extents if where in ("above", "left of") else extents[::-1]
    main_a, main_b = _in_line(a, b, roll)
    cross_a = BORDER + roll(GRID - 2 * BORDER - a + 1)
    cross_b = _near(cross_a + a / 2, (main_b + b / 2 - main_a - a / 2) / 2, b, roll)
    corners = [(main_a, cross_a), (main_b, cross_b)]
    if _along(where) == 1:
        corners = [(cross, main) for main, cross in corners]
    return corners if where in ("above", "left of") else corners[::-1]


def _near(centre: float, reach: float, extent: int, roll: Dice) -> int:
    """A corner for `extent` whose centre is at most `reach` from `centre`, inside the border."""
    low = max(BORDER, int(np.ceil(centre - reach - extent / 2)))
    high = min(GRID - BORDER - extent, int(np.floor(centre + reach - extent / 2)))
    return low + roll(high - low + 1)


def _trio(inner: Where, outer: Where, extents: list[int], roll: Dice) -> list[tuple[int, int]]:
    """Corners of three: the first two in a band (`inner`), the third before or behind the band (`outer`)."""
    a, b, c = extents if inner in ("above", "left of") else (extents[1], extents[0], extents[2])
    u_a, u_b = _in_line(a, b, roll)
    band = max(a, b)
    if outer in ("above", "left of"):
        v_band, v_c = _in_line(band, c, roll)
    else:
        v_c, v_band = _in_line(c, band, roll)
    middle = (u_a + a / 2 + u_b + b / 2) / 2
    u_c = _near(middle, abs(v_band + band / 2 - v_c - c / 2) / 2, c, roll)
    corners = [(u_a, v_band + roll(band - a + 1)), (u_b, v_band + roll(band - b + 1)), (u_c, v_c)]
    if _along(inner) == 1:
        corners = [(v, u) for u, v in corners]
    return corners if inner in ("above", "left of") else [corners[1], corners[0], corners[2]]


def draw(scene: Scene, side: int) -> NDArray[np.uint8]:
    """A picture of a scene: [side side 3] uint8."""
    picture = np.empty((side, side, 3), np.uint8)
    picture[...] = GROUND
    for shape in scene.shapes:
        extent = shape.extent * side
        left, top = (shape.x - shape.extent / 2) * side, (shape.y - shape.extent / 2) * side
        x, y = int(left), int(top)
        tile = _tile(shape.kind, shape.colour, extent, left - x, top - y)
        picture[y : y + len(tile), x : x + len(tile)] = tile
    return picture


@lru_cache(maxsize=4096)
def _tile(kind: Kind, colour: Colour, extent: float, dx: float, dy: float) -> NDArray[np.uint8]:
    alpha = coverage(kind, extent, dx, dy)[..., None]
    ground, ink = np.array(GROUND, np.float32), np.array(PALETTE[colour], np.float32)
    return np.rint(ground + (ink - ground) * alpha).astype(np.uint8)


def coverage(kind: Kind, extent: float, dx: float, dy: float, fine: int = 8) -> NDArray[np.float32]:
    """How much of each pixel a shape covers, its bounding box `extent` pixels across and (dx, dy) off the corner.

    Shapes: [n n], n = the pixels the box touches. Units: 0..1, from fine x fine samples a pixel.
    """
    n = int(np.ceil(extent + max(dx, dy) - 1e-6))
    at = (np.arange(n * fine, dtype=np.float32) + 0.5) / fine
    x = ((at - dx) / extent)[None, :]  # 0..1 inside the box
    y = ((at - dy) / extent)[:, None]
    match kind:
        case "square":
            inside = (abs(x - 0.5) <= 0.5) & (abs(y - 0.5) <= 0.5)
        case "circle":
            inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
        case "triangle":  # the apex above the middle of its base
            inside = (2 * abs(x - 0.5) <= y) & (y <= 1)
    samples = inside.reshape(n, fine, n, fine).astype(np.float32)  # [n f n f]
    return np.asarray(samples.mean(axis=(1, 3)), np.float32)
