"""A server of the tiny cascade on a free port of this machine, as programs meet it: over HTTP."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import PIL.Image
import pytest
import torch
import uvicorn
from fastapi import FastAPI

from limner.serving.app import create_app
from limner.serving.server import Serving
from limner.serving.settings import ServeSettings

SIDE = 16  # of the tiny cascade's pictures


@dataclass(frozen=True)
class Server:
    """A running server and its inside."""

    url: str
    app: FastAPI

    @property
    def serving(self) -> Serving:
        found: Serving = self.app.state.serving
        return found

    def states(self) -> list[str]:
        """Of all jobs, the newest first."""
        return [status.state for status in self.serving.queue.list()]

    def client(self, **more: object) -> openai.OpenAI:
        """The official client, unmodified."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", **more)  # type: ignore[arg-type]


@contextmanager
def running(settings: ServeSettings) -> Iterator[Server]:
    """A server in a thread of its own, until the block ends."""
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{listening.getsockname()[1]}", app)
        finally:
            server.should_exit = True
            thread.join(30)


def settings_for(tiny: Path, data: Path, **more: object) -> ServeSettings:
    """A server that draws with the tiny cascade whatever is asked of OpenAI's names."""
    return ServeSettings.model_validate({"data": data, "models": (tiny,), "model": "tiny", **more})


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Drawing with more threads than there are free cores is a hundred times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(settings_for(tiny, tmp_path_factory.mktemp("served"))) as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


def png(width: int = SIDE, height: int = SIDE, *, hole: tuple[int, int, int, int] | None = None, mode: str = "RGB") -> bytes:
    """A picture of noise as a file; `hole` is transparent."""
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)
    if hole is not None:
        picture.putalpha(255)
        picture.paste((0, 0, 0, 0), hole)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    """A picture, its pixels read."""
    picture = PIL.Image.open(io.BytesIO(data))
    picture.load()
    return picture
