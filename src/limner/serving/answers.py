"""From a job to an answer of the Images API: one JSON body, or a stream of events.

A job nobody waits for any more is cancelled. What a request means is `requests.py`, what a failure looks like `envelopes.py`.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from limner.errors import LimnerError
from limner.serving import envelopes, pictures, streaming
from limner.serving.aliases import Route, Rules
from limner.serving.envelopes import ApiError
from limner.serving.metrics import LOGGER
from limner.serving.orders import Event
from limner.serving.requests import Wanted
from limner.serving.safety import REFUSED
from limner.serving.server import Serving
from limner.serving.streaming import ClientGone

CLIENT_CLOSED = 499  # nobody reads it; for the log
_STREAM_NAMES: dict[Route, str] = {"generations": "image_generation", "edits": "image_edit"}


@dataclass(frozen=True)
class Task:
    """An accepted job and how its answer shall look."""

    serving: Serving
    wanted: Wanted
    route: Route
    job: str
    base: str  # address of the server, for links
    source: tuple[int, int] | None = None  # size of the picture that is edited
    passed_over: tuple[str, ...] = ()

    async def cancel(self) -> None:
        """Stop the job, if it is not finished; also while what asks for this is being stopped itself."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self.serving.queue.cancel, self.job)


class _Streamed(StreamingResponse):
    """A stream of what happens to a job. When it ends, for whatever reason, nobody waits for the job any more."""

    def __init__(self, task: Task) -> None:
        super().__init__(_stream(task), media_type=streaming.MEDIA_TYPE, headers=streaming.HEADERS)
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._task.cancel()


async def answer(request: Request, task: Task) -> Response:
    """The pictures of a job when all are there; or at once a stream of what happens to it.

    Raises: ApiError when the job fails, or would take longer than the client waits.
    """
    if task.wanted.stream:
        return _Streamed(task)
    try:
        await _check_wait(request, task)
        return JSONResponse(await streaming.unless_gone(request, _collected(task)))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    finally:
        await task.cancel()


async def _check_wait(request: Request, task: Task) -> None:
    """Say at once that it would take longer than a client waits: it would send the same again, twice.

    Raises: ApiError 503.
    """
    status = await to_thread.run_sync(task.serving.queue.status, task.job)
    patience = request.headers.get("x-stainless-read-timeout", "")
    longest = task.serving.settings.longest_s
    if patience.replace(".", "", 1).isdecimal():
        longest = min(longest, 0.9 * float(patience))
    if status is not None and status.eta_s is not None and status.eta_s > longest:
        message = f"This would take about {status.eta_s:.0f} s, longer than clients wait; ask for a stream, or later."
        raise envelopes.busy(message, status.eta_s - longest, status=503)


async def _collected(task: Task) -> dict[str, Any]:
    """The body of an answer, when all pictures are there."""
    made: list[dict[str, Any]] = []
    async with contextlib.aclosing(task.serving.queue.events(task.job)) as events:
        async for event in events:
            if event.kind == "picture":
                made.append(event.data)
            elif event.last:
                _check_end(event, task.wanted.chosen.rules)
                return await to_thread.run_sync(_body, task, sorted(made, key=lambda each: int(each["index"])))
    raise _stopping()


def refused(message: str, rules: Rules) -> ApiError:
    """What the policy does not let pass, with the code that OpenAI has for such a model name."""
    return envelopes.refused(message, code="moderation_blocked" if rules.usage else "content_policy_violation")


async def _stream(task: Task) -> AsyncIterator[bytes]:
    """The events of an answer; a failure is one of them."""
    name = _STREAM_NAMES[task.route]
    try:
        async with contextlib.aclosing(task.serving.queue.events(task.job)) as events:
            beats = streaming.with_heartbeats(events, task.serving.settings.heartbeat_s)
            async with contextlib.aclosing(beats):
                async for event in beats:
                    if event is not None and event.last:
                        _check_end(event, task.wanted.chosen.rules)
                        return
                    yield await _line(task, name, event)
        raise _stopping()
    except ApiError as error:
        yield streaming.failure(error)
    except LimnerError as error:
        yield streaming.failure(envelopes.of_limner(error))
    except Exception:  # noqa: BLE001 (the answer has begun; an event is the only way left to tell)
        LOGGER.exception("accident", extra={"facts": {"job": task.job}})
        yield streaming.failure(envelopes.failed("Something went wrong here; the server's log has it under the job."))


async def _line(task: Task, name: str, event: Event | None) -> bytes:
    """What is sent of an event; comments, where it is nothing of OpenAI's."""
    if event is None:
        return streaming.comment("still drawing")
    match event.kind:
        case "picture":
            data = await to_thread.run_sync(_completed, task, name, event.data)
            return streaming.event(data["type"], data)
        case "preview":
            data = await to_thread.run_sync(_partial, task, name, event.data)
            return streaming.event(data["type"], data)
    if task.wanted.progress:
        return streaming.event("limner.progress", {"type": "limner.progress", "kind": event.kind, **event.data})
    return streaming.comment(" ".join([event.kind, *(f"{key}={value}" for key, value in event.data.items())]))


def _partial(task: Task, name: str, data: dict[str, Any]) -> dict[str, Any]:
    wanted = task.wanted
    picture = pictures.preview(base64.b64decode(data["png"]), wanted.format, wanted.quality)
    width, height = pictures.size(picture)
    return {
        "type": f"{name}.partial_image",
        "b64_json": base64.b64encode(picture).decode(),
        "partial_image_index": data["number"],
        "image_index": data["index"],
        "created_at": int(time.time()),
        "size": f"{width}x{height}",
        "output_format": wanted.format,
        **wanted.told,
    }


def _completed(task: Task, name: str, data: dict[str, Any]) -> dict[str, Any]:
    wanted = task.wanted
    item, facts = _item(task, data, as_link=False)
    return {
        "type": f"{name}.completed",
        "b64_json": item["b64_json"],
        "image_index": data["index"],
        "created_at": int(time.time()),
        "size": f"{facts.width}x{facts.height}",
        "output_format": wanted.format,
        **wanted.told,
        "usage": _usage(task, [facts]),
        "limner": item["limner"],
    }


def _body(task: Task, made: list[dict[str, Any]]) -> dict[str, Any]:
    wanted, rules = task.wanted, task.wanted.chosen.rules
    found = [_item(task, data, as_link=wanted.links) for data in made]
    facts = [each for _, each in found]
    body: dict[str, Any] = {"created": int(time.time()), "data": [item for item, _ in found]}
    if rules.usage:
        size = f"{facts[0].width}x{facts[0].height}"
        body |= {**wanted.told, "output_format": wanted.format, "size": size, "usage": _usage(task, facts)}
    limner = {"model": wanted.order.model, "asked": wanted.chosen.asked, "job": task.job}
    ignored = [*wanted.passed_over, *task.passed_over]
    return body | {"limner": limner | ({"ignored": ignored} if ignored else {})}


def _item(task: Task, data: dict[str, Any], *, as_link: bool) -> tuple[dict[str, Any], pictures.Facts]:
    """One picture of an answer.

    Raises: ApiError when its file is not there any more.
    """
    wanted, name = task.wanted, data["id"]
    path = task.serving.queue.picture(name)
    if path is None:
        raise envelopes.failed("The picture was removed before it could be sent.")
    facts = pictures.facts(path)
    if as_link:
        item = {"url": task.serving.links.make(task.base, name, wanted.format, wanted.quality)}
    else:
        item = {"b64_json": base64.b64encode(pictures.encoded(path, wanted.format, wanted.quality)).decode()}
    if wanted.chosen.rules.revised:
        item["revised_prompt"] = facts.prompt
    about = {
        "model": wanted.order.model,
        "seed": data["seed"],
        "index": data["index"],
        "size": f"{facts.width}x{facts.height}",
        "native_size": f"{facts.native[0]}x{facts.native[1]}",
        "resampled": facts.native != (facts.width, facts.height),
    }
    return {**item, "limner": about}, facts


def _usage(task: Task, facts: list[pictures.Facts]) -> dict[str, Any]:
    order = task.wanted.order
    texts = pictures.tokens(task.serving.shelf.folder(order.model), [order.prompt, order.negative])
    return pictures.usage(texts, task.source, [(each.width, each.height) for each in facts])


def _check_end(event: Event, rules: Rules) -> None:
    """Raises: ApiError when a job did not end well."""
    if event.kind == "cancelled":
        raise ApiError(409, "The job was cancelled.", code="cancelled", headers=envelopes.NO_RETRY)
    if event.kind == "failed":
        data = event.data
        if data.get("kind") == REFUSED:
            raise refused(data["message"], rules)
        if data.get("kind") == envelopes.INVALID:
            raise envelopes.invalid(data["message"], code=data["code"])
        raise envelopes.failed(data["message"], code=data["code"])


def _stopping() -> ApiError:
    return envelopes.busy("The server is stopping; send this again when it is back.", 5, status=503)
