"""Measures for Prometheus, and the log."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.serving import metrics
from limner.serving.metrics import JsonLines, Metrics, log, log_as_json
from limner.serving.orders import Order
from limner.serving.queue import Queue
from limner.serving.shelf import Shelf
from limner.serving.store import Store


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as it is written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    metrics.LOGGER.addHandler(handler)
    before = metrics.LOGGER.level
    metrics.LOGGER.setLevel("INFO")
    yield written
    metrics.LOGGER.removeHandler(handler)
    metrics.LOGGER.setLevel(before)


def test_a_log_line_is_one_json_object_with_the_facts(lines: io.StringIO) -> None:
    log("accepted", job="1", n=2, error=None, path=Path("x"))
    line = json.loads(lines.getvalue())
    assert {key: line[key] for key in ("event", "level", "job", "n", "path")} == {
        "event": "accepted",
        "level": "info",
        "job": "1",
        "n": 2,
        "path": "x",
    }
    assert "error" not in line
    assert line["time"].endswith("Z")


def test_a_text_with_line_ends_stays_one_line(lines: io.StringIO) -> None:
    log("bad", level="warning", error="a\nb\u2028c")
    assert len(lines.getvalue().strip().split("\n")) == 1


def test_an_accident_is_logged_with_its_traceback(lines: io.StringIO) -> None:
    try:
        raise RuntimeError("oh")
    except RuntimeError:
        metrics.LOGGER.exception("accident")
    assert "RuntimeError: oh" in json.loads(lines.getvalue())["error"]


def test_the_web_servers_lines_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("limner", "uvicorn", "uvicorn.error", "uvicorn.access")
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in map(logging.getLogger, names)]
    try:
        log_as_json("info")
        logging.getLogger("uvicorn.error").info("started")
        logging.getLogger("limner.serving").info("also")
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [(line["logger"], line["event"]) for line in found] == [("uvicorn.error", "started"), ("limner.serving", "also")]
    finally:
        for name, (handlers, propagate, level) in zip(names, before, strict=True):
            logger = logging.getLogger(name)
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


def test_a_queue_that_is_watched_tells_its_length_and_its_jobs(tmp_path: Path, tiny: Path) -> None:
    store = Store(tmp_path)
    queue = Queue(store, Shelf(models=[tiny], device="cpu"))
    queue.metrics.watch(queue)
    queue.cancel(queue.submit(Order(model="tiny"), client="a"))
    queue.submit(Order(model="tiny"), client="a")
    with queue.shelf.pipe("tiny"):
        registry = queue.metrics.registry
        assert registry.get_sample_value("limner_queue_length") == 1
        assert registry.get_sample_value("limner_jobs", {"state": "cancelled"}) == 1
        assert registry.get_sample_value("limner_model_bytes", {"model": "tiny"}) == queue.shelf.facts("tiny").bytes
        assert registry.get_sample_value("limner_jobs_accepted_total", {"model": "tiny", "verb": "draw"}) == 2
    store.close()


def test_two_servers_in_a_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.pictures.labels("tiny").inc()
    assert b'limner_pictures_total{model="tiny"} 1.0' in first.text()
    assert b"limner_pictures_total{" not in second.text()


def test_memory_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = metrics.resident()
    assert now > 2**24
    monkeypatch.setattr(metrics, "Path", lambda _: Path("/nowhere"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert metrics.resident() > 2**24
