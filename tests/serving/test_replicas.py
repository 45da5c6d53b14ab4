from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner.errors import InputError, LimnerError
from limner.serving import replicas
from limner.serving.app import create_app
from limner.serving.batches import Made, Stepped, Uploads
from limner.serving.line import Task, Waiting
from limner.serving.makers import Here
from limner.serving.orders import Order
from limner.serving.replicas import Drawer, Replicas
from limner.serving.shelf import Shelf
from tests.serving.conftest import running, settings_for


def tasks(n: int = 2, **order: Any) -> list[Task]:
    job = Waiting("id", "me", Order(model="tiny", prompt="a red fox", seed=3, n=n, **order), deque())
    return [Task(job, number) for number in range(n)]


def wanted(asked: list[Task]) -> list[tuple[dict[str, Any], int]]:
    return [(task.job.order.model_dump(mode="json"), task.number) for task in asked]


@pytest.fixture
def drawer(tiny: Path, tmp_path: Path) -> Drawer:
    return Drawer(settings_for(tiny, tmp_path).model_dump(mode="json"))


async def _all(drawer: Drawer, asked: list[Task]) -> list[Any]:
    return [item async for item in drawer.draw(wanted(asked), Uploads())]


def test_a_replica_draws_what_this_process_draws(drawer: Drawer, tiny: Path) -> None:
    asked = tasks()
    items = asyncio.run(_all(drawer, asked))
    with Here(Shelf(models=(tiny,))).drawing(asked, Uploads()) as here:
        expected = [item.image.picture.tobytes() for item in here if isinstance(item, Made)]
    assert [item[1].picture.tobytes() for item in items if not isinstance(item, Stepped)] == expected
    assert [item[0] for item in items if not isinstance(item, Stepped)] == [0, 1]


def test_previews_travel_only_when_somebody_wants_them(drawer: Drawer) -> None:
    without = [item for item in asyncio.run(_all(drawer, tasks())) if isinstance(item, Stepped)]
    wanting = [item for item in asyncio.run(_all(drawer, tasks(previews=1))) if isinstance(item, Stepped)]
    assert {item.preview.numel() for item in without} == {0}
    assert all(item.preview.numel() for item in wanting)


def test_a_replica_that_is_told_to_stop_ends_after_its_step_and_can_draw_again(drawer: Drawer) -> None:
    async def some() -> int:
        items = drawer.draw(wanted(tasks()), Uploads())
        await anext(items)
        step = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0.001)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        return len(await _all(drawer, tasks()))

    assert asyncio.run(some()) > 2


class Died(Exception): ...  # noqa: N818 (as Ray's own)


class TaskFailed(Exception):  # noqa: N818
    def __init__(self, cause: Any) -> None:
        self.cause = cause


class Answers:
    """What a handle gives: items, of which the last may be an accident."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self.cancelled = False

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def fleet(drawer: Drawer, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replicas whose Ray is played by a list of what each one does: an exception after so many items, or all of them."""
    exceptions = types.ModuleType("ray.exceptions")
    exceptions.RayActorError, exceptions.RayTaskError = Died, TaskFailed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    monkeypatch.setattr(replicas.importlib.util, "find_spec", lambda name: True)

    def make(*plays: tuple[int, Exception] | None) -> tuple[Replicas, list[Answers]]:
        found = Replicas(settings_for(tiny, tmp_path), 2)
        asked: list[Answers] = []

        class Handle:
            draw: Any

            def options(self, *, stream: bool) -> Any:
                return self

            def remote(self, orders: Any, uploads: Uploads) -> Answers:
                items = asyncio.run(_collected(drawer, orders))
                play = plays[len(asked)]
                asked.append(Answers(items if play is None else [*items[: play[0]], play[1]]))
                return asked[-1]

        handle = Handle()
        handle.draw = handle
        found._handle = handle
        return found, asked

    return make


async def _collected(drawer: Drawer, orders: Any) -> list[Any]:
    return [item async for item in drawer.draw(orders, Uploads())]


def drawn(found: Replicas, asked: list[Task]) -> list[Made]:
    with found.drawing(asked, Uploads()) as items:
        return [item for item in items if isinstance(item, Made)]


def test_what_a_dying_replica_leaves_undone_another_draws(fleet: Any) -> None:
    asked = tasks(3)
    assert len(drawn(fleet(None)[0], asked)) == 3
    found, answers = fleet((8, Died()), None)
    made = drawn(found, asked)
    assert [item.task.number for item in made] == [0, 1, 2]
    assert len(answers) == 2
    assert all(answer.cancelled for answer in answers)


def test_an_order_that_kills_every_replica_is_given_up(fleet: Any) -> None:
    found, answers = fleet(*[(1, Died())] * replicas.ATTEMPTS)
    with pytest.raises(LimnerError, match=f"{replicas.ATTEMPTS} replicas died"):
        drawn(found, tasks())
    assert len(answers) == replicas.ATTEMPTS


def test_an_error_of_a_replica_is_the_error_it_would_be_here(fleet: Any) -> None:
    with pytest.raises(InputError, match=r"^words$"):
        drawn(fleet((0, TaskFailed(InputError("words"))))[0], tasks())
    with pytest.raises(LimnerError):
        drawn(fleet((0, TaskFailed(None)))[0], tasks())


def test_who_stops_listening_cancels_in_the_replica(fleet: Any) -> None:
    found, answers = fleet(None)
    with found.drawing(tasks(), Uploads()) as items:
        next(iter(items))
    assert answers[0].cancelled


@pytest.mark.parametrize(
    ("resources", "count", "device", "share"),
    [
        ({"CPU": 2}, 2, "auto", {"num_cpus": 1}),
        ({"CPU": 2}, 3, "auto", {"num_cpus": 0.66}),
        ({"CPU": 8, "GPU": 2}, 2, "auto", {"num_cpus": 4, "num_gpus": 1}),
        ({"CPU": 8, "GPU": 1}, 3, "auto", {"num_cpus": 2.66, "num_gpus": 0.33}),
        ({"CPU": 8, "GPU": 1}, 2, "cpu", {"num_cpus": 4}),
        ({}, 1000, "auto", {"num_cpus": 0.01}),
    ],
)
def test_replicas_share_the_machine_evenly(resources: Any, count: int, device: str, share: Any) -> None:
    assert replicas._share(resources, count, device) == share
    assert share["num_cpus"] * count <= max(resources.get("CPU", 0), 10)


def test_without_ray_it_says_what_to_install(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LimnerError, match=r"pip install 'limner\[ray\]'"):
        create_app(settings_for(tiny, tmp_path, replicas=2))


def _replica_pids() -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ServeReplica:limner:Drawer" in line:
                found.append(int(folder.name))
    return found


def _wait_until_ready(url: str) -> None:
    """Replicas take their time: each imports torch."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError("the replicas did not start")


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray Serve: pip install 'limner[ray]'")
def test_two_replicas_answer_as_one_server_and_survive_the_death_of_one(tiny: Path, tmp_path: Path) -> None:
    with running(settings_for(tiny, tmp_path / "one")) as one, one.client() as client:
        alone = client.images.generate(model="tiny", prompt="a red fox", response_format="b64_json", extra_body={"seed": 5})
    with running(settings_for(tiny, tmp_path / "two", replicas=2, batch=1)) as server, server.client(timeout=300) as client:
        _wait_until_ready(server.url)
        pids = _replica_pids()
        assert len(pids) == 2
        first = client.images.generate(model="tiny", prompt="a red fox", response_format="b64_json", extra_body={"seed": 5})
        assert first.data is not None
        assert alone.data is not None
        assert first.data[0].b64_json == alone.data[0].b64_json
        events = list(client.images.generate(model="tiny", prompt="a fox", stream=True, partial_images=2))
        assert [event.type for event in events][-1] == "image_generation.completed"
        with ThreadPoolExecutor(6) as threads:
            jobs = [
                threads.submit(client.images.generate, model="tiny", prompt="a fox", n=3, extra_body={"steps": 40})
                for _ in range(6)
            ]
            os.kill(pids[0], signal.SIGKILL)
            assert [len(job.result().data or ()) for job in jobs] == [3] * 6
        assert set(server.states()) == {"done"}
