"""`limner edit | sketch | outpaint | upscale`: pictures from pictures and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.draw import MODEL, OUT, facts, pattern, seed_of
from limner.cli.flags import Device, Dtype, Model, Precision, option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner import Image, Pipe, Progress
    from limner.systems.drawing import Wishes

Picture = Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture to start from.", show_default=False)]
Words = Annotated[str, typer.Argument(metavar="PROMPT", help="What should be there.", show_default=False)]
Soft = Annotated[float, option("--soft", help="Fade the new into the old over so many pixels inside the mask.", min=0)]
Rounds = Annotated[
    int | None, option("--rounds", help="How often a step is taken by models not trained to inpaint.", min=1, max=50)
]
Margin = Annotated[int, option(help="Pixels to add on this side.", min=0)]


class Method(StrEnum):
    """Which model repaints a region."""

    auto = "auto"
    trained = "trained"
    replacement = "replacement"


How = Annotated[
    Method,
    option(
        "--method", help="auto: the sibling MODEL-inpaint where there is one; trained: only that; replacement: MODEL itself."
    ),
]


@dataclass(frozen=True)
class Files:
    """What is drawn with, how often, and where the pictures go."""

    model: Model = MODEL
    n: Annotated[int, option("-n", help="How many pictures.", min=1)] = 1
    seed: Annotated[str, option("--seed", "-s", help="An integer, or random.")] = "random"
    out: Annotated[str, option("--out", "-o", help="Folder, or pattern with {seed} {slug} {i} {model} {date}.")] = OUT
    metadata: Annotated[bool, option("--metadata/--no-metadata", help="Whether files carry their recipe and prompt.")] = True
    device: Device = "auto"
    dtype: Precision = Dtype.auto

    @property
    def wishes(self) -> Wishes:
        """What is asked of the model."""
        return {"n": self.n, "seed": seed_of(self.seed)}


@dataclass(frozen=True)
class Asked(Files):
    """The same, with the first stage steered."""

    steps: Annotated[str | None, option("--steps", help="Steps of the first stage.")] = None
    guidance: Annotated[float | None, option("--guidance", "--cfg", help="How hard the words pull; 1 is not at all.")] = None

    @property
    def wishes(self) -> Wishes:
        """What is asked of the model."""
        return {**super().wishes, "steps": self.steps, "guidance": self.guidance}


@verb
def edit(
    terminal: Terminal,
    picture: Picture,
    prompt: Words,
    *,
    mask: Annotated[
        str, option("--mask", help="What to repaint: a picture (transparent, else white), or boxes x,y,w,h;x,y,w,h in pixels.")
    ],
    strength: Annotated[float, option("--strength", help="Below 1 starts from what is there.")] = 1.0,
    soft: Soft = 0,
    rounds: Rounds = None,
    method: How = Method.auto,
    asked: Asked,
) -> None:
    """Repaint part of a picture as the words say; every other pixel stays exactly as it is.

    limner edit fox.png "a red hat" --mask 60,0,120,80
    """
    from limner.systems import edits

    pipe = _loaded(asked, method)
    stream = edits.edit(pipe, picture, prompt, mask, soft=soft, strength=strength, rounds=rounds, **asked.wishes)
    _write(terminal, pipe, stream, asked)


@verb
def sketch(
    terminal: Terminal,
    picture: Picture,
    prompt: Words,
    *,
    strength: Annotated[float, option("--strength", help="How far to leave the sketch: near 0 keeps it, 1 forgets it.")] = 0.6,
    asked: Asked,
) -> None:
    """Turn a rough picture into what the words say, keeping its layout.

    limner sketch blobs.png "a red fox" --strength 0.6
    """
    from limner.systems import edits

    pipe = _loaded(asked)
    _write(terminal, pipe, edits.sketch(pipe, picture, prompt, strength=strength, **asked.wishes), asked)


@verb
def outpaint(
    terminal: Terminal,
    picture: Picture,
    prompt: Words,
    *,
    left: Margin = 0,
    top: Margin = 0,
    right: Margin = 0,
    bottom: Margin = 0,
    soft: Soft = 0,
    rounds: Rounds = None,
    method: How = Method.auto,
    asked: Asked,
) -> None:
    """Go on with a picture beyond its border.

    limner outpaint fox.png "a red fox in a wood" --left 64 --right 64
    """
    from limner.systems import edits

    pipe = _loaded(asked, method)
    margins = (left, top, right, bottom)
    _write(terminal, pipe, edits.outpaint(pipe, picture, prompt, margins, soft=soft, rounds=rounds, **asked.wishes), asked)


@verb
def upscale(
    terminal: Terminal,
    picture: Picture,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture shows.", show_default=False)] = "",
    *,
    asked: Files,
) -> None:
    """Enlarge a small picture by the model's last stage alone.

    limner upscale small.png
    """
    from limner.systems import edits

    pipe = _loaded(asked)
    _write(terminal, pipe, edits.upscale(pipe, picture, prompt, **asked.wishes), asked)


def _loaded(asked: Files, method: Method | None = None) -> Pipe:
    """The model; with a method, the one of its siblings that repaints a region.

    Raises: as `draw.pattern`, when the pictures could not be written.
    """
    from limner.systems import choosing
    from limner.systems.drawing import load_pipe

    pattern(asked.out, asked.model)  # refused now, not when the picture is drawn
    model = asked.model if method is None else choosing.painter(asked.model, method.value)
    return load_pipe(model, device=asked.device, dtype=asked.dtype.value)


def _write(terminal: Terminal, pipe: Pipe, stream: Iterator[Progress | Image], asked: Files) -> None:
    """Save every picture as it comes and print its path."""
    from limner.recipe import Image

    said = False
    with terminal.bar() as tell:
        for item in stream:
            if not isinstance(item, Image):
                tell(item.stage, item.step, item.of)
                continue
            if not said:
                terminal.say(f"{pipe.name} on {pipe.system.device}, seed {item.recipe.seed}")
                for line in item.recipe.extra.get("lost", ()):
                    terminal.say(f"the picture: {line}")
                said = True
            path = item.save(asked.out, metadata=asked.metadata)
            terminal.result(str(path), path=str(path), verb=item.recipe.verb, parents=item.recipe.parents, **facts(item))
