"""The thread that draws: takes a batch from the queue, draws it, tells the queue of every step and picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from limner.errors import ConfigError, InputError, LimnerError, UnsupportedError
from limner.serving import batches
from limner.serving.batches import Made, Stepped, Uploads
from limner.serving.line import Task
from limner.serving.metrics import LOGGER, log
from limner.serving.orders import Failure
from limner.serving.safety import REFUSED, Refused
from limner.serving.store import Picture, new_id

if TYPE_CHECKING:
    from limner.serving.queue import Queue

_WAIT = 1.0  # seconds for the next order, at most, before looking whether to stop
_LOOK = 30.0  # seconds between looks at what may be swept
_BREATH = 2.0  # seconds before another try, when tables or files could not be written


class Worker:
    """Draws the pictures of a queue in a thread of its own until it is stopped."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._stopping = self._abandoning = False
        self._swept = 0.0  # when, by the monotonic clock
        self._thread = threading.Thread(target=self._run, name="limner-draws", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it draws, or would."""
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stopping(self) -> None:
        """Begin no further batch."""
        self._stopping = True
        self._queue.wake()

    def stop(self, timeout: float) -> None:
        """Finish the batch that is being drawn, for so many seconds; then give it up after its next step."""
        self.stopping()
        self._thread.join(timeout)
        self._abandoning = True
        self._thread.join(max(timeout, 10.0))

    def _run(self) -> None:
        while not self._stopping:
            tasks: Sequence[Task] = ()
            try:
                tasks = self._queue.take(_WAIT)
                if tasks:
                    self._draw(tasks)
                if time.monotonic() - self._swept > _LOOK:
                    self._swept = time.monotonic()
                    self._queue.store.sweep()
            except Exception:  # noqa: BLE001 (a full disk, a locked database: nothing is lost, so it is tried again)
                LOGGER.exception("the queue stumbled", extra={"facts": {"jobs": [task.job.id for task in tasks]}})
                self._queue.put_back(tasks)
                time.sleep(_BREATH)

    def _draw(self, tasks: Sequence[Task]) -> None:
        """Draw a batch. What fails in company is tried alone; what fails alone has failed."""
        try:
            self._draw_together(tasks)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one batch must not end the thread)
            jobs = list({task.job.id: task.job for task in tasks}.values())
            log("batch failed", level="warning", jobs=[job.id for job in jobs], error=f"{type(error).__name__}: {error}")
            if len(jobs) == 1:
                self._queue.failed(jobs[0], failure(error))
                return
            for job in jobs:
                job.alone = True
            self._queue.put_back(tasks)

    def _draw_together(self, tasks: Sequence[Task]) -> None:
        queue, order, share = self._queue, tasks[0].job.order, 0.0
        queue.begun(tasks)
        queue.metrics.batches.observe(len(tasks))
        with queue.maker.drawing(tasks, self._uploads(tasks)) as items:
            began = stage_began = time.monotonic()
            for item in items:
                if self._abandoning or not any(queue.wanted(task) for task in tasks):
                    break
                if isinstance(item, Made):
                    self._keep(item)
                    continue
                self._tell(tasks, share, item)
                share = item.share
                if item.step == item.of:
                    queue.metrics.stage_seconds.labels(order.model, item.stage).observe(time.monotonic() - stage_began)
                    stage_began = time.monotonic()
            else:
                queue.measured(order, (time.monotonic() - began) / len(tasks))
        if self._abandoning:
            queue.put_back(tasks)

    def _tell(self, tasks: Sequence[Task], before: float, item: Stepped) -> None:
        self._queue.progressed(tasks, item.share, {"stage": item.stage, "step": item.step, "of": item.of})
        for at, task in enumerate(tasks):
            number = batches.due(before, item.share, task.job.order.previews)
            # Half-drawn pictures would pass a classifier by, so with one there are none.
            if number is not None and self._queue.wanted(task) and self._queue.policy.classify is None:
                picture = item.preview[at if len(item.preview) > 1 else 0]
                self._queue.previewed(task, {"index": task.number, "number": number, "png": batches.preview(picture)})

    def _keep(self, item: Made) -> None:
        job, made = item.task.job, item.image.recipe
        refusal = self._queue.policy.check_picture(item.image.picture, job.order.moderation)
        if refusal is not None:
            self._queue.failed(job, failure(Refused(refusal)))
            return
        keep = job.order.keep
        row = Picture(
            id=new_id(),
            job=job.id,
            index=item.task.number,
            client=job.client,
            verb=made.verb,
            model=made.model,
            prompt=made.prompt,
            negative=made.negative,
            seed=made.seed,
            width=made.width,
            height=made.height,
            created=time.time(),
            path="",
            expires=time.time() + keep if keep else None,
        )
        self._queue.made(item.task, row, item.image.to_bytes())
        self._queue.metrics.pictures.labels(job.order.model).inc()

    def _uploads(self, tasks: Sequence[Task]) -> Uploads:
        job, store = tasks[0].job, self._queue.store
        try:
            return Uploads(*(store.input(name) if name else b"" for name in (job.picture, job.mask)))
        except OSError as error:
            raise LimnerError(f"the uploaded picture is gone ({error.strerror}); send it again") from None


def failure(error: Exception) -> Failure:
    """What a client is told of an error: the message of limner's own, nothing of others."""
    match error:
        case InputError() | ConfigError() | UnsupportedError():
            return Failure(message=str(error), code="invalid_value", kind="invalid_request_error")
        case Refused():
            return Failure(message=str(error), code="moderation_blocked", kind=REFUSED)
        case LimnerError():
            return Failure(message=str(error), code="drawing_failed", kind="server_error")
    return Failure(
        message="the picture could not be drawn; the server's log says why", code="drawing_failed", kind="server_error"
    )
