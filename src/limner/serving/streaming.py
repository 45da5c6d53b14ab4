"""Server-sent events of the Images API, and what a request does while its job is drawn: wait, notice that the client left.

Comment lines are signs of life that every client skips; events of limner's own are sent only to those who asked for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from limner.serving.envelopes import ApiError
from limner.serving.orders import Event

MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx holds streams back unless told so

Result = TypeVar("Result")


class ClientGone(Exception):  # noqa: N818 (not an error of anybody's)
    """Nobody waits for the answer any more."""


def event(kind: str, data: dict[str, Any]) -> bytes:
    """An event as it goes over the wire."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def comment(text: str) -> bytes:
    """A line that clients skip."""
    return f": {' '.join(text.split())}\n\n".encode()


def failure(error: ApiError) -> bytes:
    """A failure in the middle of a stream."""
    return event("error", error.body)


async def with_heartbeats(events: AsyncIterator[Event], seconds: float) -> AsyncGenerator[Event | None]:
    """The same events, and None whenever nothing has happened for so many seconds."""
    coming: asyncio.Future[Event | None] = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=seconds)
            if not done:
                yield None
                continue
            found = coming.result()
            if found is None:
                return
            yield found
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await coming


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What some work gives, unless the client hangs up first; then the work is stopped. Its body must have been read.

    Raises: ClientGone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
