"""`limner studio`: the server with a page for people, opened in the browser."""

from __future__ import annotations

import contextlib
import importlib.util
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from limner.cli.flags import Device, Dtype, Precision, option, verb
from limner.cli.serve import listening
from limner.cli.terminal import Terminal
from limner.errors import ConfigError

if TYPE_CHECKING:
    from limner.serving.settings import ServeSettings

NEEDS = ("gradio", "fastapi", "uvicorn", "sqlmodel")
PATIENCE = 3  # seconds for open pages when the studio is told to stop


@verb
def studio(
    terminal: Terminal,
    *,
    host: Annotated[
        str, option("--host", help="Who may reach it: 127.0.0.1 is this machine, 0.0.0.0 the network.")
    ] = "127.0.0.1",
    port: Annotated[int, option("--port", help="Where it listens; 0 is any free port.", min=0, max=65535)] = 8000,
    data: Annotated[Path | None, option("--data", help="Folder of the history; default: the user's data folder.")] = None,
    models: Annotated[list[Path] | None, option("--models", help="A checkpoint folder to offer too; repeatable.")] = None,
    memory_mb: Annotated[int, option("--memory-mb", help="Memory for loaded models.", min=1)] = 4096,
    keys_required: Annotated[
        bool, option("--keys-required", help="Ask for a key, as a password; see `limner serve keys`.")
    ] = False,
    browser: Annotated[bool, option("--browser/--no-browser", help="Whether to open the page.")] = True,
    device: Device = "auto",
    dtype: Precision = Dtype.auto,
) -> None:
    """Draw, edit and compare in the browser, on this machine alone.

    limner studio --port 8080
    """
    check_installed()
    from limner.serving.settings import ServeSettings

    folder = {} if data is None else {"data": data}
    settings = ServeSettings(
        host=host,
        port=port,
        models=tuple(models or ()),
        memory_mb=memory_mb,
        keys_required=keys_required,
        device=device,
        dtype=dtype.value,
        **folder,
    )
    serve(terminal, settings, browser=browser)


def check_installed() -> None:
    """Raises: ConfigError saying how to install what is missing."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"studio: {', '.join(missing)} is not installed; run: pip install 'limner[studio]'")


def serve(terminal: Terminal, settings: ServeSettings, *, browser: bool) -> None:
    """Serve the API and the page until somebody stops it.

    Raises: LimnerError when the port is taken; CheckpointError for a model that is not there.
    """
    with listening(settings.host, settings.port) as heard:
        import uvicorn

        from limner.serving.app import create_app
        from limner.studio import page
        from limner.studio.desk import PATH, Desk

        app = create_app(settings)
        parts = app.state.serving
        parts.store.claim()  # now, where a folder that is taken is one clear line
        page.mount(app, Desk(parts.queue, parts.store, parts.shelf))
        url = f"http://{named(settings.host)}:{heard.getsockname()[1]}{PATH}/"
        terminal.result(url, url=url)
        terminal.say("the studio is open until you press Ctrl-C")
        if browser:
            webbrowser.open(url)  # the port listens already; the page comes as soon as the server runs
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE, lifespan="on")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[heard])


def named(host: str) -> str:
    """The host as a browser on this machine reaches it."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
