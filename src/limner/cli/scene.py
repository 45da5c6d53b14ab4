"""`limner scene`: a picture built in steps from a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.draw import MODEL, facts
from limner.cli.flags import Device, Dtype, Model, Out, Precision, option, verb
from limner.cli.terminal import Terminal


@verb
def scene(
    terminal: Terminal,
    script: Annotated[
        Path, typer.Argument(metavar="SCRIPT", help="The steps, as TOML or JSON; see docs/editing.md.", show_default=False)
    ],
    *,
    out: Out,
    model: Model = MODEL,
    redo: Annotated[
        int | None, option("--redo", help="Draw this step and all after it anew; unsaid seeds become others.", min=1)
    ] = None,
    device: Device = "auto",
    dtype: Precision = Dtype.auto,
) -> None:
    """Build a picture in steps: the first draws or opens one, each later one repaints a region. Every step's picture is kept.

    Steps whose picture is in the folder already are not drawn again, unless the script has changed.

    limner scene room.toml -o room
    """
    from limner.systems import scenes
    from limner.systems.drawing import Pipe, load_pipe

    def load(place: Path) -> Pipe:
        return load_pipe(place, device=device, dtype=dtype.value)

    read = scenes.read(script)
    of = len(read.script.steps)
    with terminal.bar() as tell:
        for item in scenes.play(read, out, load, model=model, redo=redo):
            if not isinstance(item, scenes.Shot):
                tell(item.stage, item.step, item.of)
                continue
            about = {} if item.image is None else facts(item.image)
            done = "drawn" if item.fresh else "opened" if item.image is None else "kept"
            terminal.say(f"step {item.number} of {of}: {done}")
            terminal.result(str(item.path), path=str(item.path), step=item.number, fresh=item.fresh, **about)
