"""`limner serve`: the OpenAI Images API on this machine; its keys are `serve_keys.py`."""

from __future__ import annotations

import importlib.util
import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli import serve_keys
from limner.cli.draw import MODEL
from limner.cli.flags import Device, Dtype, Precision, option, verb
from limner.cli.terminal import Terminal
from limner.errors import ConfigError, LimnerError

if TYPE_CHECKING:
    from limner.serving.settings import ServeSettings

app = typer.Typer(invoke_without_command=True)
app.add_typer(serve_keys.app, name="keys")
NEEDS = ("fastapi", "uvicorn", "python_multipart", "sqlmodel", "prometheus_client")
_GRACE = 10  # seconds for answers that are on their way when the server is told to stop


@dataclass(frozen=True)
class Place:
    """Where the server is reached and what it keeps."""

    host: Annotated[str, option("--host", help="Who may reach it: 127.0.0.1 is this machine, 0.0.0.0 everybody.")] = "127.0.0.1"
    port: Annotated[int, option("--port", "-p", help="0 takes a free one.", min=0, max=65535)] = 8000
    public_url: Annotated[
        str | None, option("--public-url", help="How clients reach it, for the links of pictures: https://draw.example.org.")
    ] = None
    data: Annotated[Path | None, option("--data", help="The folder of jobs, pictures and keys.", show_default=False)] = None
    allowed_hosts: Annotated[
        list[str] | None, option("--allowed-host", help="A further name it answers to; * is any. Repeatable.")
    ] = None
    cors_origins: Annotated[
        list[str] | None, option("--cors", help="Another site whose pages may call it: https://example.org. Repeatable.")
    ] = None


@dataclass(frozen=True)
class Work:
    """What it draws with, and how much."""

    model: Annotated[str, option("--model", "-m", help="Draws what is asked of OpenAI's names.", env="LIMNER_MODEL")] = MODEL
    aliases: Annotated[
        list[str] | None, option("--alias", help="Another model for one of the names: dall-e-3=glide. Repeatable.")
    ] = None
    models: Annotated[
        list[Path] | None, option("--models", help="A checkpoint folder to serve beside the known ones. Repeatable.")
    ] = None
    device: Device = "auto"
    dtype: Precision = Dtype.auto
    memory_mb: Annotated[int, option("--memory-mb", help="Of loaded models; the least recently used goes.", min=1)] = 4096
    replicas: Annotated[
        int | None, option("--replicas", help="Processes that draw, on Ray Serve (extra ray); else this one does.", min=1)
    ] = None
    bound: Annotated[int, option("--queue", help="Jobs that may wait; more are answered 429.", min=1)] = 200
    batch: Annotated[int, option("--batch", help="Pictures drawn together.", min=1)] = 8


@dataclass(frozen=True)
class Access:
    """Who may ask for how much."""

    keys_required: Annotated[
        bool, option("--keys-required", help="Only with a key of `limner serve keys add`; else any key is good.")
    ] = False
    requests_a_minute: Annotated[int | None, option("--requests-a-minute", help="Of each key.", min=1)] = None
    pictures_a_minute: Annotated[int | None, option("--pictures-a-minute", help="Of each key.", min=1)] = None
    upload_mb: Annotated[int, option("--upload-mb", help="Of an uploaded picture.", min=1)] = 50
    policy: Annotated[Path | None, option("--policy", help="A file of what is not drawn; else limner's own rules.")] = None
    classifier: Annotated[
        str | None, option("--classifier", help="Looks at every picture: opennsfw, or module:function of your own.")
    ] = None


@app.callback()
@verb
def serve(
    terminal: Terminal,
    context: typer.Context,
    *,
    place: Place,
    work: Work,
    access: Access,
    dry_run: Annotated[bool, option("--dry-run", help="Say what would be served, and stop.")] = False,
) -> None:
    """Serve the OpenAI Images API: existing programs work when their base URL is changed.

    limner serve --port 8000
    """
    if context.invoked_subcommand is not None:
        return
    check_installed()
    settings = settings_of(place, work, access)
    if dry_run:
        _say(terminal, settings)
        return
    run(terminal, settings)


def check_installed() -> None:
    """Raises: ConfigError saying how to install what is missing."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"serve: {', '.join(missing)} is not installed; run: pip install 'limner[serve]'")


def settings_of(place: Place, work: Work, access: Access) -> ServeSettings:
    """The flags as the server's settings.

    Raises: ConfigError for what does not fit.
    """
    from limner.config import parse
    from limner.serving.settings import ServeSettings, data_folder

    tree = {**vars(place), **vars(work), **vars(access)}
    lists = {name: tuple(tree[name] or ()) for name in ("allowed_hosts", "cors_origins", "models")}
    chosen = {"data": place.data or data_folder(), "aliases": dict(map(_alias, work.aliases or ())), "dtype": work.dtype.value}
    return parse(ServeSettings, tree | lists | chosen, where="serve")


def run(terminal: Terminal, settings: ServeSettings) -> None:
    """Serve until interrupted.

    Raises: LimnerError when the address cannot be had or the data folder not be used.
    """
    with listening(settings.host, settings.port) as heard:
        _log(terminal)
        import uvicorn

        from limner.serving.app import create_app

        made = create_app(settings)
        made.state.serving.store.claim()  # now, where a folder that is taken is one clear line
        host, port = heard.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        terminal.result(f"{url}/v1", url=url, base_url=f"{url}/v1")
        terminal.say("programs use this address as their base URL, and any API key; stop with Ctrl-C")
        config = uvicorn.Config(made, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE)
        uvicorn.Server(config).run(sockets=[heard])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that clients may come before the server is ready.

    Raises: LimnerError when the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (")[0]
        raise LimnerError(f"{host}:{port}: cannot be listened on ({reason}); choose another --host or --port") from None


def _say(terminal: Terminal, settings: ServeSettings) -> None:
    """What would be served."""
    from limner.serving import app as serving
    from limner.serving.aliases import ALIASES, drawn_by
    from limner.serving.shelf import Shelf

    shelf = Shelf(models=settings.models, memory_mb=settings.memory_mb)
    serving.check_models(settings, shelf.names())
    lines = [f"http://{settings.host}:{settings.port}/v1, data in {settings.data}"]
    for name in shelf.names():
        facts = shelf.facts(name)
        lines.append(f"{name}: {facts.side}x{facts.side}, {', '.join(facts.verbs) or 'no verb'}, {facts.bytes >> 20} MB")
    names = {alias: drawn_by(alias, settings) for alias in ALIASES}
    lines += [f"{alias}: {model}" for alias, model in names.items()]
    told = settings.model_dump(mode="json")
    terminal.result("\n".join(lines), settings=told, models=shelf.names(), aliases=names)


def _alias(text: str) -> tuple[str, str]:
    name, given, model = text.partition("=")
    if not (name and given and model):
        raise ConfigError(f"alias: '{text[:80]}' is none; write NAME=MODEL, as dall-e-3=glide")
    return name, model


class _Lines(logging.Formatter):
    """Records for people: time, what happened, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an accident."""
        facts = " ".join(f"{name}={_in_line(str(value))}" for name, value in getattr(record, "facts", {}).items())
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.getMessage()} {facts}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _in_line(text: str) -> str:
    """A fact that stays within its line, whatever a client put into it."""
    return text if text.isprintable() else ascii(text)


def _log(terminal: Terminal) -> None:
    """What the server says while it runs, on stderr: lines, or JSON with --log-format json; only trouble with --quiet."""
    level = "warning" if terminal.quiet else "debug" if terminal.verbose else "info"
    if terminal.log_json:
        from limner.serving.metrics import log_as_json

        log_as_json(level)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    for name in ("limner", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name == "limner" else "WARNING")
