"""Flags that several verbs share, and `verb`, which gives a function those that every verb has."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.terminal import Terminal


class LogFormat(StrEnum):
    """How messages on stderr look."""

    text = "text"
    json = "json"


class Dtype(StrEnum):
    """What the trunk of a network computes in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def option(*names: str, help: str, env: str | None = None, **more: Any) -> Any:
    """A flag. Its environment variable is in docs/cli.md, not in every line of help."""
    return typer.Option(*names, help=help, envvar=env, show_envvar=False, **more)


Model = Annotated[str, option("--model", "-m", help="A model's name or checkpoint folder.", env="LIMNER_MODEL")]
Device = Annotated[str, option("--device", help="auto, cpu, cuda:0, mps, ...", env="LIMNER_DEVICE")]
Precision = Annotated[
    Dtype, option("--dtype", help="What the network computes in; auto: bfloat16 where it is fast.", env="LIMNER_DTYPE")
]
Settings = Annotated[
    list[str] | None, option("--set", help="Another value for a setting, as path.to.setting=value; repeatable.")
]
Out = Annotated[Path, option("--out", "-o", help="The folder to write.")]

_PANEL = "Output"
_COMMON: dict[str, tuple[Any, Any]] = {
    "json": (Annotated[bool, option("--json", help="Results as one JSON object a line.", rich_help_panel=_PANEL)], False),
    "quiet": (Annotated[bool, option("--quiet", "-q", help="No messages but warnings.", rich_help_panel=_PANEL)], False),
    "verbose": (Annotated[bool, option("--verbose", "-v", help="More messages.", rich_help_panel=_PANEL)], False),
    "no_progress": (
        Annotated[
            bool, option("--no-progress", help="No bar; there is none either when stderr is a file.", rich_help_panel=_PANEL)
        ],
        False,
    ),
    "log_format": (
        Annotated[
            LogFormat, option("--log-format", help="Messages as text or JSON.", env="LIMNER_LOG_FORMAT", rich_help_panel=_PANEL)
        ],
        LogFormat.text,
    ),
    "debug": (
        Annotated[bool, option("--debug", help="Show the traceback of a failure.", env="LIMNER_DEBUG", rich_help_panel=_PANEL)],
        False,
    ),
}


def common_names() -> tuple[str, ...]:
    """Names of the parameters that `verb` adds."""
    return tuple(_COMMON)


def verb(function: Callable[..., int | None]) -> Callable[..., None]:
    """The function as a command: with the common flags, given its Terminal first, its failures said and coded.

    A parameter that is a dataclass stands for its fields: a group of flags that several verbs share.
    """
    given_by_user = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    groups: dict[str, type[Any]] = {
        each.name: each.annotation
        for each in given_by_user
        if isinstance(each.annotation, type) and dataclasses.is_dataclass(each.annotation)
    }
    own = [flag for each in given_by_user for flag in (_flags(groups[each.name]) if each.name in groups else [each])]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]

    @functools.wraps(function)
    def command(
        *, json: bool, quiet: bool, verbose: bool, no_progress: bool, log_format: LogFormat, debug: bool, **given: Any
    ) -> None:
        terminal = Terminal(json, quiet, verbose, not no_progress, log_format is LogFormat.json, debug)
        for name, group in groups.items():
            given[name] = group(**{flag.name: given.pop(flag.name) for flag in dataclasses.fields(group)})
        try:
            with terminal.warnings_said():
                code = function(terminal, **given)
        except typer.Exit:
            raise
        except typer.TyperException:  # a flag that does not fit; said with the usage
            raise
        except BaseException as error:  # noqa: BLE001 (the one place where every failure becomes a line and a code)
            code = terminal.failed(error)
        if code:
            raise typer.Exit(code)

    parameters = [*own, *common]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _flags(group: type[Any]) -> list[inspect.Parameter]:
    """The fields of a group of flags as keyword parameters. Units: every field has a default."""
    return list(inspect.signature(group, eval_str=True).parameters.values())
