"""`limner serve keys`: who may use the server. A running server heeds a change with its next request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.flags import option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner.serving.keys import Key, KeyFile

app = typer.Typer(help="Make, list and revoke the API keys of the server.", no_args_is_help=True)
Data = Annotated[
    Path | None, option("--data", help="The server's data folder.", env="LIMNER_SERVE_DATA", show_default="the user's")
]


@app.command("add")
@verb
def add(
    terminal: Terminal,
    label: Annotated[str, typer.Argument(help="Who or what the key is for.", show_default=False)],
    *,
    requests: Annotated[int | None, option("--requests", help="At most so many requests a minute.")] = None,
    pictures: Annotated[int | None, option("--pictures", help="At most so many pictures a minute.")] = None,
    data: Data = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    with _file(data) as file:
        key, token = file.add(label, requests=requests, pictures=pictures)
    terminal.say(f"key {key.id} for {key.label}; it is shown this once and only its hash is kept")
    terminal.result(token, **_facts(key), key=token)


@app.command("list")
@verb
def list_keys(terminal: Terminal, *, data: Data = None) -> None:
    """Every key with its label, its times and its limits a minute; never the key itself."""
    with _file(data) as file:
        keys = file.all()
    wide = max((len(key.label) for key in keys), default=0)
    for key in keys:
        state = f"revoked {_day(key.revoked)}" if key.revoked else f"used {_day(key.used)}"
        limits = f"requests {key.requests or '-'}, pictures {key.pictures or '-'}"
        terminal.result(f"{key.id}  {key.label:<{wide}}  made {_day(key.created)}  {state:<24}  {limits}", **_facts(key))
    if not keys:
        terminal.say("no keys yet; `limner serve keys add LABEL` makes one")


@app.command("revoke")
@verb
def revoke(
    terminal: Terminal,
    id: Annotated[str, typer.Argument(help="The id of the key, as the list shows it.", show_default=False)],
    *,
    data: Data = None,
) -> None:
    """Make a key worthless at once, also for a server that runs. It cannot be undone."""
    with _file(data) as file:
        key = file.revoke(id)
    terminal.result(f"{key.id} for {key.label} is revoked", **_facts(key))


@contextmanager
def _file(data: Path | None) -> Iterator[KeyFile]:
    from limner.serving.keys import KeyFile
    from limner.serving.settings import data_folder

    with closing(KeyFile(data or data_folder())) as file:
        yield file


def _facts(key: Key) -> dict[str, Any]:
    return key._asdict()


def _day(when: float | None) -> str:
    return "never" if when is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
