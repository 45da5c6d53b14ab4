"""Does an edit do what was asked and leave the rest alone? Edits of the shapes world, painted by a model, read back exactly.

The edits are in `data/shapes_edits`, the reader in `data/shapes_judge`. Edit k of a verb is painted with `first=k` under one
seed. Both methods can be judged: a network trained to inpaint, and known pixels put back in every step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from limner.config import Frozen
from limner.data import shapes_edits, shapes_judge
from limner.data.shapes import GRID, Scene, Shape
from limner.data.shapes_edits import Edit, Verb
from limner.errors import InputError, UnsupportedError
from limner.evaluation import drawing, shapes
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.share import Share, share
from limner.recipe import Image
from limner.systems import edits, masks
from limner.systems.base import Request
from limner.systems.drawing import Pipe
from limner.systems.glide import Glide

ASKED: tuple[Verb, ...] = ("add", "recolour", "remove")  # what is counted; "restore" is for the seam alone
SHIFT = 1.5 / GRID  # sides; how far a shape may be read from where it was and still be the same
Failure = Literal["unreadable", "number", "colour", "kind", "size", "binding", "place", "moved"]
Progress = Callable[[int, int], None]  # done, of


class Seam(Frozen):
    """Colour jumps between neighbours across the region's border, mean over pairs and channels, in steps of 0 to 255."""

    error: float  # |jump in the result - jump in the true picture|
    jump: float  # in the result
    true: float  # in the true picture


class MethodResult(Frozen):
    """How one method did."""

    method: str  # "trained" or "replacement"
    right: Share  # what was asked happened and the rest is unchanged
    by_verb: dict[str, Share]
    failures: dict[str, int]  # what was wrong first -> how often
    examples: dict[str, str]
    seam: Seam  # of these edits: the border lies on the plain ground
    restored: Share  # halves of shapes, erased and painted again
    cut_seam: Seam  # of those: the border cuts through a shape
    outside: int  # largest difference of a channel outside the regions; 0 means untouched
    seconds: float  # an edit
    drawing: Drawing


class EditsResult(Frozen):
    """Both methods on the same edits."""

    asked: int
    methods: tuple[MethodResult, ...]


class Judged(NamedTuple):
    """A painted edit with its verdict."""

    edit: Edit
    picture: NDArray[np.uint8]
    failure: Failure | None  # None: right
    reason: str
    seam: Seam
    outside: int
    seconds: float


def evaluate(
    pipes: Mapping[str, Pipe], wishes: Wishes, *, n: int = 300, progress: Progress = lambda done, of: None
) -> EditsResult:
    """Each method (name -> its model) on n edits, a third of each verb, and a sixth as many halves to restore.

    Raises: InputError when a model draws smaller pictures than the judge can read, or n cannot be divided.
    """
    if n < 6:
        raise InputError(f"edits: at least 6 are judged, of three verbs; got {n}")
    counts: dict[Verb, int] = {verb: (n + 2 - k) // 3 for k, verb in enumerate(ASKED)} | {"restore": n // 6}
    of, done, found = len(pipes) * sum(counts.values()), 0, []
    for method, pipe in pipes.items():
        verdicts = []
        for verb, count in counts.items():
            for one in judged(pipe, shapes_edits.edits(verb, count), wishes):
                verdicts.append(one)
                done += 1
                progress(done, of)
        found.append(summed(method, verdicts, drawing.described(_glide(pipe), wishes)))
    return EditsResult(asked=n, methods=tuple(found))


def judged(pipe: Pipe, asked: Sequence[Edit], wishes: Wishes) -> Iterator[Judged]:
    """Paint edits and judge each."""
    used = pipe if wishes.stages is None else pipe.kept(wishes.stages)
    side = used.side
    if side < GRID:
        raise InputError(f"{pipe.name}: draws {side} px; scenes are read from {GRID} px up")
    steered = wishes.model_dump(include={"seed", "steps", "guidance", "sampler"})
    for number, edit in enumerate(asked):
        old = PIL.Image.fromarray(edit.picture(side))
        request = Request.model_validate({"prompt": edit.caption, "first": number, **steered})
        started = time.perf_counter()
        stream = edits.paint(used, edits.marked(old, edit.mask(side)), request)
        new = next(np.asarray(item.picture) for item in stream if isinstance(item, Image))
        seconds = time.perf_counter() - started
        inside = np.asarray(masks.boxes(edit.mask(side), old.size)) > 0
        failure, reason = verdict(edit, shapes_judge.read(new))
        apart = np.abs(new.astype(int) - np.asarray(old))[~inside]
        yield Judged(edit, new, failure, reason, seam(new, edit.truth(side), inside), int(apart.max(initial=0)), seconds)


def verdict(edit: Edit, scene: Scene) -> tuple[Failure | None, str]:
    """Whether a scene is what an edit asked for, every other shape where it was; what is wrong first, and in words."""
    said = shapes_judge.fulfils(scene, edit.wanted)
    if not said.ok:
        return shapes.failed(scene, edit.wanted), said.reason
    shown = {(shape.kind, shape.colour): shape for shape in scene.shapes}  # no two are alike in both
    for number, was in enumerate(edit.after.shapes):
        now = shown[was.kind, was.colour]
        new = edit.verb == "add" and number == edit.target
        if not (_inside(now, edit.box) if new else _same(now, was)):
            return "moved", f"the {was.colour} {was.kind} is not {'in its region' if new else 'as it was'}"
    return None, "as asked"


def seam(result: NDArray[np.uint8], truth: NDArray[np.uint8], inside: NDArray[np.bool_]) -> Seam:
    """The colour jumps across a region's border in a result, beside those of the true picture.

    Shapes: result, truth [H W 3] uint8; inside [H W].
    """
    jumps = [_jumps(picture.astype(np.float64), inside) for picture in (result, truth)]
    if not len(jumps[0]):
        return Seam(error=0, jump=0, true=0)
    return Seam(error=float(abs(jumps[0] - jumps[1]).mean()), jump=float(jumps[0].mean()), true=float(jumps[1].mean()))


def summed(method: str, verdicts: Sequence[Judged], how: Drawing) -> MethodResult:
    """The figures of a list of verdicts."""
    asked = [one for one in verdicts if one.edit.verb in ASKED]
    halves = [one for one in verdicts if one.edit.verb == "restore"]
    failures = Counter(one.failure for one in asked if one.failure is not None)
    examples = {one.failure: f"{one.edit.sentence!r}: {one.reason}" for one in reversed(asked) if one.failure is not None}
    return MethodResult(
        method=method,
        right=_right(asked),
        by_verb={verb: _right([one for one in asked if one.edit.verb == verb]) for verb in ASKED},
        failures={str(name): count for name, count in failures.most_common()},
        examples={str(name): examples[name] for name, _ in failures.most_common()},
        seam=_mean([one.seam for one in asked]),
        restored=_right(halves),
        cut_seam=_mean([one.seam for one in halves]),
        outside=max(one.outside for one in verdicts),
        seconds=float(np.median([one.seconds for one in verdicts])),
        drawing=how,
    )


def _glide(pipe: Pipe) -> Glide:
    if not isinstance(pipe.system, Glide):
        raise UnsupportedError(f"{pipe.name}: reads no words, so edits cannot be asked of it; use a glide model")
    return pipe.system


def _same(now: Shape, was: Shape) -> bool:
    return now.size == was.size and max(abs(now.x - was.x), abs(now.y - was.y), abs(now.extent - was.extent)) <= SHIFT


def _inside(shape: Shape, box: tuple[float, float, float, float]) -> bool:
    return box[0] < shape.x < box[2] and box[1] < shape.y < box[3]


def _jumps(picture: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The jump of every pair of neighbours of which one lies inside. Shapes: [H W 3], [H W] -> [pairs]."""
    down = abs(np.diff(picture, axis=0)).mean(-1)[np.diff(inside, axis=0)]
    right = abs(np.diff(picture, axis=1)).mean(-1)[np.diff(inside, axis=1)]
    return np.concatenate([down, right])


def _mean(seams: Sequence[Seam]) -> Seam:
    return Seam(**{name: float(np.mean([getattr(each, name) for each in seams])) for name in Seam.model_fields})


def _right(verdicts: Sequence[Judged]) -> Share:
    return share(sum(one.failure is None for one in verdicts), len(verdicts))
