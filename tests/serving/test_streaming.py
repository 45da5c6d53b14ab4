"""Streams: signs of life while nothing happens, and work that stops when nobody waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from limner.serving import envelopes, streaming
from limner.serving.orders import Event
from limner.serving.streaming import ClientGone

FIRST, LAST = Event(1, "queued", {}), Event(2, "done", {})


def request(*messages: dict[str, Any]) -> Request:
    """A request whose client sends these messages and then nothing more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    return Request({"type": "http", "method": "POST", "headers": []}, receive)  # type: ignore[arg-type]


def test_an_event_and_a_failure_look_as_clients_read_them() -> None:
    kind, data, *_ = streaming.event("a.b", {"text": "two\nlines"}).decode().split("\n")
    assert (kind, json.loads(data.removeprefix("data: "))) == ("event: a.b", {"text": "two\nlines"})
    assert streaming.failure(envelopes.invalid("no")).startswith(b'event: error\ndata: {"error":')
    assert streaming.comment("still\nhere") == b": still here\n\n"


def test_silence_is_filled_with_signs_of_life_and_no_event_is_lost() -> None:
    async def slow() -> AsyncIterator[Event]:
        yield FIRST
        await asyncio.sleep(0.1)
        yield LAST

    async def told() -> list[Event | None]:
        return [each async for each in streaming.with_heartbeats(slow(), 0.01)]

    found = asyncio.run(told())
    assert [each for each in found if each] == [FIRST, LAST]
    assert None in found


def test_whoever_stops_listening_ends_the_events_too() -> None:
    ended = []

    async def endless() -> AsyncIterator[Event]:
        try:
            yield FIRST
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def listened() -> None:
        events = endless()
        beats = streaming.with_heartbeats(events, 0.01)
        assert await anext(beats) == FIRST
        await beats.aclose()

    asyncio.run(listened())
    assert ended == [True]


def test_work_ends_with_its_result_while_the_client_waits() -> None:
    async def work() -> str:
        return "done"

    assert asyncio.run(streaming.unless_gone(request(), work())) == "done"


def test_a_failure_of_the_work_is_passed_on() -> None:
    async def work() -> str:
        raise ValueError("it broke")

    async def tried() -> None:
        with pytest.raises(ValueError, match="it broke"):
            await streaming.unless_gone(request(), work())

    asyncio.run(tried())


def test_work_is_stopped_when_the_client_hangs_up() -> None:
    stopped = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    async def tried() -> None:
        with pytest.raises(ClientGone):
            await streaming.unless_gone(request({"type": "http.disconnect"}), work())

    asyncio.run(tried())
    assert stopped == [True]
