"""`limner draw`: pictures from words, or of a class."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from limner.cli.flags import Device, Dtype, Model, Precision, Settings, option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner import Image, Pipe, Request

MODEL = "glide-emoji"
PULL = 3.0  # of a noised CLIP, in GLIDE's notebook
OUT = "{seed}-{slug}-{i:03}.png"


class Plan(NamedTuple):
    """What was asked for, checked as far as it can be without the weights."""

    requests: list[Request]
    out: str
    metadata: bool
    grid: bool


@verb
def draw(
    terminal: Terminal,
    words: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="What to draw.", show_default=False)] = None,
    *,
    model: Model = MODEL,
    n: Annotated[int, option("-n", help="How many pictures of each prompt.", min=1)] = 1,
    seed: Annotated[str, option("--seed", "-s", help="An integer, or random.")] = "random",
    steps: Annotated[str | None, option("--steps", help="Steps of the first stage: 20, ddim25, fast27, 10,10,5.")] = None,
    guidance: Annotated[
        float | None, option("--guidance", "--cfg", help="How hard the words pull in the first stage; 1 is not at all.")
    ] = None,
    clip: Annotated[str | None, option("--clip", help="A model whose noised CLIP guides the first stage: glide-clip.")] = None,
    clip_scale: Annotated[
        float | None, option("--clip-scale", help=f"How hard it pulls; {PULL:g} unless said otherwise.", min=0)
    ] = None,
    sampler: Annotated[str | None, option("--sampler", help="ddpm, ddim, heun, dpmpp2m or euler, in the first stage.")] = None,
    negative: Annotated[str, option("--negative", help="Words to draw away from.")] = "",
    size: Annotated[str | None, option("--size", help="WIDTHxHEIGHT, where the model can: a stage's own size.")] = None,
    out: Annotated[
        str, option("--out", "-o", help="Folder, or pattern with {seed} {slug} {i} {model} {date}; never overwrites.")
    ] = OUT,
    label: Annotated[
        int | None, option("--label", help="Number of the class, for models that draw classes instead of words.", min=0)
    ] = None,
    prompt_file: Annotated[
        str | None, option("--prompt-file", help="Prompts from a file, - for stdin: one a line, or JSON objects.")
    ] = None,
    batch: Annotated[int, option("--batch", help="Pictures drawn at a time; fewer need less memory.", min=1)] = 4,
    grid: Annotated[bool, option("--grid", help="Also write all pictures as one labelled sheet.")] = False,
    metadata: Annotated[bool, option("--metadata/--no-metadata", help="Whether files carry their recipe and prompt.")] = True,
    device: Device = "auto",
    dtype: Precision = Dtype.auto,
    settings: Settings = None,
    dry_run: Annotated[bool, option("--dry-run", help="Say what would be done, and stop.")] = False,
) -> None:
    """Draw pictures from words, or of a class.

    limner draw "a red fox" -n 4 --seed 0
    """
    from limner.cli import prompts

    wishes = {"n": n, "seed": seed_of(seed), "steps": steps, "guidance": guidance, "sampler": sampler, "negative": negative}
    wishes |= {"batch": batch, "label": label, "clip_scale": PULL if clip and clip_scale is None else clip_scale}
    asked = prompts.requests(words, prompt_file, wishes, wordless=not words and prompt_file is None and _wordless(model))
    plan = Plan(asked, pattern(out, model, asked[0].prompt, asked[0].seed), metadata, grid)
    side = None if size is None else side_of(size)
    if dry_run:
        from limner.cli import planning

        planning.say(terminal, planning.of(model, plan.requests, settings or (), side, device, dtype.value), plan.out)
        return
    pipe = _loaded(terminal, model, side, device, dtype, settings or ())
    _draw(terminal, plan, pipe.guided(clip) if clip else pipe)


def _wordless(model: str) -> bool:
    """Whether a model draws without words."""
    from limner import catalog

    entry = catalog.describe(catalog.find(model))
    return not entry.problem and catalog.settings_of(entry.path).system == "adm"


def _loaded(terminal: Terminal, model: str, side: int | None, device: str, dtype: Dtype, settings: Sequence[str]) -> Pipe:
    from limner.systems.drawing import load_pipe

    started = time.monotonic()
    pipe = load_pipe(model, device=device, dtype=dtype.value, settings=settings, side=side)
    terminal.detail(f"loaded {pipe.name} in {time.monotonic() - started:.1f} s")
    return pipe


def _draw(terminal: Terminal, plan: Plan, pipe: Pipe) -> None:
    from limner.recipe import Image

    streams = [pipe.draw(asked) for asked in plan.requests]  # whatever cannot be drawn is refused here, before any is
    kind = str(pipe.dtype).removeprefix("torch.")
    terminal.say(f"{pipe.name} on {pipe.system.device} in {kind}, seed {', '.join(_seeds(plan.requests))}")
    total = sum(steps_of(pipe, asked) for asked in plan.requests)
    started = time.monotonic()
    kept: list[Image] = []  # for the sheet; a thousand pictures are not held for nothing
    done = drawn = 0
    with terminal.bar() as tell:
        for item in itertools.chain.from_iterable(streams):
            if not isinstance(item, Image):
                done += 1
                tell(item.stage, done, total)
                continue
            path = item.save(plan.out, metadata=plan.metadata)
            drawn += 1
            kept += [item] if plan.grid else []
            terminal.result(str(path), path=str(path), **facts(item))
    seconds = time.monotonic() - started
    if plan.grid:
        path = _sheet(plan, kept)
        terminal.result(str(path), path=str(path), grid=drawn)
    terminal.say(f"{drawn} picture{'s' if drawn != 1 else ''} in {seconds:.1f} s")


def facts(image: Image) -> dict[str, object]:
    """What --json says of a picture."""
    made = image.recipe
    keys = ("prompt", "negative", "model", "seed", "index", "width", "height", "device", "dtype")
    return {key: getattr(made, key) for key in keys}


def steps_of(pipe: Pipe, asked: Request) -> int:
    """How many Progress items a request will give."""
    from limner.systems import base

    each = sum(base.count_steps(stage, stage.sampling(asked)) for stage in pipe.system.stages)
    return each * -(-asked.n // asked.batch)


def seed_of(text: str) -> int | None:
    """A seed as it was typed; None for random."""
    if text.strip().lower() == "random":
        return None
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"'{text[:40]}' is neither an integer nor 'random'", param_hint="--seed") from None


def side_of(text: str) -> int:
    """Pixels of a square given as 256 or 256x256.

    Raises: InputError for anything else.
    """
    from limner.errors import InputError

    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts) or len(parts) > 2:
        raise InputError(f"size: '{text[:40]}' is no size; write it as 256x256")
    if len(set(parts)) > 1:
        raise InputError(f"size: {text} is not square; these models draw squares")
    return int(parts[0])


def pattern(out: str, model: str, prompt: str = "", seed: int = 0) -> str:
    """The pattern of file names, checked before anything is drawn; a folder gets the usual names.

    Raises: ConfigError for a pattern that cannot be filled; LimnerError when its folder cannot be written.
    """
    from limner import recipe

    chosen = str(recipe.pattern_of(out))
    some = recipe.Recipe(prompt=prompt, model=Path(model).name, config_hash="", seed=seed, stages=(), width=1, height=1)
    folder = recipe.file_name(chosen, some).parent
    why = obstacle(folder)
    if why:
        from limner.errors import LimnerError

        raise LimnerError(f"{folder}: cannot be written, {why}; choose another --out")
    return chosen


def obstacle(folder: Path) -> str:
    """Why nothing can be written into a folder, which need not be there yet; "" when something can."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return f"{there} is a file"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is not to be written to"


def _sheet(plan: Plan, drawn: Sequence[Image]) -> Path:
    """All pictures as one, beside the first."""
    from limner import images, recipe

    labels = [image.recipe.prompt for image in drawn]
    picture = images.grid([image.picture for image in drawn], labels if len(set(labels)) > 1 else ())
    made = drawn[0].recipe.model_copy(update={"verb": "grid", "width": picture.width, "height": picture.height})
    name = recipe.file_name(plan.out, drawn[0].recipe)
    data = recipe.encode(picture, made if plan.metadata else None, recipe.FORMATS[name.suffix.lower()])
    return recipe.write_new(name.with_name(f"{name.stem}-grid{name.suffix}"), data)


def _seeds(requests: Sequence[Request]) -> list[str]:
    seeds = list(dict.fromkeys(str(asked.seed) for asked in requests))
    return seeds if len(seeds) <= 8 else [*seeds[:8], f"... ({len(seeds)})"]
