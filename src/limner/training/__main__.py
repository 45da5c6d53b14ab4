"""Training from the shell until the command line has the verb: python -m limner.training PRESET --stage base --out runs/x."""

from pathlib import Path
from typing import Annotated

import typer

from limner.config import load_preset
from limner.errors import LimnerError
from limner.training import train


def main(
    preset: str,
    stage: Annotated[str, typer.Option()],
    out: Annotated[Path, typer.Option()],
    data: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 0,
    allow: Annotated[list[str] | None, typer.Option(help="a setting that may differ from when the run began")] = None,
    set: Annotated[list[str] | None, typer.Option(help="path.to.setting=value")] = None,
) -> None:
    """Train a stage of a preset."""
    try:
        path = train(
            load_preset(preset, set or ()),
            stage,
            out,
            data=data,
            max_minutes=max_minutes,
            device=device,
            threads=threads,
            workers=workers,
            changed=allow or (),
        )
    except LimnerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    typer.echo(str(path))


if __name__ == "__main__":
    typer.run(main)
