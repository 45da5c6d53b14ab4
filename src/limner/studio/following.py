"""What the page knows of a job, told by its events; and several jobs followed at once until all have ended.

A page that was reloaded asks again with the same job ids: events that were stored are told again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from limner.serving.orders import ENDS, Event, State, Status

PACE = 0.15  # seconds between two looks of the page, at least
PATIENCE = 1.0  # seconds after which a waiting job's position and time left are asked for


class Finished(NamedTuple):
    """A finished picture of a job."""

    id: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True)
class View:
    """A job as the page shows it."""

    id: str
    verb: str
    model: str
    prompt: str
    n: int
    seed: int | None
    state: State = "queued"
    position: int | None = None  # jobs before it
    stage: str = ""
    step: int = 0
    of: int = 0
    progress: float = 0.0
    eta_s: float | None = None
    previews: Mapping[int, str] = field(default_factory=dict)  # picture -> PNG in base64
    pictures: Mapping[int, Finished] = field(default_factory=dict)
    message: str = ""  # why it failed

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDS


class Follows(Protocol):
    """What is needed of a queue."""

    def status(self, job: str) -> Status | None:
        """How a job stands."""

    def events(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        """What happens to a job."""


def view_of(status: Status) -> View:
    """A job before any of its events were heard."""
    order = status.order
    return View(status.id, order.verb, order.model, order.prompt, order.n, order.seed, position=status.position)


def advanced(view: View, event: Event) -> View:
    """The view after one more event."""
    data = event.data
    match event.kind:
        case "queued":
            return replace(view, state="queued", position=data.get("position", view.position))
        case "started":
            return replace(view, state="running", position=None)
        case "progress":
            return _moved(view, data)
        case "preview":
            return replace(view, previews={**view.previews, int(data["index"]): str(data["png"])})
        case "picture":
            done = Finished(data["id"], data["seed"], data["width"], data["height"])
            return replace(view, pictures={**view.pictures, int(data["index"]): done})
        case "done":
            return replace(view, state="done", progress=1.0, eta_s=None)
        case "failed":
            return replace(view, state="failed", eta_s=None, message=str(data.get("message", "")))
        case "cancelled":
            return replace(view, state="cancelled", eta_s=None)


async def followed(
    queue: Follows, jobs: Sequence[str], wanted: Callable[[], bool] = lambda: True, *, pace: float = PACE
) -> AsyncIterator[tuple[View, ...]]:
    """The jobs that are known, again whenever something has happened to one, until all have ended or nobody wants to know.

    Units: pace in seconds.
    """
    found = [status for status in (queue.status(job) for job in jobs) if status is not None]
    views = {status.id: view_of(status) for status in found}
    if not views:
        yield ()
        return
    heard: asyncio.Queue[tuple[str, Event]] = asyncio.Queue()
    listeners = [asyncio.create_task(_listen(queue, job, heard)) for job in views]
    try:
        while wanted():
            with contextlib.suppress(TimeoutError):
                job, event = await asyncio.wait_for(heard.get(), PATIENCE)
                views[job] = advanced(views[job], event)
            while not heard.empty():
                job, event = heard.get_nowait()
                views[job] = advanced(views[job], event)
            views = {job: _asked(queue, view) for job, view in views.items()}
            yield tuple(views.values())
            if all(view.ended for view in views.values()):
                return
            if heard.empty() and all(listener.done() for listener in listeners):
                return
            await asyncio.sleep(pace)
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


async def _listen(queue: Follows, job: str, heard: asyncio.Queue[tuple[str, Event]]) -> None:
    async for event in queue.events(job):
        await heard.put((job, event))


def _asked(queue: Follows, view: View) -> View:
    """The view with the position and the time left that only the queue knows."""
    if view.ended:
        return view
    status = queue.status(view.id)
    if status is None:
        return view
    return replace(view, position=status.position, eta_s=status.eta_s, progress=max(view.progress, status.progress))


def _moved(view: View, data: Mapping[str, Any]) -> View:
    return replace(
        view,
        state="running",
        position=None,
        stage=str(data["stage"]),
        step=int(data["step"]),
        of=int(data["of"]),
        eta_s=data.get("eta_s"),
        progress=float(data.get("progress", view.progress)),
    )
