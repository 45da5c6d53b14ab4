"""Jobs over HTTP: order, look, listen, cancel; and what those who run the server ask it: alive, ready, how much.

Unlike the Images API, which answers when the pictures are there, `POST /jobs` answers at once; the job lives on when the
client goes away, and after the server was restarted.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pydantic
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from limner.serving import describing, guards, requests, streaming
from limner.serving.envelopes import ApiError, invalid, of_validation, responses
from limner.serving.orders import Event, Failure, Order, State, Status
from limner.serving.server import Client, Parts, Serving

router = APIRouter(prefix="/jobs", tags=["jobs"])
signs = APIRouter(tags=["server"])

_FAILURES = responses(400, 401, 403, 404, 408, 413, 415, 421, 429, 500)
_FORM = {"type": "object", "required": ["order"], "properties": {"order": {"type": "string", "description": "JSON"}}}
_FILES = ("picture", "mask")


class JobPicture(BaseModel):
    """A finished picture of a job."""

    id: str
    url: str = Field(description="Works for an hour; ask for the job again to get a fresh one.")


class JobAnswer(BaseModel):
    """How a job stands."""

    id: str
    object: str = "job"
    state: State
    position: int | None = Field(description="Jobs before it; null when it does not wait.")
    progress: float = Field(description="0 to 1.")
    eta_s: float | None = Field(description="Seconds until it is done, as far as can be told.")
    created: float
    started: float | None
    finished: float | None
    order: Order
    pictures: list[JobPicture]
    error: Failure | None


class JobList(BaseModel):
    """Jobs, the newest first."""

    object: str = "list"
    data: list[JobAnswer]


class Sign(BaseModel):
    """How the server does."""

    status: str


def _body() -> dict[str, Any]:
    """The two ways to send an order: as JSON, or in a form with the pictures it starts from."""
    found = describing.json_body(Order)
    files = {name: {"type": "string", "format": "binary"} for name in _FILES}
    form: dict[str, Any] = {**_FORM, "properties": {**_FORM["properties"], **files}}  # type: ignore[dict-item]
    found["requestBody"]["content"]["multipart/form-data"] = {"schema": form}
    return found


@router.post(
    "",
    status_code=202,
    summary="Order pictures without waiting for them",
    responses={202: {"model": JobAnswer}, **_FAILURES},
    openapi_extra=_body(),
)
async def order(request: Request, serving: Parts, client: Client) -> Response:
    """An order as JSON; with `multipart/form-data` the part `order` holds it, beside the files `picture` and `mask`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        wanted, uploads = await _form(request)
    else:
        wanted, uploads = _order(await requests.read_object(request)), {}
    _check_model(serving, wanted)
    told = await guards.take_pictures(request, wanted.n)
    job = await to_thread.run_sync(lambda: serving.queue.submit(wanted, client=client, **uploads))
    status = await to_thread.run_sync(serving.queue.status, job)
    if status is None:
        raise ApiError(404, f"There is no job '{job}' any more.", code="not_found")
    headers = {"location": f"/jobs/{job}", **told}
    return JSONResponse(_answer(request, serving, status), 202, headers)


@router.get("", summary="Jobs, the newest first", responses=_FAILURES)
async def jobs(
    request: Request,
    serving: Parts,
    client: Client,
    state: Annotated[list[State] | None, Query(description="Only those in these states.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JobList:
    """Where keys are required, those of the key; else all."""
    mine = client if serving.settings.keys_required else None
    found = await to_thread.run_sync(lambda: serving.queue.list(client=mine, states=state or (), limit=limit))
    return JobList(data=[JobAnswer.model_validate(_answer(request, serving, status)) for status in found])


@router.get("/{job}", summary="How a job stands", responses=_FAILURES)
async def look(job: str, request: Request, serving: Parts, client: Client) -> JobAnswer:
    """Its state, its place in the queue, how far it is, and its pictures."""
    return JobAnswer.model_validate(_answer(request, serving, await _own(serving, client, job)))


@router.delete("/{job}", summary="Cancel a job", responses=_FAILURES)
async def cancel(job: str, request: Request, serving: Parts, client: Client) -> JobAnswer:
    """Stops after the step that is being taken. Pictures that are finished stay; a job that has ended is left as it is."""
    await _own(serving, client, job)
    await to_thread.run_sync(serving.queue.cancel, job)
    return JobAnswer.model_validate(_answer(request, serving, await _own(serving, client, job)))


@router.get(
    "/{job}/events",
    summary="What happens to a job, as server-sent events",
    responses={200: {"content": {"text/event-stream": {}}}, 204: {"description": "Nothing more will happen."}, **_FAILURES},
    response_class=Response,
)
async def events(
    job: str,
    request: Request,
    serving: Parts,
    client: Client,
    after: Annotated[int, Query(ge=0, le=2**53, description="Number of the last event that is known.")] = 0,
) -> Response:
    """All events from the first, or after `Last-Event-ID` (or `after`), then what comes, until the job ends.

    queued, started, preview, picture, done, failed and cancelled have an id and are told again; progress has none.
    """
    status = await _own(serving, client, job)
    known = request.headers.get("last-event-id", str(after)).strip() or "0"
    if not (known.isascii() and known.isdigit() and len(known) < 17):
        raise invalid(f"Last-Event-ID: '{known[:40]}' is no number of an event.", param="Last-Event-ID")
    last = await to_thread.run_sync(serving.store.last_event, job)
    if status.finished is not None and int(known) >= last:
        return Response(status_code=204)  # tells an EventSource not to come again
    return StreamingResponse(_told(serving, job, int(known)), media_type=streaming.MEDIA_TYPE, headers=streaming.HEADERS)


@signs.head("/healthz", include_in_schema=False)  # what watchers and balancers send
@signs.get("/healthz", summary="Whether the server lives")
async def healthz() -> Sign:
    """Always, as long as it answers."""
    return Sign(status="ok")


@signs.head("/readyz", include_in_schema=False)  # what watchers and balancers send
@signs.get("/readyz", summary="Whether orders are taken and drawn", responses={503: {"model": Sign}})
async def readyz(serving: Parts) -> Response:
    """503 while it starts or stops, or when the disk does not answer."""
    alive = serving.queue.ready and await to_thread.run_sync(serving.store.answers)
    return JSONResponse({"status": "ready" if alive else "not ready"}, 200 if alive else 503)


@signs.get(
    "/metrics",
    summary="Counts and measures for Prometheus",
    responses={200: {"content": {"text/plain": {}}}, **responses(401)},
    response_class=Response,
)
async def metrics(serving: Parts) -> Response:
    """Queue length, jobs by state, pictures, seconds by stage, pictures a batch, memory."""
    text = await to_thread.run_sync(serving.queue.metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _form(request: Request) -> tuple[Order, dict[str, bytes]]:
    """The order and the cleaned pictures of a form. Raises: ApiError for what is no form, or does not fit."""
    from limner.serving import uploads

    text: str | None = None
    found: dict[str, bytes] = {}
    form = await uploads.form(request)
    try:
        for name, value in form.multi_items():
            if name == "order" and isinstance(value, str) and text is None:
                text = value
            elif name in _FILES and isinstance(value, UploadFile) and name not in found:
                found[name] = await uploads.read(value, param=name)
            else:
                raise invalid(f"'{name[:80]}' does not fit here; send order (text), picture and mask (files) once each.")
    finally:
        await form.close()
    if text is None:
        raise invalid("Missing required parameter: 'order'.", param="order", code="missing_required_parameter")
    return _order(requests.object_of(text.encode("utf-8", "replace"))), found


def _order(tree: dict[str, Any]) -> Order:
    """Raises: ApiError for what does not fit; null is the same as nothing."""
    given = {name: value for name, value in tree.items() if value is not None}
    for name in given:
        if name not in Order.model_fields:
            raise requests.unknown(name, Order.model_fields)
    try:
        return Order.model_validate_json(json.dumps(given), strict=True)  # strict: a text is no number
    except pydantic.ValidationError as error:
        raise of_validation(error.errors()) from None


def _check_model(serving: Serving, wanted: Order) -> None:
    """Raises: ApiError 404 for a model that is not served."""
    if wanted.model not in serving.shelf.names():
        have = ", ".join(serving.shelf.names())
        message = f"The model '{wanted.model[:80]}' does not exist here; have: {have}."
        raise ApiError(404, message, code="model_not_found", param="model")


async def _own(serving: Serving, client: str, job: str) -> Status:
    """A job that the client may see. Raises: ApiError 404."""
    status = await to_thread.run_sync(serving.queue.status, job)
    if status is None or (serving.settings.keys_required and status.client != client):
        raise ApiError(404, f"There is no job '{job[:80]}'.", code="not_found", param="job")
    return status


def _answer(request: Request, serving: Serving, status: Status) -> dict[str, Any]:
    base = (serving.settings.public_url or str(request.base_url)).rstrip("/")
    told = status.model_dump(mode="json", exclude={"client", "pictures"})
    told["pictures"] = [{"id": name, "url": serving.links.make(base, name, "png")} for name in status.pictures]
    return {"object": "job", **told}


async def _told(serving: Serving, job: str, after: int) -> AsyncIterator[bytes]:
    found = serving.queue.events(job, after)
    beats = streaming.with_heartbeats(found, serving.settings.heartbeat_s)
    async with contextlib.aclosing(found), contextlib.aclosing(beats):
        async for event in beats:
            yield streaming.comment("still here") if event is None else _line(event)


def _line(event: Event) -> bytes:
    """An event on the wire; a progress has no id, so that nobody who comes again asks for what follows it."""
    number = "" if event.kind == "progress" else f"id: {event.number}\n"
    return f"{number}event: {event.kind}\ndata: {json.dumps(event.data)}\n\n".encode()
