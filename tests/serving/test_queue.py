"""The queue with the tiny cascade: what is accepted is drawn once, or reported."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import limner
from limner import recipe
from limner.errors import CheckpointError, InputError, LimnerError, UnsupportedError
from limner.serving import batches, worker
from limner.serving.orders import Event, Full, Order, Status
from limner.serving.queue import MOST_ATTEMPTS, Queue
from limner.serving.shelf import Shelf
from limner.serving.store import Job, Picture, Store
from tests.serving.conftest import png

ORDER = Order(model="tiny", prompt="a red fox", seed=5)


@pytest.fixture(scope="module")
def shelf(tiny: Path) -> Shelf:
    return Shelf(models=[tiny], device="cpu", dtype="float32")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture
def queue(store: Store, shelf: Shelf) -> Iterator[Queue]:
    """Not started yet."""
    found = Queue(store, shelf, bound=20, batch=4)
    yield found
    found.stop(5)


def order(**more: Any) -> Order:
    return Order.model_validate({**ORDER.model_dump(), **more})


def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something, a little at a time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def told(queue: Queue, job: str, after: int = 0) -> list[Event]:
    """The events of a job up to its end."""

    async def collect() -> list[Event]:
        return [event async for event in queue.events(job, after)]

    return asyncio.run(collect())


def ended(queue: Queue, job: str) -> Status:
    until(lambda: (status := queue.status(job)) is None or status.finished)
    status = queue.status(job)
    assert status is not None
    return status


def pixels(queue: Queue, picture: str) -> Any:
    path = queue.picture(picture)
    assert path is not None
    with PIL.Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"), np.int16)


def test_the_pictures_of_a_job_are_those_the_model_draws_alone(queue: Queue, tiny: Path) -> None:
    queue.start()
    status = ended(queue, queue.submit(order(n=2), client="a"))
    alone = limner.load(tiny, device="cpu", dtype="float32")("a red fox", seed=5, n=2)
    assert (status.state, status.progress) == ("done", 1.0)
    for name, image in zip(status.pictures, alone, strict=True):
        gap = np.abs(pixels(queue, name) - np.asarray(image.picture, np.int16))
        assert (gap > 1).mean() < 0.05  # last bits, where the small picture is rounded before it is enlarged


def test_jobs_of_several_clients_share_a_batch(queue: Queue) -> None:
    jobs = [queue.submit(order(seed=seed), client=f"client {seed}") for seed in range(4)]
    queue.start()
    assert {ended(queue, job).state for job in jobs} == {"done"}
    metrics = queue.metrics.registry
    assert (metrics.get_sample_value("limner_batch_pictures_count"), metrics.get_sample_value("limner_batch_pictures_sum")) == (
        1,
        4,
    )


def test_a_picture_of_a_batch_carries_the_recipe_of_its_own_order(queue: Queue) -> None:
    jobs = [queue.submit(order(seed=seed, prompt=f"fox {seed}"), client="a") for seed in range(3)]
    queue.start()
    for seed, job in enumerate(jobs):
        path = queue.picture(ended(queue, job).pictures[0])
        assert path is not None
        made = recipe.read(path)
        assert (made.seed, made.prompt) == (seed, f"fox {seed}")


def test_a_seed_that_is_not_said_is_made_definite_when_the_order_is_accepted(queue: Queue) -> None:
    status = queue.status(queue.submit(order(seed=None), client="a"))
    assert status is not None
    assert status.order.seed is not None


def test_a_full_queue_takes_nothing_more_and_says_when_to_come_again(store: Store, shelf: Shelf) -> None:
    queue = Queue(store, shelf, bound=2)
    for _ in range(2):
        queue.submit(ORDER, client="a")
    with pytest.raises(Full, match="2 jobs are waiting") as caught:
        queue.submit(ORDER, client="b")
    assert 1 <= caught.value.retry_after <= 120
    assert len(queue) == 2
    assert store.counts() == {"queued": 2}


def test_nobody_takes_all_the_places_of_the_queue(store: Store, shelf: Shelf) -> None:
    queue = Queue(store, shelf, bound=4)
    for _ in range(3):
        queue.submit(ORDER, client="greedy")
    with pytest.raises(Full):
        queue.submit(ORDER, client="greedy")
    queue.submit(ORDER, client="other")
    with pytest.raises(Full):
        queue.submit(ORDER, client="third")


def test_many_threads_cannot_overfill_the_queue(store: Store, shelf: Shelf) -> None:
    queue, refused = Queue(store, shelf, bound=5), []

    def send(number: int) -> None:
        try:
            queue.submit(ORDER, client=f"client {number}")
        except Full as error:
            refused.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(queue), len(refused)) == (5, 7)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "nobody"}, CheckpointError),
        ({"steps": "many"}, LimnerError),
        ({"verb": "edit"}, InputError),
        ({"prompt": "\x07"}, InputError),
        ({"verb": "sketch", "strength": 0.5}, InputError),
    ],
)
def test_an_order_that_cannot_be_fulfilled_is_refused_at_once(
    queue: Queue, more: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        queue.submit(order(**more), client="a")
    assert queue.store.counts() == {}


def test_a_verb_that_a_model_lacks_names_those_that_have_it(queue: Queue) -> None:
    with pytest.raises(UnsupportedError, match=r"glide-shapes cannot upscale; models that can: .*tiny"):
        queue.submit(order(model="glide-shapes", verb="upscale"), client="a", picture=png())


def test_a_waiting_job_that_is_cancelled_is_never_drawn(queue: Queue) -> None:
    job, other = queue.submit(ORDER, client="a"), queue.submit(ORDER, client="b")
    assert queue.cancel(job)
    assert not queue.cancel(job)
    queue.start()
    assert ended(queue, other).state == "done"
    assert [event.kind for event in told(queue, job)] == ["queued", "cancelled"]


def test_a_running_job_stops_after_the_step_it_is_cancelled_in(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = held(monkeypatch)
    queue.start()
    job = queue.submit(order(steps="49", n=4), client="a")
    until(lambda: steps)
    assert queue.cancel(job)
    after = len(steps)
    following = queue.submit(ORDER, client="a")
    assert ended(queue, following).state == "done"
    assert after < 40
    assert ended(queue, job).pictures == ()


def test_cancelling_what_never_was_is_false(queue: Queue) -> None:
    assert not queue.cancel("nobody")
    assert queue.status("nobody") is None
    assert told(queue, "nobody") == []


def test_events_come_in_order_with_progress_between(queue: Queue) -> None:
    queue.start()
    events = told(queue, queue.submit(order(previews=2), client="a"))
    kept = [event for event in events if event.kind != "progress"]
    assert [event.kind for event in kept] == ["queued", "started", "preview", "preview", "picture", "done"]
    assert [event.number for event in kept] == [1, 2, 3, 4, 5, 6]
    progress = [event.data["progress"] for event in events if event.kind == "progress"]
    assert progress == sorted(progress)
    assert all(event.data["eta_s"] >= 0 for event in events if event.kind == "progress")


def test_events_are_told_again_after_a_number(queue: Queue) -> None:
    queue.start()
    job = queue.submit(ORDER, client="a")
    ended(queue, job)
    assert [event.kind for event in told(queue, job, 2)] == ["picture", "done"]


def test_listeners_are_let_go_when_the_queue_stops(queue: Queue) -> None:
    job = queue.submit(ORDER, client="a")
    heard: list[Event] = []

    async def listen() -> None:
        async for event in queue.events(job):
            heard.append(event)
            await asyncio.to_thread(queue.stop, 1)

    asyncio.run(asyncio.wait_for(listen(), 20))
    assert [event.kind for event in heard] == ["queued"]


def test_what_was_waiting_when_the_process_died_is_drawn_after_the_next_start(store: Store, shelf: Shelf, queue: Queue) -> None:
    died = Queue(store, shelf)
    jobs = [died.submit(order(n=2), client=client) for client in "ab"]
    queue.start()
    assert [ended(queue, job).state for job in jobs] == ["done", "done"]


def test_only_the_pictures_that_are_missing_are_drawn_again(store: Store, shelf: Shelf, queue: Queue) -> None:
    job = Queue(store, shelf).submit(order(n=3), client="a")
    store.begin([job])
    facts: Any = {
        "client": "a",
        "verb": "draw",
        "model": "tiny",
        "prompt": "",
        "negative": "",
        "seed": 5,
        "width": 1,
        "height": 1,
    }
    store.put(Picture(id="mine", job=job, index=1, created=time.time(), path="", **facts), b"drawn before")
    queue.start()
    status = ended(queue, job)
    assert status.pictures[1] == "mine"
    path = queue.picture("mine")
    assert path is not None
    assert path.read_bytes() == b"drawn before"
    drawn = [event.data["index"] for event in told(queue, job) if event.kind == "picture"]
    assert sorted(drawn) == [0, 1, 2]


def test_a_job_during_which_the_process_dies_again_and_again_is_reported_failed(
    store: Store, shelf: Shelf, queue: Queue
) -> None:
    job = Queue(store, shelf).submit(ORDER, client="a")
    for _ in range(MOST_ATTEMPTS):
        store.begin([job])
        store.again(job)
    queue.start()
    status = ended(queue, job)
    assert status.state == "failed"
    assert status.error is not None
    assert "stopped 3 times" in status.error.message


def test_an_order_that_this_version_does_not_know_is_reported_failed(store: Store, shelf: Shelf, queue: Queue) -> None:
    job = Queue(store, shelf).submit(ORDER, client="a")
    with store.writing() as session:
        row = session.get(Job, job)
        assert row is not None
        row.order = {**row.order, "brush": "wide"}
        session.add(row)
    queue.start()
    assert told(queue, job)[-1].data["message"].startswith("was ordered from another version")
    assert [status.order for status in queue.list()] == [ORDER]


def test_a_server_that_is_stopped_leaves_its_jobs_for_the_next(
    store: Store, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = held(monkeypatch)
    first = Queue(store, shelf)
    job = first.submit(order(steps="49"), client="a")
    for _ in range(MOST_ATTEMPTS + 1):
        first.start()
        before = len(steps)
        until(lambda before=before: len(steps) > before)  # type: ignore[misc]
        first.stop(0)
        assert not first.ready
    row = store.job(job)
    assert row is not None
    assert (row.state, row.attempts) == ("queued", 0)


def test_one_that_fails_in_company_fails_alone(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    make = batches.make

    def picky(pipe: Any, tasks: Any, uploads: Any) -> Any:
        if any(task.job.order.prompt == "bad" for task in tasks):
            raise RuntimeError("a secret of the machine")
        return make(pipe, tasks, uploads)

    monkeypatch.setattr(batches, "make", picky)
    good, bad = [queue.submit(order(seed=seed), client="a") for seed in range(2)], queue.submit(order(prompt="bad"), client="b")
    queue.start()
    assert [ended(queue, job).state for job in good] == ["done", "done"]
    failed = ended(queue, bad)
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error.kind == "server_error"
    assert "secret" not in failed.error.message
    assert told(queue, bad)[-1].kind == "failed"


def test_a_disk_that_stumbles_loses_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BREATH", 0.01)
    finish, begin, tries = queue.store.finish, queue.store.begin, []

    def full(*args: Any, **more: Any) -> Any:
        tries.append(args)
        if len(tries) < 4:
            raise OSError(28, "No space left on device")
        return begin(*args, **more)

    def no_end(*args: Any) -> bool:
        if len(tries) < 4:
            raise OSError(28, "No space left on device")
        return finish(*args)

    monkeypatch.setattr(queue.store, "begin", full)
    monkeypatch.setattr(queue.store, "finish", no_end)
    queue.start()
    assert ended(queue, queue.submit(ORDER, client="a")).state == "done"
    assert queue.ready


def test_a_waiting_job_knows_its_place_and_its_time(queue: Queue) -> None:
    jobs = [queue.submit(order(n=2), client="a") for _ in range(3)]
    found = [queue.status(job) for job in jobs]
    assert [status.position for status in found if status] == [0, 1, 2]
    times = [status.eta_s or 0 for status in found if status]
    assert times == sorted(times)
    assert times[0] > 0
    assert [status.id for status in queue.list(limit=2)] == jobs[:0:-1]


def test_replicas_share_what_is_before_a_job(queue: Queue) -> None:
    jobs = [queue.submit(ORDER, client="a") for _ in range(8)]
    alone = [queue.status(job).eta_s for job in jobs]
    queue.maker.places = 4
    assert [queue.status(job).eta_s for job in jobs] == [max(alone[0], eta / 4) for eta in alone]


def test_uploads_reach_the_verbs_that_start_from_them(queue: Queue) -> None:
    queue.start()
    edited = queue.submit(order(verb="edit"), client="a", picture=png(), mask=png(hole=(0, 0, 8, 8), mode="RGBA"))
    others = [
        queue.submit(order(verb="sketch", strength=0.5, n=2), client="a", picture=png()),
        queue.submit(order(verb="outpaint", margins=[4, 0, 0, 0]), client="a", picture=png()),
        queue.submit(order(verb="upscale"), client="a", picture=png()),
    ]
    assert [ended(queue, job).state for job in (edited, *others)] == ["done"] * 4
    with PIL.Image.open(queue.picture(ended(queue, edited).pictures[0]) or "") as picture:
        before = np.asarray(PIL.Image.open(io.BytesIO(png())))
        assert np.array_equal(np.asarray(picture)[8:, 8:], before[8:, 8:])
    assert list(queue.store.inputs.iterdir()) == []


def test_another_size_is_cut_resampled_and_said(queue: Queue) -> None:
    queue.start()
    path = queue.picture(ended(queue, queue.submit(order(width=40, height=20), client="a")).pictures[0])
    assert path is not None
    with PIL.Image.open(path) as picture:
        assert picture.size == (40, 20)
    made = recipe.read(path)
    assert (made.width, made.height, made.extra["resampled"]["from"]) == (40, 20, [16, 16])


def held(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every step takes a little; they are counted."""
    steps: list[object] = []
    make = batches.make

    def slow(pipe: Any, tasks: Any, uploads: Any) -> Any:
        for item in make(pipe, tasks, uploads):
            steps.append(item)
            time.sleep(0.02)
            yield item

    monkeypatch.setattr(batches, "make", slow)
    return steps
