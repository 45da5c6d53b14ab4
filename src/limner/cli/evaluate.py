"""`limner eval`: does a model follow its words, and how far are its pictures from real ones."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.draw import obstacle
from limner.cli.flags import Device, Dtype, Precision, Settings, option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner.config import Frozen

app = typer.Typer(help="Measure a model: does it follow its words, how far is it from real pictures.", no_args_is_help=True)

Model = Annotated[str, option("--model", "-m", help="A model's name or checkpoint folder.")]
Data = Annotated[str, typer.Argument(help="The training set: emoji:FOLDER, shapes, a folder, ...", show_default=False)]


class Against(StrEnum):
    """Which real pictures a distance is taken to."""

    held_out = "held_out"
    views = "views"


@dataclass(frozen=True)
class Asked:
    """What every measure takes."""

    seed: Annotated[int, option("--seed", "-s", help="Of the drawings; picture k has number k under it.")] = 0
    steps: Annotated[str | None, option("--steps", help="Of the first stage, instead of the model's own.")] = None
    guidance: Annotated[float | None, option("--guidance", "--cfg", help="Of the first stage, instead of the model's own.")] = (
        None
    )
    sampler: Annotated[str | None, option("--sampler", help="Of the first stage, instead of the model's own.")] = None
    batch: Annotated[int, option("--batch", help="Pictures drawn at a time.", min=1)] = 25
    stages: Annotated[int | None, option("--stages", help="Judge what comes out after so many stages.", min=1)] = None
    settings: Settings = None
    device: Device = "auto"
    dtype: Precision = Dtype.auto
    out: Annotated[Path | None, option("--out", "-o", help="Also write the whole result to this JSON file.")] = None


@app.command("shapes")
@verb
def shapes(
    terminal: Terminal,
    *,
    model: Model = "glide-shapes",
    n: Annotated[int, option("-n", help="How many unseen captions.", min=1)] = 500,
    asked: Asked,
) -> None:
    """Scene accuracy: captions of shapes never trained on are drawn, and each picture is read back exactly."""
    from limner.evaluation.measuring import evaluate

    with terminal.bar() as tell:
        found = evaluate("shapes", model, n=n, progress=tell, **_options(asked))
    lines = [f"scene accuracy {found.accuracy}"]
    lines += [f"  {count} shape{'s' if count > 1 else ''}: {share}" for count, share in found.by_shapes.items()]
    lines += [f"  wrong first: {name} {count}" for name, count in found.failures.items()]
    _say(terminal, "\n".join(lines), found, asked.out)


@app.command("edits")
@verb
def edits(
    terminal: Terminal,
    *,
    model: Model = "glide-shapes",
    n: Annotated[int, option("-n", help="How many unseen edits.", min=6)] = 300,
    asked: Asked,
) -> None:
    """Edits of shapes (add, recolour, remove), judged exactly: done as asked, all else unchanged; both methods, and the seam.

    The model's sibling trained to inpaint (MODEL-inpaint) stands beside the model with known pixels put back in every step.
    """
    from limner.evaluation.measuring import evaluate, painters

    for method, reason in painters(model)[1].items():
        terminal.say(f"{method}: {reason}")
    with terminal.bar() as tell:
        found = evaluate("edits", model, n=n, progress=tell, **_options(asked))
    lines = []
    for one in found.methods:
        lines += [f"{one.method} ({one.drawing.model}): right {one.right}"]
        lines += [f"  {name}: {share}" for name, share in one.by_verb.items()]
        lines += [f"  wrong first: {name} {count}" for name, count in one.failures.items()]
        lines += [f"  seam error {one.seam.error:.2f} of 255 on the ground, {one.cut_seam.error:.2f} through shapes"]
        lines += [
            f"  halves restored {one.restored}",
            f"  largest difference outside {one.outside}, {one.seconds:.2f} s an edit",
        ]
    _say(terminal, "\n".join(lines), found, asked.out)


@app.command("emoji")
@verb
def emoji(
    terminal: Terminal,
    data: Data,
    *,
    model: Model = "glide-emoji",
    n: Annotated[int, option("-n", help="How many pictures of each of the three lists.", min=1)] = 200,
    asked: Asked,
) -> None:
    """Concept accuracy: is what was asked for among the five nearest concepts, in seen and unseen styles and beside another."""
    from limner.evaluation.measuring import evaluate

    with terminal.bar() as tell:
        found = evaluate("emoji", model, data, n=n, progress=tell, **_options(asked))
    rows = (("seen", found.seen), ("unseen style", found.unseen_style), ("real, unseen style", found.real_unseen_style))
    lines = [f"{name}: top-1 {named.top_1}, top-5 {named.top_5}" for name, named in rows]
    for name, two in (("two things", found.two), ("real, two things", found.real_two)):
        lines.append(f"{name}: each top-5 {two.each.top_5}, both {two.both}")
    _say(terminal, "\n".join([*lines, f"among {found.concepts} concepts"]), found, asked.out)


@app.command("frechet")
@verb
def frechet(
    terminal: Terminal,
    data: Data,
    *,
    model: Model = "glide-emoji",
    n: Annotated[int, option("-n", help="How many pictures.", min=2)] = 500,
    against: Annotated[
        Against, option("--against", help="Real pictures: the held-out split, or training views.")
    ] = Against.held_out,
    asked: Asked,
) -> None:
    """The Frechet distance of drawings to real pictures, beside that of other real pictures: figures compare with it only."""
    from limner.evaluation.measuring import evaluate

    with terminal.bar() as tell:
        found = evaluate("frechet", model, data, n=n, against=against.value, progress=tell, **_options(asked))
    text = f"distance {found.distance:.3f} of {found.n} drawings to {found.n_real} real pictures ({found.against})"
    _say(terminal, f"{text}\nfloor {found.floor:.3f} of {found.n_floor} other real pictures", found, asked.out)


def _options(asked: Asked) -> dict[str, Any]:
    """What every measure takes, under the names that `evaluate` gives it.

    Raises: InputError when the result could not be written, so that nothing is measured for it in vain.
    """
    if asked.out is not None:
        _check_free(asked.out)
    given = {field.name: getattr(asked, field.name) for field in fields(asked) if field.name != "out"}
    return given | {"dtype": asked.dtype.value, "settings": asked.settings or ()}


def _check_free(out: Path) -> None:
    """Refuse a place where a result cannot be written, or where something would be overwritten."""
    from limner.errors import InputError

    if out.suffix.lower() != ".json":
        raise InputError(f"--out {out}: the result is a JSON file; name one that ends in .json")
    if out.exists():
        raise InputError(f"--out {out}: exists already; remove it or choose another name")
    why = obstacle(out.parent)
    if why:
        raise InputError(f"--out {out}: cannot be written, {why}")


def _say(terminal: Terminal, text: str, found: Frozen, out: Path | None) -> None:
    from limner.config import dump
    from limner.errors import LimnerError

    terminal.result(text, **found.model_dump(mode="json"))
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(dump(found), encoding="utf-8")
        except OSError as error:
            raise LimnerError(f"{out}: cannot be written ({error.strerror or error})") from None
