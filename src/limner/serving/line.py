"""Who is next: jobs wait in one line a client, clients take turns, and pictures that may share a batch do.

Pure bookkeeping without threads or files; `queue.py` guards it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from limner.serving.orders import Order

FIRST_GUESS = 2.0  # seconds a picture, until one was drawn
_KINDS = 200  # of orders whose speed is remembered
_INERTIA = 0.7  # of the measured speed: how much the last measure leaves of the ones before


@dataclass(eq=False)
class Waiting:
    """A job, as long as it is not finished."""

    id: str
    client: str
    order: Order
    left: deque[int]  # indices nobody has begun to draw
    picture: str = ""  # file of the upload, in the store
    mask: str = ""
    drawing: dict[int, float] = field(default_factory=dict)  # index -> how far it has come, 0 to 1
    alone: bool = False  # it failed in company, so it is tried by itself

    @property
    def company(self) -> Hashable:
        """Pictures of jobs with the same company may be drawn in one batch."""
        order = self.order
        if order.verb != "draw" or self.alone:
            return self.id
        return order.model, order.steps, order.guidance, order.sampler


class Task(NamedTuple):
    """One picture to make."""

    job: Waiting
    number: int  # under the job's seed, from 0


class Line:
    """The jobs that wait, clients in the order of their turns."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Waiting]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._clients.values())

    def add(self, job: Waiting) -> None:
        """Put a job behind the others of its client; a new client's turn comes last."""
        self._clients.setdefault(job.client, deque()).append(job)

    def put_back(self, job: Waiting) -> None:
        """Put a job before the others of its client, and its client first."""
        jobs = self._clients.setdefault(job.client, deque())
        if job not in jobs:
            jobs.appendleft(job)
        self._clients.move_to_end(job.client, last=False)

    def remove(self, job: Waiting) -> None:
        """Take a job out, if it is there."""
        jobs = self._clients.get(job.client, deque())
        if job in jobs:
            jobs.remove(job)
        if not jobs:
            self._clients.pop(job.client, None)

    def take(self, most: int) -> list[Task]:
        """The next pictures, at most so many, that can be drawn together: a picture from each client in turn.

        The client whose turn it is chooses what is drawn; others join with what fits, each with its oldest job that does.
        Whoever got something goes to the end.
        """
        tasks: list[Task] = []
        company: Hashable = None
        given = True
        while given and len(tasks) < most:
            given = False
            for client in list(self._clients):
                jobs = self._clients.get(client, deque())
                job = next((job for job in jobs if not tasks or job.company == company), None)
                if job is None or len(tasks) == most:
                    continue
                company, given = job.company, True
                tasks.append(Task(job, job.left.popleft()))
                self._clients.move_to_end(client)
                if not job.left:
                    self.remove(job)
        return tasks

    def ahead(self, job: Waiting) -> tuple[int, int]:
        """Jobs and pictures that come before the last picture of a waiting job, as turns go now."""
        own = self._clients.get(job.client, deque())
        if job not in own:
            return 0, 0
        before = list(own)[: list(own).index(job)]
        depth = sum(len(each.left) for each in before) + len(job.left)
        jobs, pictures = len(before), depth
        for client, others in self._clients.items():
            if client != job.client:
                counts = [len(each.left) for each in others]
                pictures += min(sum(counts), depth)
                jobs += _covered(counts, depth)
        return jobs, pictures


class Speed:
    """How long a picture takes, measured; the models are told apart."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}
        self._last = FIRST_GUESS

    def note(self, order: Order, seconds: float) -> None:
        """A picture of such an order took so long."""
        key = order.verb, order.model, order.steps
        if len(self._seconds) >= _KINDS:  # steps are free text: what was not drawn for longest is forgotten
            del self._seconds[next(iter(self._seconds))]
        before = self._seconds.pop(key, seconds)
        self._last = self._seconds[key] = _INERTIA * before + (1 - _INERTIA) * seconds

    def of(self, order: Order) -> float:
        """Seconds for a picture of such an order."""
        return self._seconds.get((order.verb, order.model, order.steps), self._last)


def _covered(counts: list[int], depth: int) -> int:
    """How many of some jobs are finished within so many pictures."""
    done = 0
    for count in counts:
        depth -= count
        if depth < 0:
            break
        done += 1
    return done
