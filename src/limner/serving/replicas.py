"""Drawing in several processes with Ray Serve (extra `ray`): `limner serve --replicas N`.

One process answers HTTP and owns what must be one: the queue, the data folder, keys, limits, links. Replicas of one Ray
Serve deployment draw; they hold models and nothing else, so one that dies loses a batch that is simply drawn again. Ray
places, watches and replaces them; nothing of that is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from limner.errors import LimnerError
from limner.serving import batches, line
from limner.serving.batches import Made, Stepped, Uploads
from limner.serving.line import Task
from limner.serving.metrics import log
from limner.serving.orders import Order
from limner.serving.settings import ServeSettings
from limner.serving.shelf import Shelf

NAME = "limner"
ATTEMPTS = 3  # replicas that may die under one batch before it counts as failed
_HERE = "127.0.0.1"
_NO_PREVIEW = torch.empty(0)
_END = object()

Wanted = tuple[dict[str, Any], int]  # an order as JSON, and which of its pictures


class Drawer:
    """What runs in a replica: a shelf of models, and a batch at a time."""

    def __init__(self, settings: dict[str, Any]) -> None:
        told = ServeSettings.model_validate(settings)
        self._shelf = Shelf(models=told.models, memory_mb=told.memory_mb, device=told.device, dtype=told.dtype)

    async def draw(self, wanted: Sequence[Wanted], uploads: Uploads) -> AsyncIterator[Stepped | tuple[int, Any]]:
        """The steps of a batch, and each finished picture under its place in `wanted`. Cancelled: ends after its step."""
        items = self._made(wanted, uploads)
        loop = asyncio.get_running_loop()
        step: asyncio.Future[Any] | None = None
        try:
            while True:
                step = loop.run_in_executor(None, next, items, _END)  # so that Ray can still ask whether this one lives
                item = await asyncio.shield(step)
                if item is _END:
                    return
                yield item
        finally:
            if step is not None and not step.done():
                await asyncio.wait([step])
            items.close()

    def _made(self, wanted: Sequence[Wanted], uploads: Uploads) -> Generator[Stepped | tuple[int, Any]]:
        tasks = [Task(_waiting(Order.model_validate(order)), number) for order, number in wanted]
        previews = any(task.job.order.previews for task in tasks)
        made = 0
        with self._shelf.pipe(tasks[0].job.order.model) as pipe:
            for item in batches.make(pipe, tasks, uploads):
                if isinstance(item, Made):
                    yield made, item.image
                    made += 1
                else:  # previews nobody wants would only be carried about
                    yield item if previews else item._replace(preview=_NO_PREVIEW)


class Replicas:
    """Replicas on Ray Serve as a `makers.Maker`.

    Without RAY_ADDRESS, Ray is started on this machine alone and stopped with the server; with it, a cluster is joined, on
    whose machines limner and the same model folders must be.
    """

    def __init__(self, settings: ServeSettings, count: int) -> None:
        """Raises: LimnerError when Ray is not installed."""
        if importlib.util.find_spec("ray") is None:
            raise LimnerError("serve: --replicas needs Ray; install it with pip install 'limner[ray]'")
        self.places = count
        self._settings = settings
        self._handle: Any = None
        # In the main thread Ray would take SIGTERM from the HTTP server; and its processes die with the thread that began them.
        self._thread = ThreadPoolExecutor(1)

    def start(self) -> None:
        """Start the replicas and wait until they stand. Raises: LimnerError when they do not."""
        self._thread.submit(self._start).result()
        log("replicas started", replicas=self.places)

    def _start(self) -> None:
        import ray
        from ray import serve

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        alone: dict[str, Any] = {} if "RAY_ADDRESS" in os.environ else {"_node_ip_address": _HERE, "include_dashboard": False}
        try:
            if not ray.is_initialized():
                ray.init(log_to_driver=False, configure_logging=False, **alone)
            quiet = {"log_level": "WARNING", "enable_access_log": False}
            serve.start(proxy_location="Disabled", logging_config=quiet)  # HTTP is answered here
            told = self._settings.model_dump(mode="json")
            deployment = serve.deployment(
                name="Drawer",
                num_replicas=self.places,
                max_ongoing_requests=1,
                graceful_shutdown_timeout_s=2,  # what they draw is drawn again after the next start
                ray_actor_options=_share(ray.cluster_resources(), self.places, self._settings.device),
            )(Drawer)
            self._handle = serve.run(deployment.bind(told), name=NAME, route_prefix=None, logging_config=quiet)
        except Exception as error:
            raise LimnerError(f"serve: the replicas did not start ({type(error).__name__}: {str(error)[:300]})") from error

    def stop(self) -> None:
        """Stop the replicas, and Ray where it was started for them."""
        import ray

        self._handle = None
        if "RAY_ADDRESS" not in os.environ:
            ray.shutdown()
            self._thread.shutdown()
            return
        from ray import serve

        serve.delete(NAME)

    @contextlib.contextmanager
    def drawing(self, tasks: Sequence[Task], uploads: Uploads) -> Iterator[Iterator[Stepped | Made]]:
        """Drawn in whichever replica is free; what a dying replica leaves undone is given to another."""
        with contextlib.closing(self._items(tasks, uploads)) as items:
            yield items

    def _items(self, tasks: Sequence[Task], uploads: Uploads) -> Generator[Stepped | Made]:
        from ray.exceptions import RayActorError, RayTaskError

        left = list(tasks)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with contextlib.closing(self._asked(tuple(left), uploads)) as items:
                    for item in items:
                        yield item
                        if isinstance(item, Made):
                            left.remove(item.task)
                return
            except RayActorError as error:
                log("replica died", level="warning", attempt=attempt, left=len(left), error=type(error).__name__)
            except RayTaskError as error:
                raise error.cause if isinstance(error.cause, Exception) else LimnerError(str(error)) from None
        raise LimnerError(f"{ATTEMPTS} replicas died while they drew this")

    def _asked(self, tasks: Sequence[Task], uploads: Uploads) -> Generator[Stepped | Made]:
        wanted = [(task.job.order.model_dump(mode="json"), task.number) for task in tasks]
        answers = self._handle.options(stream=True).draw.remote(wanted, uploads)
        try:
            for item in answers:
                yield item if isinstance(item, Stepped) else Made(tasks[item[0]], item[1])
        finally:
            answers.cancel()


def _share(resources: dict[str, float], count: int, device: str) -> dict[str, float]:
    """What Ray shall set aside for each replica, so that all of them fit: an equal part of the cores and accelerators."""
    share = {"num_cpus": max(0.01, int(100 * resources.get("CPU", 1) / count) / 100)}
    gpus = resources.get("GPU", 0)
    if gpus and device != "cpu":
        share["num_gpus"] = 1.0 if gpus >= count else int(100 * gpus / count) / 100
    return share


def _waiting(order: Order) -> line.Waiting:
    return line.Waiting("", "", order, deque())
