"""What the page knows of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from limner.serving.orders import Event, Order, Status
from limner.studio.following import Finished, View, advanced, followed, view_of

STATUS = Status(id="j", state="queued", order=Order(model="m", prompt="a fox", seed=3, n=2), client="c", position=2, created=0)
QUEUED = view_of(STATUS)


class Told:
    """A queue of one job that tells what it is given."""

    def __init__(self, events: Sequence[Event], *, ends: bool = True) -> None:
        self.told, self.ends = events, ends

    def status(self, job: str) -> Status | None:
        return STATUS if job == "j" else None

    async def events(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        for event in self.told:
            yield event
        while not self.ends:
            await asyncio.sleep(1)


def views(queue: Told, jobs: Sequence[str], turns: int = 100) -> list[tuple[View, ...]]:
    left = iter(range(turns))

    async def all_of() -> list[tuple[View, ...]]:
        wanted = lambda: next(left, None) is not None  # noqa: E731
        return [seen async for seen in followed(queue, jobs, wanted, pace=0)]

    return asyncio.run(all_of())


def test_a_job_begins_in_its_place_of_the_queue() -> None:
    assert (QUEUED.state, QUEUED.position, QUEUED.n, QUEUED.seed) == ("queued", 2, 2, 3)


def test_progress_moves_the_job_out_of_the_queue() -> None:
    view = advanced(QUEUED, Event(2, "progress", {"stage": "base", "step": 3, "of": 9, "eta_s": 4.0, "progress": 0.25}))
    assert (view.state, view.position, view.stage, view.step, view.of, view.eta_s) == ("running", None, "base", 3, 9, 4.0)
    assert view.progress == 0.25


def test_previews_and_pictures_are_kept_by_their_index() -> None:
    view = advanced(QUEUED, Event(2, "preview", {"index": 1, "number": 0, "png": "QUJD"}))
    view = advanced(view, Event(3, "picture", {"index": 0, "id": "p", "seed": 3, "width": 8, "height": 8}))
    assert view.previews == {1: "QUJD"}
    assert view.pictures == {0: Finished("p", 3, 8, 8)}
    assert QUEUED.previews == {}


@pytest.mark.parametrize(("kind", "ended"), [("started", False), ("done", True), ("failed", True), ("cancelled", True)])
def test_a_job_ends_once_it_is_said(kind: str, ended: bool) -> None:
    event = Event(2, kind, {"message": "no room"})  # type: ignore[arg-type]
    assert advanced(QUEUED, event).ended is ended


def test_a_failure_keeps_its_words() -> None:
    assert advanced(QUEUED, Event(2, "failed", {"message": "no room"})).message == "no room"


def test_following_ends_with_the_job() -> None:
    last = views(Told([Event(1, "queued", {}), Event(2, "started", {}), Event(3, "done", {})]), ["j"])[-1]
    assert [view.state for view in last] == ["done"]


def test_jobs_that_are_not_there_any_more_are_left_out() -> None:
    assert views(Told([]), ["gone"]) == [()]


def test_following_stops_when_nobody_wants_to_know() -> None:
    assert len(views(Told([Event(1, "started", {})], ends=False), ["j"], turns=1)) == 1
