"""Where pictures are made: in this process (`Here`), or elsewhere (`replicas.Replicas`). The queue does not care."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol

from limner.serving import batches
from limner.serving.batches import Made, Stepped, Uploads
from limner.serving.line import Task
from limner.serving.shelf import Shelf


class Maker(Protocol):
    """Makes the pictures of batches, some at the same time."""

    places: int  # batches that can be drawn at the same time

    def start(self) -> None:
        """Get ready. Raises: LimnerError when that cannot be."""

    def stop(self) -> None:
        """Let go of everything; what is being drawn is given up."""

    def drawing(self, tasks: Sequence[Task], uploads: Uploads) -> AbstractContextManager[Iterator[Stepped | Made]]:
        """The pictures of some tasks as they are drawn (see `batches.make`); left early, drawing ends after its step.

        Called from as many threads as there are places.
        """


class Here:
    """Draws in this process, one batch at a time: a second would only take the first one's cores."""

    places = 1

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def start(self) -> None:
        """There is nothing to get ready; models are loaded when they are first asked for."""

    def stop(self) -> None:
        """There is nothing to let go of."""

    @contextmanager
    def drawing(self, tasks: Sequence[Task], uploads: Uploads) -> Iterator[Iterator[Stepped | Made]]:
        """Drawn with a model of the shelf, which stays in memory meanwhile."""
        with self._shelf.pipe(tasks[0].job.order.model) as pipe, closing(batches.make(pipe, tasks, uploads)) as items:
            yield items
