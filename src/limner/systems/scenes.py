"""A picture built in steps from a script: the first step draws or opens, each later one repaints a region in words.

Every step's picture is kept in one folder. A step is drawn again only when it changed, or what it stands on did: a picture
in the folder serves when its recipe is the one that the script asks for. `examples/scene.toml` is a script.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import PIL.Image
from pydantic import Field, model_validator

from limner import catalog, images, recipe
from limner.config import Frozen, SamplerName, parse
from limner.errors import ConfigError, InputError, LimnerError
from limner.recipe import Image, Recipe
from limner.systems import choosing, drawing, edits, masks
from limner.systems.base import Progress, Request
from limner.systems.choosing import Method
from limner.systems.drawing import Pipe
from limner.systems.edits import Canvas

EVERYTHING = "all"  # the mask of a step that starts from the whole picture, as a sketch
_FIRST, _LATER = ("picture",), ("mask", "strength", "soft", "rounds", "method")
_PASSING = frozenset({"limner", "torch", "device"})  # of a recipe: what may differ in a picture that still serves

Loader = Callable[[Path], Pipe]


class Settings(Frozen):
    """How a step is drawn; what is None is the model's own, or for `seed` random."""

    model: str | None = None
    method: Method | None = None  # how a region is repainted, see `choosing`
    seed: int | None = None
    negative: str | None = None
    steps: str | None = Field(None, coerce_numbers_to_str=True)
    guidance: float | None = Field(None, ge=0, le=100)
    sampler: SamplerName | None = None
    strength: float | None = Field(None, gt=0, le=1)  # below 1 starts from what is there
    soft: float | None = Field(None, ge=0, le=masks.SOFTEST)  # pixels inside the mask over which the new fades into the old
    rounds: int | None = Field(None, ge=1, le=50)


class Step(Settings):
    """One step of a script."""

    prompt: str = ""
    picture: str | None = None  # of the first step, instead of a prompt: a file, from the script's folder
    mask: str | None = None  # of the later ones: boxes "x,y,w,h;...", a file from the script's folder, or "all"


class Script(Frozen):
    """A scene: what holds for all steps unless one says otherwise, and the steps."""

    defaults: Settings = Settings()
    steps: tuple[Step, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for number, step in enumerate(self.steps, start=1):
            wrong = [name for name in (_LATER if number == 1 else _FIRST) if getattr(step, name) is not None]
            if wrong:
                place = "the first step has nothing to repaint" if number == 1 else "only the first step opens a picture"
                raise ValueError(f"step {number}: {wrong[0]} does not belong here, {place}")
            if number == 1 and bool(step.prompt) == (step.picture is not None):
                raise ValueError("step 1: needs either a prompt or a picture")
            if number > 1 and not (step.prompt and step.mask):
                raise ValueError(f"step {number}: needs a {'mask' if step.prompt else 'prompt'}")
        return self


class Scene(NamedTuple):
    """A script with the name of its file, which stands in messages, and the folder its files are named from."""

    script: Script
    where: str
    folder: Path


class Shot(NamedTuple):
    """The picture of a step."""

    number: int  # of the step, from 1
    path: Path  # the file it is kept in
    image: Image | None  # None for a picture that was only opened
    fresh: bool  # drawn now, not found in the folder


def read(path: str | Path) -> Scene:
    """A scene from a TOML or JSON file.

    Raises: ConfigError naming the file, and the step where there is one, for what is not a script.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        tree = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor TOML or JSON
        raise ConfigError(f"{file}: not a script in {'JSON' if file.suffix.lower() == '.json' else 'TOML'} ({error})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: not a script; it needs 'steps'")
    return Scene(parse(Script, tree, where=str(file)), str(file), file.parent)


def play(
    scene: Scene,
    folder: str | Path,
    load: Loader,
    *,
    model: str = "glide-emoji",
    redo: int | None = None,
) -> Iterator[Progress | Shot]:
    """Every step's picture, drawn or found in `folder`; Progress on the way.

    `load` gives the Pipe of a folder and is asked once for each; `model` serves the steps that name none. From step `redo`
    on everything is drawn anew; a step without a seed gets another one then.

    Raises: LimnerError naming file and step; all that can be refused is refused before the first step is drawn.
    """
    count = len(scene.script.steps)
    if redo is not None and not 1 <= redo <= count:
        raise ConfigError(f"{scene.where}: has steps 1 to {count}; there is no step {redo} to do again")
    pipes: dict[Path, Pipe] = {}
    plans = [_planned(scene, number, load, pipes, model) for number in range(1, count + 1)]
    _rehearse(scene, plans)
    return _play(scene, plans, Path(folder), redo or count + 1)


class _Plan(NamedTuple):
    number: int
    step: Step  # with the script's defaults filled in
    pipe: Pipe | None  # None for a picture that is opened
    asked: Request
    seeded: bool  # whether the script says the seed

    def canvas(self, scene: Scene, picture: edits.Source) -> Canvas:
        """What a later step paints on."""
        step = self.step
        if step.mask == EVERYTHING:
            return edits.rough(picture, strength=edits.SKETCHY if step.strength is None else step.strength)
        strength = 1.0 if step.strength is None else step.strength
        boxes_or_file = step.mask or ""
        mask = boxes_or_file if masks.are_boxes(boxes_or_file) else scene.folder / boxes_or_file
        return edits.marked(picture, mask, soft=step.soft or 0, strength=strength, rounds=step.rounds)


def _planned(scene: Scene, number: int, load: Loader, pipes: dict[Path, Pipe], model: str) -> _Plan:
    """A step with everything it needs, checked as far as it can be without the picture before it."""
    own = scene.script.steps[number - 1]
    said = {name: value for name, value in own.model_dump().items() if value is not None}
    step = Step.model_validate(scene.script.defaults.model_dump() | said)
    wishes = {name: getattr(step, name) for name in ("seed", "steps", "guidance", "sampler")}
    with _named(scene, number):
        asked = drawing.request(step.prompt, **wishes, negative=step.negative or "")
        if step.picture is not None:
            return _Plan(number, step, None, asked, True)
        name = step.model or model
        place = catalog.find(name) if step.mask in (None, EVERYTHING) else choosing.painter(name, step.method or "auto")
        pipe = pipes[place] = pipes.get(place) or load(place)
        pipe.check(asked)
        return _Plan(number, step, pipe, asked, step.seed is not None)


def _rehearse(scene: Scene, plans: Sequence[_Plan]) -> None:
    """Open every file and look at every mask before the first step is drawn: no step changes the picture's size."""
    first = plans[0]
    with _named(scene, 1):
        stand_in = (
            images.open_picture(scene.folder / first.step.picture)
            if first.step.picture is not None
            else PIL.Image.new("RGB", (first.pipe.side, first.pipe.side) if first.pipe else (1, 1))
        )
    for plan in plans[1:]:
        with _named(scene, plan.number):
            plan.canvas(scene, stand_in)


def _play(scene: Scene, plans: Sequence[_Plan], folder: Path, redo: int) -> Iterator[Progress | Shot]:
    before: Path | None = None
    for plan in plans:
        with _named(scene, plan.number):
            for item in _shot(scene, plan, before, folder, redo=plan.number >= redo):
                if isinstance(item, Shot):
                    before = item.path
                yield item


def _shot(scene: Scene, plan: _Plan, before: Path | None, folder: Path, *, redo: bool) -> Iterator[Progress | Shot]:
    """One step: found in the folder, or drawn and kept there."""
    if plan.pipe is None:
        yield Shot(plan.number, scene.folder / (plan.step.picture or ""), None, False)
        return
    canvas = None if before is None else plan.canvas(scene, before)
    if not redo:
        found = _found(plan, canvas, folder)
        if found is not None:
            yield Shot(plan.number, found, Image(images.open_picture(found), recipe.read(found)), False)
            return
    stream = plan.pipe.draw(plan.asked) if canvas is None else edits.paint(plan.pipe, canvas, plan.asked)
    for item in stream:
        if isinstance(item, Image):
            name = folder / f"{plan.number:02}-{recipe.slug(plan.step.prompt)}.png"
            yield Shot(plan.number, recipe.write_new(name, item.to_bytes()), item, True)
        else:
            yield item


def _found(plan: _Plan, canvas: Canvas | None, folder: Path) -> Path | None:
    """The newest picture of a step in the folder whose recipe is what the script asks for."""
    for path in sorted(folder.glob(f"{plan.number:02}-*.png"), key=_age, reverse=True):
        try:
            made = recipe.read(path)
        except InputError:
            continue  # another program's file
        if _kept(made) == _kept(_expected(plan, canvas, made)):
            return path
    return None


def _expected(plan: _Plan, canvas: Canvas | None, made: Recipe) -> Recipe | None:
    """The recipe that the step would have now; a seed that the script leaves open is the old picture's."""
    if plan.pipe is None:
        return None
    asked = plan.asked if plan.seeded else plan.asked.model_copy(update={"seed": made.seed})
    if canvas is None:
        return plan.pipe.recipe(asked, 0, (plan.pipe.side, plan.pipe.side))
    return edits.recorded(plan.pipe, canvas, asked, 0, canvas.picture.size)


def _kept(made: Recipe | None) -> dict[str, Any]:
    return {} if made is None else made.model_dump(mode="json", exclude=set(_PASSING))


def _age(path: Path) -> tuple[float, str]:
    return path.stat().st_mtime_ns, path.name


@contextmanager
def _named(scene: Scene, number: int) -> Iterator[None]:
    """Errors of a step say the file and the step."""
    try:
        yield
    except LimnerError as error:
        raise type(error)(f"{scene.where}: step {number}: {error}") from None
