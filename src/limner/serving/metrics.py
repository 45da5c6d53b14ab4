"""What the server counts and measures, for Prometheus, and its log: one JSON object a line."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limner.serving.queue import Queue

LOGGER = logging.getLogger("limner.serving")
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The instruments of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.accepted = Counter("limner_jobs_accepted", "Jobs accepted", ("model", "verb"), **own)
        self.finished = Counter("limner_jobs_finished", "Jobs that ended", ("state",), **own)
        self.pictures = Counter("limner_pictures", "Pictures finished", ("model",), **own)
        self.batches = Histogram("limner_batch_pictures", "Pictures a batch", buckets=(1, 2, 4, 8, 16, 32), **own)
        self.stage_seconds = Histogram(
            "limner_stage_seconds", "Seconds a stage of a batch took", ("model", "stage"), buckets=_SECONDS, **own
        )
        self.memory = Gauge("limner_memory_bytes", "Memory of this process (resident)", **own)
        self.memory.set_function(resident)

    def watch(self, queue: Queue) -> None:
        """Also tell of a queue: how many wait, jobs by state, models in memory."""
        self.registry.register(_Watch(queue))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watch(Collector):
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Looked up when somebody asks."""
        yield GaugeMetricFamily("limner_queue_length", "Jobs that wait", value=len(self._queue))
        jobs = GaugeMetricFamily("limner_jobs", "Jobs kept, by state", labels=["state"])
        for state, count in self._queue.store.counts().items():
            jobs.add_metric([state], count)
        yield jobs
        models = GaugeMetricFamily("limner_model_bytes", "Memory of the models that are loaded", labels=["model"])
        for name, size in self._queue.shelf.loaded().items():
            models.add_metric([name], size)
        yield models


def resident() -> float:
    """Bytes of memory this process occupies now; the most it ever did where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return float(pages * resource.getpagesize())
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(most if sys.platform == "darwin" else most * 1024)


def log(event: str, *, level: str = "info", **facts: object) -> None:
    """Say what happened, with the facts as fields; None is left out. No prompt and no picture is ever logged."""
    said = {name: value for name, value in facts.items() if value is not None}
    LOGGER.log(logging.getLevelNamesMapping()[level.upper()], event, extra={"facts": said})


class JsonLines(logging.Formatter):
    """Records as JSON objects: time, level, event, logger, and the facts given to `log`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json(level: str = "info") -> None:
    """Send limner's and the web server's logs to stderr, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("limner", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler] if name in ("limner", "uvicorn") else []
        logger.propagate = name not in ("limner", "uvicorn")
        logger.setLevel(level.upper())
