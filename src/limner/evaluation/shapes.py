"""Does it draw what the words say? Scenes of the shapes world, drawn from captions never trained on, read back exactly.

The judge is `data/shapes_judge`; it sees only the picture and the caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner.config import Frozen
from limner.data import shapes_judge
from limner.data.shapes import GRID, Scene, Shapes
from limner.data.shapes_words import Description, parse
from limner.errors import InputError
from limner.evaluation import drawing
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.share import Share, share
from limner.systems.glide import Glide

Failure = Literal["unreadable", "number", "colour", "kind", "size", "binding", "place"]
Progress = Callable[[int, int], None]  # done, of


class ShapesResult(Frozen):
    """Scene accuracy: every shape, its colour, kind and size, their number and all relations right at once."""

    accuracy: Share
    by_shapes: dict[int, Share]  # number of shapes in the caption -> accuracy
    failures: dict[str, int]  # what was wrong first -> how often
    examples: dict[str, str]  # what was wrong first -> one caption and what the judge said of it
    drawing: Drawing


class Judged(NamedTuple):
    """A drawn caption with its verdict."""

    number: int
    caption: str
    picture: NDArray[np.uint8]
    failure: Failure | None  # None: right
    reason: str


def captions(n: int) -> list[str]:
    """The first n of the fixed list of captions that training never gives in any wording."""
    return [view.caption for view in Shapes().held_out(GRID, n)]


def evaluate(system: Glide, wishes: Wishes, *, n: int = 500, progress: Progress = lambda done, of: None) -> ShapesResult:
    """Scene accuracy on n unseen captions, one picture each.

    Raises: InputError when the system draws smaller pictures than the judge can read.
    """
    verdicts = []
    for one in judged(system, captions(n), wishes):
        verdicts.append(one)
        progress(len(verdicts), n)
    return summed(verdicts, drawing.described(system, wishes))


def judged(system: Glide, texts: list[str], wishes: Wishes) -> Iterator[Judged]:
    """Draw captions of the shapes world and judge each picture."""
    side = drawing.described(system, wishes).side
    if side < GRID:
        raise InputError(f"{system.settings.name}: draws {side} px; scenes are read from {GRID} px up")
    for one in drawing.draw(system, texts, wishes):
        scene, description = shapes_judge.read(one.picture), parse(one.caption)
        verdict = shapes_judge.fulfils(scene, description)
        failure = None if verdict.ok else failed(scene, description)
        yield Judged(one.number, one.caption, one.picture, failure, verdict.reason)


def summed(verdicts: list[Judged], how: Drawing) -> ShapesResult:
    """The figures of a list of verdicts."""
    sizes = [len(parse(one.caption).items) for one in verdicts]
    failures = Counter(one.failure for one in verdicts if one.failure is not None)
    examples = {one.failure: f"{one.caption!r}: {one.reason}" for one in reversed(verdicts) if one.failure is not None}
    return ShapesResult(
        accuracy=_accuracy(verdicts),
        by_shapes={
            size: _accuracy([one for one, shapes in zip(verdicts, sizes, strict=True) if shapes == size])
            for size in sorted(set(sizes))
        },
        failures={str(name): count for name, count in failures.most_common()},
        examples={str(name): examples[name] for name, _ in failures.most_common()},
        drawing=how,
    )


def failed(scene: Scene, description: Description) -> Failure:
    """The first thing that is wrong with a scene that does not fulfil a description.

    "binding" is when all colours, kinds and sizes are there but on the wrong shapes.
    """
    items, shown = description.items, scene.shapes
    if scene.flaws:
        return "unreadable"
    if len(shown) != len(items):
        return "number"
    if Counter(item.colour for item in items) != Counter(shape.colour for shape in shown):
        return "colour"
    if Counter(item.kind for item in items) != Counter(shape.kind for shape in shown):
        return "kind"
    if Counter(item[:2] for item in items) != Counter(shape[:2] for shape in shown):
        return "binding"
    sizes = {(shape.kind, shape.colour): shape.size for shape in shown}
    wrong = [item for item in items if item.size is not None and sizes[item.kind, item.colour] != item.size]
    if not wrong:
        return "place"
    said = Counter(item.size for item in items)
    return "binding" if None not in said and said == Counter(sizes.values()) else "size"


def _accuracy(verdicts: list[Judged]) -> Share:
    return share(sum(one.failure is None for one in verdicts), len(verdicts))
