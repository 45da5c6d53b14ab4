"""`limner train` and `limner export`: from a preset to a run, and from runs to a checkpoint folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.flags import Device, Out, Settings, option, verb
from limner.cli.terminal import Terminal


class Stored(StrEnum):
    """How weights are stored."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


class Layout(StrEnum):
    """How the files are laid out that `export` writes."""

    limner = "limner"
    official = "official"
    diffusers = "diffusers"


@verb
def train(
    terminal: Terminal,
    preset: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.", show_default=False)],
    *,
    stage: Annotated[str, option("--stage", help="Which network of the preset.", show_default=False)],
    out: Annotated[Path, option("--out", "-o", help="The run's folder; a run that is there goes on.", show_default=False)],
    data: Annotated[
        str | None,
        option("--data", help="Another source than the preset's: shapes, emoji:FOLDER, redrawn:FOLDER, a folder, a manifest."),
    ] = None,
    max_minutes: Annotated[float | None, option("--max-minutes", help="Save and stop after this long.", min=0)] = None,
    device: Device = "auto",
    threads: Annotated[int | None, option("--threads", help="Processor threads; the default is all.", min=1, max=1024)] = None,
    workers: Annotated[int, option("--workers", help="Processes that prepare data; 0 is this one.", min=0)] = 0,
    settings: Settings = None,
    allow: Annotated[
        list[str] | None, option("--allow", help="A setting that may differ from when the run began; repeatable.")
    ] = None,
    resume: Annotated[bool, option("--resume/--new", help="Go on with a run in the folder, or refuse to.")] = True,
) -> None:
    """Train one stage of a preset. Ctrl-C saves; the same command goes on exactly there.

    limner train glide-shapes --stage base --out runs/shapes --max-minutes 60

    Several processes: torchrun --nproc-per-node 2 -m limner train ...
    """
    import limner
    from limner.training.log import Voice

    saved = limner.train(
        limner.load_preset(preset, settings or ()),
        stage,
        out,
        data=data,
        max_minutes=max_minutes,
        device=device,
        threads=threads,
        workers=workers,
        resume=resume,
        changed=allow or (),
        voice=Voice(terminal.say, terminal.bars),
    )
    terminal.result(str(saved), checkpoint=str(saved), run=str(out))


@verb
def export(
    terminal: Terminal,
    runs: Annotated[
        list[Path],
        typer.Argument(help="One finished run a stage; with --layout official, a model's name or folder.", show_default=False),
    ],
    *,
    out: Out,
    layout: Annotated[
        Layout, option("--layout", help="limner: a checkpoint folder; official, diffusers: as the originals were released.")
    ] = Layout.limner,
    rate: Annotated[
        float | None, option("--rate", help="Which average of the weights; the default is the recipe's last.")
    ] = None,
    dtype: Annotated[Stored, option("--dtype", help="How the weights are stored.")] = Stored.bfloat16,
    notes: Annotated[Path | None, option("--notes", help="A file of Markdown that goes into the card.")] = None,
    share: Annotated[
        str | None, option("--share", help="Store only changes to the weights of the model that the runs started from.")
    ] = None,
) -> None:
    """Write runs as a checkpoint folder that `limner draw --model` loads, with its card; or a model in a released layout.

    limner export runs/base runs/upsampler --out glide-mine

    limner export glide-mine --layout official --out files
    """
    import torch

    import limner
    from limner.errors import InputError

    text = ""
    if notes is not None:
        try:
            text = notes.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InputError(f"--notes {notes}: cannot be read as text ({why}); name a file of Markdown") from None
    saved = limner.export(runs, out, rate=rate, dtype=getattr(torch, dtype.value), notes=text, layout=layout.value, share=share)
    terminal.result(str(saved), checkpoint=str(saved))
