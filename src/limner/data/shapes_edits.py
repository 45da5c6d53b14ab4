"""Edits of the shapes world: a picture, a region, the words of the picture wanted, and what that picture would be.

"add a small green triangle below the red square" becomes the picture without it, the box where it belongs and the caption of
the whole scene; the captions are of the tenth that training never sees. What came out is judged in `evaluation/edits`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from limner.data.dice import Dice, dice
from limner.data.shapes import BORDER, EXTENTS, GAP, GRID, Scene, Shape, arrange, draw
from limner.data.shapes_words import (
    COLOURS,
    KINDS,
    OPPOSITE,
    SIZES,
    Description,
    Where,
    describe,
    held_out,
    write,
)

Verb = Literal["add", "recolour", "remove", "restore"]
VERBS: tuple[Verb, ...] = get_args(Verb)  # "restore" erases half a shape: its region's border cuts through what is there
MARGIN = 1  # cells by which a region is wider than its shape; the gap to the next shape is two
_STREAM = 4  # first number of the dice, after the three of `shapes`


class Edit(NamedTuple):
    """One edit: what is there, what is asked, and the picture that would be right."""

    verb: Verb
    sentence: str  # for people
    caption: str  # for the model: the whole scene that is wanted
    wanted: Description
    before: Scene
    after: Scene
    target: int  # of the shape that is added, recoloured or restored, in `after`; that is removed, in `before`
    box: tuple[float, float, float, float]  # the region: left, top, right, bottom in sides of the picture

    def picture(self, side: int) -> NDArray[np.uint8]:
        """What is to be edited: [side side 3] uint8."""
        return draw(self.before, side)

    def truth(self, side: int) -> NDArray[np.uint8]:
        """What would be right: [side side 3] uint8."""
        return draw(self.after, side)

    def mask(self, side: int) -> str:
        """The region as a box "x,y,w,h" in pixels."""
        left, top = (max(0, floor(at * side + 1e-6)) for at in self.box[:2])
        right, bottom = (min(side, ceil(at * side - 1e-6)) for at in self.box[2:])
        return f"{left},{top},{right - left},{bottom - top}"


def edits(verb: Verb, count: int) -> list[Edit]:
    """The first so many of the fixed list of a verb; no two with the same words and the same sentence."""
    roll = dice(_STREAM, VERBS.index(verb))
    found: dict[tuple[str, str], Edit] = {}
    while len(found) < count:
        one = _MAKERS[verb](roll)
        if one is not None:
            found.setdefault((one.sentence, one.caption), one)
    return list(found.values())


def _add(roll: Dice) -> Edit | None:
    wanted = _unseen(roll)
    after, target = arrange(wanted, roll), roll(len(wanted.items))
    if len(after.shapes) < 2:
        return None
    before = Scene((*after.shapes[:target], *after.shapes[target + 1 :]))
    shape = after.shapes[target]
    name = " ".join(word for word in (wanted.items[target].size, shape.colour, shape.kind) if word)
    where = _place(wanted, target, after, before)
    sentence = f"add {'an' if name[0] in 'aeiou' else 'a'} {name}{where}"
    return Edit("add", sentence, write(wanted, roll), wanted, before, after, target, _around(shape))


def _recolour(roll: Dice) -> Edit | None:
    wanted = _unseen(roll)
    after, target = arrange(wanted, roll), roll(len(wanted.items))
    shape, old = after.shapes[target], COLOURS[roll(len(COLOURS))]
    taken = {(other.kind, other.colour) for other in after.shapes}
    # The size is said, because a region of one shade gives no other hint of it.
    if wanted.items[target].size is None or (shape.kind, old) in taken:
        return None
    before = Scene(tuple(s._replace(colour=old) if k == target else s for k, s in enumerate(after.shapes)))
    sentence = f"make {_the(before.shapes[target], before)} {shape.colour}"
    return Edit("recolour", sentence, write(wanted, roll), wanted, before, after, target, _around(shape))


def _remove(roll: Dice) -> Edit | None:
    wanted = _unseen(roll)
    after = arrange(wanted, roll)
    kind, colour, size = KINDS[roll(len(KINDS))], COLOURS[roll(len(COLOURS))], SIZES[roll(2)]
    extent = EXTENTS[size][roll(len(EXTENTS[size]))]
    span = GRID - 2 * BORDER - extent + 1
    x, y = ((BORDER + roll(span) + extent / 2) / GRID for _ in range(2))
    shape = Shape(kind, colour, size, x, y, extent / GRID)
    if len(after.shapes) > 2 or any((s.kind, s.colour) == (kind, colour) or not _apart(s, shape) for s in after.shapes):
        return None
    before = Scene((*after.shapes, shape))
    sentence = f"remove {_the(shape, before)}"
    return Edit("remove", sentence, write(wanted, roll), wanted, before, after, len(before.shapes) - 1, _around(shape))


def _restore(roll: Dice) -> Edit | None:
    wanted = _unseen(roll)
    scene, target = arrange(wanted, roll), roll(len(wanted.items))
    shape = scene.shapes[target]
    left, top, right, bottom = _around(shape)
    box = (
        (left, top, shape.x, bottom),
        (shape.x, top, right, bottom),
        (left, top, right, shape.y),
        (left, shape.y, right, bottom),
    )
    sentence = f"restore {_the(shape, scene)}"
    return Edit("restore", sentence, write(wanted, roll), wanted, scene, scene, target, box[roll(4)])


_MAKERS: dict[Verb, Callable[[Dice], Edit | None]] = {
    "add": _add,
    "recolour": _recolour,
    "remove": _remove,
    "restore": _restore,
}


def _unseen(roll: Dice) -> Description:
    description = describe(roll)
    while not held_out(description):
        description = describe(roll)
    return description


def _around(shape: Shape) -> tuple[float, float, float, float]:
    reach = shape.extent / 2 + MARGIN / GRID
    return shape.x - reach, shape.y - reach, shape.x + reach, shape.y + reach


def _apart(one: Shape, other: Shape) -> bool:
    """Whether the bounding boxes keep the gap of the world."""
    least = (one.extent + other.extent) / 2 + (GAP - 1e-6) / GRID
    return max(abs(one.x - other.x), abs(one.y - other.y)) >= least


def _the(shape: Shape, scene: Scene) -> str:
    alone = sum(other.kind == shape.kind for other in scene.shapes) == 1
    return f"the {shape.kind}" if alone else f"the {shape.colour} {shape.kind}"


def _place(wanted: Description, target: int, after: Scene, before: Scene) -> str:
    """How the new shape lies to the others, in the words of the description: " below the square", or ""."""
    for first, where, second in wanted.relations:
        for own, others, way in ((first, second, where), (second, first, OPPOSITE[where])):
            if own == (target,):
                return _lies(way, [after.shapes[k] for k in others], before)
    return ""


def _lies(where: Where, others: list[Shape], before: Scene) -> str:
    return f" {where} {' and '.join(_the(other, before) for other in others)}"
