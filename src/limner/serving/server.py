"""What the routes of one server share, and how they come by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from limner.serving import keys
from limner.serving.keys import KeyFile
from limner.serving.links import Links
from limner.serving.queue import Queue
from limner.serving.settings import ServeSettings
from limner.serving.shelf import Shelf
from limner.serving.store import Store


@dataclass(frozen=True)
class Serving:
    """The parts of a running server; `app.state.serving`."""

    settings: ServeSettings
    store: Store
    shelf: Shelf
    queue: Queue
    links: Links
    keys: KeyFile


def serving_of(request: Request) -> Serving:
    """The server a request came to."""
    found: Serving = request.app.state.serving
    return found


def client_of(request: Request) -> str:
    """Who sent a request."""
    return keys.client_of(request)


Parts = Annotated[Serving, Depends(serving_of)]
Client = Annotated[str, Depends(client_of)]
