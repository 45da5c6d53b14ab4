"""docs/cli.md from the command line itself: python -m limner.cli.reference > docs/cli.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer

from limner.cli.app import app
from limner.cli.flags import common_names

HEAD = """# The command line

Written by `make docs` from the command line itself; do not edit it here.

Results go to stdout, messages and the progress bar to stderr. Every verb also takes:

{common}

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed while running; `reproduce`: a picture differs; `doctor`: something is in the way |
| 2 | a flag, prompt, size or setting that does not fit |
| 3 | a model or its weights are missing or damaged |
| 4 | data that cannot be read or built |
| 5 | too little memory |
| 130 | interrupted; training has saved a checkpoint |

A failure is two lines on stderr: what is wrong, and how to go on. `--debug` adds the traceback.

## Settings

A flag goes before its environment variable, that before `limner.toml` in the working folder, that before the user's own
file (`limner doctor` says where; `LIMNER_CONFIG` names another). `--some-flag` of `limner verb` is `LIMNER_VERB_SOME_FLAG`
in the environment and `some_flag` under `[verb]` in a file, written as in this example:

```toml
[draw]
model = "glide-shapes"
steps = "10"
```

Shorter names serve every verb: `LIMNER_MODEL`, `LIMNER_DEVICE`, `LIMNER_DTYPE`, `LIMNER_LOG_FORMAT`, `LIMNER_DEBUG`.
`LIMNER_MODELS` is the folder in which models are looked for by name, `LIMNER_CACHE` the one for downloads; `LIMNER_MIRROR`
is put before host and path of what is fetched, and `LIMNER_OFFLINE=1` forbids fetching. `NO_COLOR` is respected.
"""


def markdown() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    verbs = list(_verbs(root, "limner"))
    common = [_flag(flag) for flag in verbs[0][1].params if flag.name in common_names()]
    parts = [HEAD.format(common=_table(common))]
    parts += [_verb(path, command) for path, command in verbs]
    return "\n".join(parts).rstrip() + "\n"


def _verbs(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    if command.invoke_without_command:  # a verb that has verbs of its own
        yield path, command
    for name, each in inner.items():
        if not each.hidden:
            yield from _verbs(each, f"{path} {name}")


def _verb(path: str, command: Any) -> str:
    own = [flag for flag in command.params if flag.name not in {*common_names(), "help"}]
    arguments = [flag for flag in own if flag.param_type_name == "argument"]
    flags = [flag for flag in own if flag.param_type_name == "option"]
    usage = " ".join([path, *(_argument(each) for each in arguments), "[FLAGS]"])
    lines = [f"## {path}", "", f"`{usage}`", "", command.help.strip(), ""]
    if arguments:
        lines += [*(f"- `{_argument(each)}`: {each.help}" for each in arguments), ""]
    if flags:
        lines += [_table([_flag(flag) for flag in flags]), ""]
    return "\n".join(lines)


def _table(rows: list[tuple[str, str, str]]) -> str:
    return "\n".join(["| flag | default | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def _flag(flag: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*flag.opts, *flag.secondary_opts))
    default = flag.default.value if isinstance(flag.default, Enum) else flag.default
    told = "required" if flag.required else "" if default in (None, False, "", ()) else f"`{default}`"
    return names, told, (flag.help or "").replace("|", "\\|")


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name or "").upper()
    dots = "..." if argument.nargs == -1 else ""
    return f"{name}{dots}" if argument.required else f"[{name}{dots}]"


if __name__ == "__main__":
    sys.stdout.write(markdown())
