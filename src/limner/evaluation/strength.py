"""What the strength of a sketch does: how far a picture leaves the sketch, and how near it comes to the words.

A sketch is the true picture of one unseen caption of the shapes world, the words are another caption's. The same pairs and
the same noise serve every strength.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import PIL.Image

from limner.config import Frozen
from limner.data import shapes_judge
from limner.data.shapes import GRID, Scene, Shapes
from limner.data.shapes_words import Description, parse
from limner.errors import InputError
from limner.evaluation import drawing
from limner.evaluation.drawing import Drawing, Wishes
from limner.recipe import Image
from limner.systems import edits
from limner.systems.drawing import Pipe
from limner.systems.glide import Glide

Progress = Callable[[int, int], None]  # done, of


class Point(Frozen):
    """The mean over all pairs at one strength."""

    strength: float
    to_sketch: float  # mean difference of a channel, 0..255
    to_caption: float  # share of the caption's facts that are false


class Sweep(Frozen):
    """All strengths, and whether both distances never turn back."""

    points: tuple[Point, ...]
    pairs: int
    seed: int
    drawing: Drawing

    @property
    def leaves_the_sketch(self) -> bool:
        """Whether the distance to the sketch rises from each strength to the next."""
        return all(b.to_sketch >= a.to_sketch for a, b in pairwise(self.points))

    @property
    def nears_the_caption(self) -> bool:
        """Whether the distance to the caption falls, or stays, from each strength to the next."""
        return all(b.to_caption <= a.to_caption for a, b in pairwise(self.points))


def sweep(
    pipe: Pipe,
    strengths: Sequence[float],
    *,
    pairs: int = 32,
    seed: int = 0,
    progress: Progress = lambda done, of: None,
) -> Sweep:
    """Sketch so many pairs at each strength.

    Raises: InputError when the model draws smaller pictures than the judge can read, or reads no words.
    """
    if not isinstance(pipe.system, Glide) or pipe.side < GRID:
        raise InputError(f"{pipe.name}: the sweep needs a model of words that draws {GRID} px or more")
    views = Shapes().held_out(pipe.side, 2 * pairs)
    sketches, captions = views[:pairs], [view.caption for view in views[pairs:]]
    points, done = [], 0
    for strength in strengths:
        apart, false = [], []
        for number, (sketch, caption) in enumerate(zip(sketches, captions, strict=True)):
            old = PIL.Image.fromarray(sketch.image)
            stream = edits.sketch(pipe, old, caption, strength=strength, seed=seed, first=number)
            new = next(np.asarray(item.picture) for item in stream if isinstance(item, Image))
            apart.append(float(np.abs(new.astype(int) - sketch.image).mean()))
            false.append(1 - true_share(shapes_judge.read(new), parse(caption)))
            done += 1
            progress(done, pairs * len(strengths))
        points.append(Point(strength=strength, to_sketch=float(np.mean(apart)), to_caption=float(np.mean(false))))
    how = drawing.described(pipe.system, Wishes(seed=seed))
    return Sweep(points=tuple(points), pairs=pairs, seed=seed, drawing=how)


def true_share(scene: Scene, description: Description) -> float:
    """The share of a description's facts that a scene shows: the number of shapes, each shape, each relation."""
    items = description.items
    shown = [[s for s in scene.shapes if _true(Scene((s,)), Description((item,)))] for item in items]
    facts = [len(scene.shapes) == len(items) and not scene.flaws, *(bool(each) for each in shown)]
    whole = Scene(tuple(each[0] for each in shown)) if all(shown) else Scene(())
    facts += [_true(whole, Description(items, (relation,))) for relation in description.relations]
    return sum(facts) / len(facts)


def _true(scene: Scene, description: Description) -> bool:
    return shapes_judge.fulfils(scene, description).ok
