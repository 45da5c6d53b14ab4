"""`limner completion`: what makes the Tab key know the verbs and flags."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from limner.cli.flags import verb
from limner.cli.terminal import Terminal


class Shell(StrEnum):
    """Shells that can complete."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def prepare() -> None:
    """Make the answers to a shell's questions known; only needed when one asks."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # see below

    completion_init()


@verb
def completion(terminal: Terminal, shell: Annotated[Shell, typer.Argument(help="Whose script to print.")]) -> None:
    """Print the completion script of a shell.

    For bash: limner completion bash > ~/.local/share/bash-completion/completions/limner
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer does not mark what it re-exports

    script = get_completion_script(prog_name="limner", complete_var="_LIMNER_COMPLETE", shell=shell.value)
    terminal.result(script, shell=shell.value, script=script)
