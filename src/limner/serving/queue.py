"""The queue: takes orders, has them drawn a batch at a time, tells how they stand, and loses none.

A job is on the disk before its id is given out. What was queued or being drawn when the process died is queued again at the
next start, and only the pictures that were not finished are drawn. Who is next is `line.py`, how a batch is drawn
`worker.py`, what survives `store.py`.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limner.serving import worker
from limner.serving.checks import checked
from limner.serving.line import Line, Speed, Task, Waiting
from limner.serving.makers import Here, Maker
from limner.serving.metrics import Metrics, log
from limner.serving.orders import ENDS, Event, Failure, Full, Order, State, Status, understood
from limner.serving.safety import Policy, PolicySettings
from limner.serving.shelf import Shelf
from limner.serving.store import Job, Picture, Store, new_id

MOST_ATTEMPTS = 3  # times a job may be begun by a server that then dies
_RETRY_AT_MOST = 120.0  # seconds; clients of the API give up on longer waits


class Queue:
    """The jobs of one process. Safe to use from several threads; `events` also from event loops."""

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        *,
        bound: int = 200,
        batch: int = 8,
        metrics: Metrics | None = None,
        policy: Policy | None = None,
        maker: Maker | None = None,
    ) -> None:
        """`bound` is how many jobs may wait; `batch` how many pictures are drawn at a time; `policy` what is refused;
        `maker` where they are drawn, which is here unless given.
        """
        self.store = store
        self.shelf = shelf
        self.bound = bound
        self.batch = batch
        self.metrics = metrics or Metrics()
        self.policy = policy or Policy(PolicySettings())
        self._line = Line()
        self._jobs: dict[str, Waiting] = {}  # all that are not finished
        self._news: dict[str, Event] = {}  # the last progress of jobs being drawn
        self._speed = Speed()
        self._changed = threading.Condition(threading.RLock())
        self._listeners: dict[str, set[_Listener]] = {}
        self.maker = maker or Here(shelf)
        self._workers: list[worker.Worker] = []

    def submit(self, order: Order, *, client: str, picture: bytes | None = None, mask: bytes | None = None) -> str:
        """Accept an order; the id of its job.

        Raises: Full when too many wait; Refused for what the policy does not let pass; LimnerError for an order that the
            model cannot fulfil.
        """
        self.policy.allow(order.prompt, order.moderation)
        order = checked(order, self.shelf, picture=picture, mask=mask)
        if picture is not None and self.policy.classify is not None:
            from limner import images

            self.policy.allow("", order.moderation, images.open_picture(picture))
        if order.seed is None:
            order = order.model_copy(update={"seed": secrets.randbelow(2**32)})
        with self._changed:
            self._check_room(order, client)
            job = Waiting(new_id(), client, order, deque(range(order.n)))
            self._jobs[job.id] = job  # holds its place while the disk is written to
        try:
            row = self.store.add(job.id, order, client=client, picture=picture, mask=mask)
        except BaseException:
            with self._changed:
                self._jobs.pop(job.id, None)
            raise
        with self._changed:
            job.picture, job.mask = row.picture, row.mask
            if job.id in self._jobs:  # it may have been cancelled at once
                self._line.add(job)
                self._changed.notify_all()
        self.metrics.accepted.labels(order.model, order.verb).inc()
        log("accepted", job=job.id, client=client, model=order.model, verb=order.verb, n=order.n)
        return job.id

    def cancel(self, job: str) -> bool:
        """Stop a job; its finished pictures stay. False when it had ended, or never was."""
        return job in self._jobs and self._end(job, "cancelled")

    def status(self, job: str) -> Status | None:
        """How a job stands; None when there is none."""
        row = self.store.job(job)
        return None if row is None else self._status(row, self.store.drawn_of([job]).get(job, ()))

    def list(self, *, client: str | None = None, states: Sequence[State] = (), limit: int = 100) -> list[Status]:
        """How jobs stand, the newest first."""
        rows = self.store.jobs(client=client, states=states, limit=limit)
        drawn = self.store.drawn_of([row.id for row in rows])
        return [self._status(row, drawn.get(row.id, ())) for row in rows]

    def picture(self, id: str) -> Path | None:
        """The file of a finished picture: a PNG with its recipe inside; None when there is none, or none any more."""
        return self.store.picture(id)

    async def events(self, job: str, after: int = 0) -> AsyncGenerator[Event]:
        """What happened to a job after the event of this number, then what happens, until it ends; nothing for no job."""
        listener = _Listener(asyncio.get_running_loop())
        with self._changed:
            self._listeners.setdefault(job, set()).add(listener)
        news: Event | None = None
        try:
            while True:
                listener.woken.clear()
                running = job in self._jobs
                for event in await asyncio.to_thread(self.store.events, job, after):
                    after = event.number
                    yield event
                    if event.last:
                        return
                latest = self._news.get(job)
                if latest is not None and latest is not news:
                    news = latest
                    yield latest._replace(number=after)
                if not running:
                    return
                await listener.woken.wait()
        finally:
            with self._changed:
                self._listeners[job].discard(listener)
                if not self._listeners[job]:
                    del self._listeners[job]

    def start(self) -> None:
        """Take up what was left unfinished, and begin to draw.

        Raises: LimnerError when another process draws for the same folder.
        """
        self.store.claim()
        self.store.sweep_leftovers()
        have = self.store.have()
        for row in self.store.unfinished():
            self._resume(row, have.get(row.id, set()))
        self.maker.start()
        self._workers = [worker.Worker(self) for _ in range(self.maker.places)]
        for each in self._workers:
            each.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Draw what has been begun, for so many seconds at most; the rest is taken up at the next start."""
        running, self._workers = self._workers, []
        for each in running:
            each.stopping()
        for each in running:
            each.stop(timeout)
        if running:
            self.maker.stop()
            for job in list(self._jobs):
                self.store.again(job, forgiven=True)
        with self._changed:
            self._jobs.clear()
            self._line = Line()
            for listener in [each for group in self._listeners.values() for each in group]:
                listener.wake()

    @property
    def ready(self) -> bool:
        """Whether orders are taken and drawn."""
        return bool(self._workers) and all(each.alive for each in self._workers)

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._line)

    # What the worker asks for and tells.

    def take(self, seconds: float) -> Sequence[Task]:
        """The next pictures to draw together; none when nothing came for so long."""
        with self._changed:
            if not len(self._line):
                self._changed.wait(seconds)
            tasks = self._line.take(self.batch)
            for job, number in tasks:  # at once, so that nobody takes a job for finished whose last picture is on its way
                job.drawing[number] = 0.0
            return tasks

    def wake(self) -> None:
        """Let whoever waits in `take` look again."""
        with self._changed:
            self._changed.notify_all()

    def wanted(self, task: Task) -> bool:
        """Whether a picture is still waited for."""
        return task.job.id in self._jobs

    def begun(self, tasks: Sequence[Task]) -> None:
        """A batch is being drawn."""
        with self._changed:
            for job, number in tasks:
                job.drawing[number] = 0.0
        self.store.begin(list({task.job.id for task in tasks}))
        self._wake({task.job.id for task in tasks})

    def progressed(self, tasks: Sequence[Task], share: float, facts: dict[str, Any]) -> None:
        """A batch has come so far. Units: share 0 to 1."""
        with self._changed:
            jobs = {job.id: job for job, _ in tasks if job.id in self._jobs}
            for job, number in tasks:
                if number in job.drawing:
                    job.drawing[number] = share
            for job in jobs.values():
                eta = self._eta(job)
                told = {**facts, "eta_s": eta, "progress": round(_share(job), 4)}
                self._news[job.id] = Event(0, "progress", told)  # numbered by who tells it
        self._wake(set(jobs))

    def previewed(self, task: Task, facts: dict[str, Any]) -> None:
        """A partial picture is there."""
        if self.wanted(task):
            self.store.tell(task.job.id, "preview", facts)
            self._wake({task.job.id})

    def made(self, task: Task, picture: Picture, data: bytes) -> None:
        """A picture is finished: keep it, and end its job when it was the last."""
        job = task.job
        kept = self.wanted(task) and self.store.put(picture, data)
        with self._changed:
            job.drawing.pop(task.number, None)
            over = kept and not job.left and not job.drawing
            if over:
                self._forget(job.id)
        if over:
            self.metrics.finished.labels("done").inc()
            log("done", job=job.id, client=job.client, pictures=job.order.n)
        self._wake({job.id})

    def failed(self, job: Waiting, failure: Failure) -> None:
        """A job cannot be drawn."""
        self._end(job.id, "failed", failure)

    def put_back(self, tasks: Sequence[Task]) -> None:
        """Pictures that were begun wait again, first in line."""
        with self._changed:
            for job, number in reversed(tasks):
                if job.drawing.pop(number, None) is not None and job.id in self._jobs:
                    job.left.appendleft(number)
                    self._line.put_back(job)

    def measured(self, order: Order, seconds: float) -> None:
        """A picture of such an order took so long."""
        with self._changed:
            self._speed.note(order, seconds)

    # Within.

    def _check_room(self, order: Order, client: str) -> None:
        waiting = [job for job in self._jobs.values() if not job.drawing]
        own = sum(job.client == client for job in waiting)
        # The last quarter of the places is for those who have fewer than the other three, so that nobody takes all of them.
        if len(waiting) >= self.bound or own >= max(1, self.bound - self.bound // 4):
            jobs = [job for job in self._jobs.values() if job.drawing]
            soonest = min((self._eta(job) for job in jobs), default=self._speed.of(order))
            raise Full(len(waiting), min(max(soonest, 1.0), _RETRY_AT_MOST))

    def _resume(self, row: Job, have: set[int]) -> None:
        """Put an unfinished job of the store into the line, without the pictures it has."""
        try:
            order = Order.model_validate(row.order)
        except ValidationError:
            message = "was ordered from another version of limner, which this one does not understand; order it again"
            self._end(row.id, "failed", Failure(message=message, code="drawing_failed", kind="server_error"))
            return
        left = deque(index for index in range(order.n) if index not in have)
        job = self._jobs[row.id] = Waiting(row.id, row.client, order, left, row.picture, row.mask)
        job.alone = row.attempts >= MOST_ATTEMPTS - 1  # so that it takes nobody with it if it fails again
        if row.attempts >= MOST_ATTEMPTS:
            message = f"the server stopped {row.attempts} times while it drew this, so it is not tried again"
            self.failed(job, Failure(message=message, code="drawing_failed", kind="server_error"))
            return
        if row.state == "running":
            self.store.again(row.id)
        self._line.add(job)
        log("resumed", job=row.id, client=row.client, left=len(left))

    def _end(self, job: str, state: State, failure: Failure | None = None) -> bool:
        ended = self.store.finish(job, state, failure)
        with self._changed:
            self._forget(job)
        if ended:
            self.metrics.finished.labels(state).inc()
            log(state, job=job, error=None if failure is None else failure.message)
        self._wake({job})
        return ended

    def _forget(self, job: str) -> None:
        waiting = self._jobs.pop(job, None)
        self._news.pop(job, None)
        if waiting is not None:
            self._line.remove(waiting)

    def _status(self, row: Job, drawn: tuple[str, ...]) -> Status:
        with self._changed:
            job = self._jobs.get(row.id)
            waiting = job is not None and not job.drawing
            position = self._line.ahead(job)[0] if job is not None and waiting else None
            progress = _share(job) if job is not None else float(row.state == "done")
            eta = self._eta(job) if job is not None else None
        return Status(
            id=row.id,
            state=row.state,
            order=understood(row.order),
            client=row.client,
            position=position if row.state not in ENDS else None,
            progress=progress,
            eta_s=eta if row.state not in ENDS else None,
            created=row.created,
            started=row.started,
            finished=row.finished,
            pictures=drawn,
            error=None if row.error is None else Failure.model_validate(row.error),
        )

    def _eta(self, job: Waiting) -> float:
        """Seconds until a job is done, as far as can be told: what is before it, at the speed measured."""
        rest = sum(1 - share for share in job.drawing.values())
        if job.left:
            rest += self._line.ahead(job)[1]
            rest += sum(1 - share for each in self._jobs.values() if each is not job for share in each.drawing.values())
            rest = max(1.0, rest / self.maker.places)  # replicas share what is before it; one picture is drawn by one of them
        return round(rest * self._speed.of(job.order), 1)

    def _wake(self, jobs: set[str]) -> None:
        with self._changed:
            for job in jobs:
                for listener in self._listeners.get(job, ()):
                    listener.wake()


class _Listener:
    """Somebody on an event loop who waits for news of a job."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.woken = asyncio.Event()

    def wake(self) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.woken.set)


def _share(job: Waiting) -> float:
    """How much of a job is done, 0 to 1."""
    n = job.order.n
    finished = n - len(job.left) - len(job.drawing)
    return min(1.0, (finished + sum(job.drawing.values())) / n)
