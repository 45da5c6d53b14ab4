"""What survives: jobs, events and pictures on the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import limner.serving.store
from limner.errors import LimnerError
from limner.serving.orders import Failure, Order
from limner.serving.store import KEPT, PREVIEWS, UNDO, Picture, Store, new_id

ORDER = Order(model="tiny", prompt="a red fox", n=2, seed=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "data")
    yield found
    found.close()


def accepted(store: Store, order: Order = ORDER, **more: Any) -> str:
    job = new_id()
    store.add(job, order, client="a", picture=more.get("picture"), mask=more.get("mask"))
    return job


def picture(job: str, index: int = 0, **more: Any) -> Picture:
    facts = {"client": "a", "verb": "draw", "model": "tiny", "prompt": "p", "negative": "", "seed": 1, "width": 8, "height": 8}
    return Picture(id=new_id(), job=job, index=index, created=time.time(), path="", **{**facts, **more})


def test_a_job_is_there_after_the_store_was_opened_again(store: Store) -> None:
    job = accepted(store)
    again = Store(store.data)
    assert [row.id for row in again.unfinished()] == [job]
    assert Order.model_validate(again.unfinished()[0].order) == ORDER
    again.close()


def test_the_last_picture_ends_its_job_in_the_same_transaction(store: Store) -> None:
    job = accepted(store)
    store.begin([job])
    assert store.put(picture(job, 0), b"one")
    assert store.counts() == {"running": 1}
    assert store.put(picture(job, 1), b"two")
    assert store.counts() == {"done": 1}
    assert [event.kind for event in store.events(job)] == ["queued", "started", "picture", "picture", "done"]
    assert store.events(job)[-1].data["pictures"] == [each.id for each in store.drawn(job)]


def test_a_picture_is_not_kept_twice(store: Store) -> None:
    job = accepted(store)
    assert store.put(picture(job), b"one")
    assert not store.put(picture(job), b"two")
    assert [file.read_bytes() for file in store.pictures.iterdir()] == [b"one"]


def test_a_picture_of_a_job_that_has_ended_leaves_no_file(store: Store) -> None:
    job = accepted(store)
    store.finish(job, "cancelled")
    assert not store.put(picture(job), b"late")
    assert list(store.pictures.iterdir()) == []


def test_a_job_ends_once(store: Store) -> None:
    job = accepted(store)
    failure = Failure(message="no", code="drawing_failed", kind="server_error")
    assert store.finish(job, "failed", failure)
    assert not store.finish(job, "cancelled")
    row = store.job(job)
    assert row is not None
    assert row.error == failure.model_dump()
    assert store.events(job)[-1].kind == "failed"


def test_what_a_killed_server_left_half_written_is_removed(store: Store) -> None:
    job = accepted(store, picture=b"upload")
    kept = picture(job)
    store.put(kept, b"one")
    (store.pictures / "half.png.part").write_bytes(b"")
    (store.pictures / "unknown.png").write_bytes(b"whole, but nobody was told")
    (store.inputs / "of-nobody").write_bytes(b"")
    assert store.sweep_leftovers() == 3
    assert [file.name for file in store.pictures.iterdir()] == [kept.path]
    assert [file.read_bytes() for file in store.inputs.iterdir()] == [b"upload"]


def test_uploads_are_gone_when_their_job_has_ended(store: Store) -> None:
    job = accepted(store, picture=b"picture", mask=b"mask")
    row = store.job(job)
    assert row is not None
    assert (store.input(row.picture), store.input(row.mask)) == (b"picture", b"mask")
    store.finish(job, "cancelled")
    assert list(store.inputs.iterdir()) == []


def test_pictures_are_swept_when_their_time_is_over_but_favourites_stay(store: Store) -> None:
    job = accepted(store)
    now = time.time()
    old, liked = picture(job, 0, expires=now + 10), picture(job, 1, expires=now + 10, favourite=True)
    store.put(old, b"old")
    store.put(liked, b"liked")
    assert store.sweep(now) == 0
    assert store.sweep(now + 20) == 1
    assert [each.id for each in store.drawn(job)] == [liked.id]
    assert [file.name for file in store.pictures.iterdir()] == [liked.path]


def test_a_deleted_picture_is_not_served_and_goes_after_a_day(store: Store) -> None:
    job = accepted(store)
    gone = picture(job)
    store.put(gone, b"x")
    assert store.picture(gone.id) is not None
    with store.writing() as session:
        gone.deleted = time.time()
        session.add(gone)
    assert store.picture(gone.id) is None
    assert store.sweep(time.time() + UNDO - 60) == 0
    assert store.sweep(time.time() + UNDO + 60) == 1


def test_a_picture_is_not_served_after_its_time(store: Store) -> None:
    over = picture(accepted(store), expires=time.time() - 1)
    store.put(over, b"x")
    assert store.picture(over.id) is None
    assert store.picture("../limner.sqlite") is None


@pytest.mark.parametrize(("keep", "seconds"), [(100, 100), (0, KEPT)])
def test_ended_jobs_are_forgotten_after_a_time(store: Store, keep: int, seconds: int) -> None:
    ended, waits = (accepted(store, ORDER.model_copy(update={"keep": keep})) for _ in range(2))
    store.finish(ended, "cancelled")
    store.sweep(time.time() + seconds - 10)
    assert store.job(ended) is not None
    store.sweep(time.time() + seconds + 10)
    assert (store.job(ended), store.events(ended)) == (None, [])
    assert store.job(waits) is not None


def test_previews_go_soon_after_their_job_has_ended(store: Store) -> None:
    job = accepted(store)
    store.tell(job, "preview", {"png": "x"})
    store.sweep(time.time() + PREVIEWS + 10)
    assert [event.kind for event in store.events(job)] == ["queued", "preview"]
    store.finish(job, "cancelled")
    store.sweep(time.time() + PREVIEWS + 10)
    assert [event.kind for event in store.events(job)] == ["queued", "cancelled"]


def test_events_are_numbered_within_their_job(store: Store) -> None:
    first, second = accepted(store), accepted(store)
    store.tell(first, "preview", {"png": ""})
    store.tell(second, "preview", {"png": ""})
    assert [event.number for event in store.events(first)] == [1, 2]
    assert [event.number for event in store.events(second, after=1)] == [2]
    assert store.last_event(first) == 2
    assert store.last_event("nobody") == 0


def test_jobs_are_found_by_client_and_state(store: Store) -> None:
    jobs = [accepted(store) for _ in range(3)]
    store.finish(jobs[1], "cancelled")
    assert [row.id for row in store.jobs(client="a", limit=2)] == jobs[:0:-1]
    assert [row.id for row in store.jobs(states=("cancelled",))] == [jobs[1]]
    assert store.jobs(client="b") == []


def test_only_one_process_draws_for_a_folder(store: Store) -> None:
    store.claim()
    store.claim()
    other = Store(store.data)
    with pytest.raises(LimnerError, match="another server draws for this folder"):
        other.claim()
    store.close()
    other.claim()
    other.close()


def test_starting_again_counts_attempts_until_a_picture_is_made(store: Store) -> None:
    job = accepted(store)
    for count in (1, 2):
        store.begin([job])
        store.begin([job])
        row = store.job(job)
        assert row is not None
        assert row.attempts == count
        store.again(job)
    store.begin([job])
    store.again(job, forgiven=True)
    row = store.job(job)
    assert row is not None
    assert (row.attempts, row.state) == (2, "queued")
    store.put(picture(job), b"x")
    row = store.job(job)
    assert row is not None
    assert row.attempts == 0


def test_the_store_says_whether_it_answers(store: Store) -> None:
    assert store.answers()
    (store.data / "limner.sqlite").unlink()
    store.engine.dispose()
    assert not store.answers()


def test_prompts_and_seeds_of_any_kind_come_back(store: Store) -> None:
    order = Order(model="tiny", prompt="'; DROP TABLE job; -- \u202e\U0001f98a", seed=-(2**63))
    row = store.job(accepted(store, order))
    assert row is not None
    assert Order.model_validate(row.order) == order


def test_a_full_disk_refuses_an_order_in_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(limner.serving.store, "_write", full)
    with pytest.raises(LimnerError, match=r"does not take the order \(No space left on device\)"):
        accepted(store, picture=b"x")
    assert store.counts() == {}


def test_tables_that_cannot_be_written_refuse_an_order_in_one_line(store: Store) -> None:
    with store.engine.connect() as held:
        held.exec_driver_sql("PRAGMA max_page_count=1")  # as on a full disk; it holds for the connection that comes next
    with pytest.raises(LimnerError, match=r"does not take the order \(database or disk is full\)"):
        accepted(store, Order(model="tiny", prompt="long" * 100_000))
