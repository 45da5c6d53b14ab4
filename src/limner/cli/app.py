"""The verbs gathered, the settings files read, and the way out with an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from limner import __version__
from limner.cli import (
    bench,
    codes,
    completion,
    convert,
    data,
    doctor,
    draw,
    edit,
    evaluate,
    models,
    repeat,
    scene,
    score,
    serve,
    settings_files,
    studio,
    train,
)
from limner.cli.flags import option
from limner.cli.terminal import Terminal
from limner.errors import LimnerError

USAGE = 2

app = typer.Typer(
    name="limner",
    help="Pictures from words: draw, train, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LIMNER"},
)


def _version(asked: bool) -> None:
    if asked:
        Terminal().result(f"limner {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[bool, option("--version", help="Print the version and stop.", is_eager=True, callback=_version)] = False,
) -> None:
    context.default_map = settings_files.defaults(context.command)


app.command("draw")(draw.draw)
app.command("generate", hidden=True, help="The same as draw.")(draw.draw)
app.command("edit")(edit.edit)
app.command("sketch")(edit.sketch)
app.command("outpaint")(edit.outpaint)
app.command("upscale")(edit.upscale)
app.command("scene")(scene.scene)
app.command("train")(train.train)
app.command("export")(train.export)
app.command("convert")(convert.convert)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="eval")
app.command("bench")(bench.bench)
app.command("reproduce")(repeat.reproduce)
app.command("reconstruct")(codes.reconstruct)
app.command("score")(score.score)
app.add_typer(serve.app, name="serve")
app.command("studio")(studio.studio)
app.command("doctor")(doctor.doctor)
app.command("completion")(completion.completion)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: Sequence[str]) -> int:
    """Run the command line; its exit code."""
    terminal = Terminal(debug="--debug" in args)
    if "_LIMNER_COMPLETE" in os.environ:  # the shell asks what could come next
        completion.prepare()
    try:
        code: Any = app(list(args), prog_name="limner", standalone_mode=False)
    except typer.TyperException as error:  # a flag or verb that does not fit
        message = error.format_message()
        if message:
            terminal.error(" ".join(message.split()), f"see `{_path(error)} --help`")
        return getattr(error, "exit_code", USAGE)
    except typer.Abort:
        return terminal.failed(KeyboardInterrupt())
    except (LimnerError, OSError, KeyboardInterrupt) as error:  # before a verb began, or while --help was written
        return terminal.failed(error)
    return code if isinstance(code, int) else 0


def _path(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "limner"
