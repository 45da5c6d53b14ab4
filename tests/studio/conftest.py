"""The studio's parts around the tiny cascade; gradio is imported once, with its own warnings left aside."""

from __future__ import annotations

import gc
import io
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of gradio's imports
    pytest.importorskip("gradio", reason="the studio needs the extra 'studio'")
    import limner.studio.page  # noqa: F401

    gc.collect()  # an event loop that gradio leaves open says so when it is collected

from limner.serving.orders import Order
from limner.serving.queue import Queue
from limner.serving.shelf import Shelf
from limner.serving.store import Picture, Store, new_id
from limner.studio.asking import OWN, Asked
from limner.studio.desk import Desk


@pytest.fixture(scope="session")
def shelf(tiny: Path) -> Shelf:
    return Shelf(models=[tiny], device="cpu", dtype="float32")


@pytest.fixture
def desk(tmp_path: Path, shelf: Shelf) -> Iterator[Desk]:
    """A desk whose queue does not draw yet."""
    store = Store(tmp_path / "data")
    queue = Queue(store, shelf, bound=20, batch=4)
    yield Desk(queue, store, shelf)
    queue.stop(5)
    store.close()


def asked(**more: Any) -> Asked:
    """The fields as they stand when somebody has typed a prompt."""
    fields = Asked("a red fox", "", "tiny", 1, 5, True, 4, 2.0, OWN)
    return fields._replace(**more)


def drawn(desk: Desk, **more: Any) -> Picture:
    """A picture drawn by the tiny cascade; the queue is started for it."""
    order = Order(model="tiny", prompt="a red fox", seed=5, keep=0).model_copy(update=more)
    job = desk.queue.submit(order, client="studio")
    desk.queue.start()
    end = time.monotonic() + 60
    while not desk.store.drawn(job):
        assert time.monotonic() < end, f"nothing was drawn: {desk.queue.status(job)}"
        time.sleep(0.01)
    return desk.store.drawn(job)[0]


def noted(desk: Desk, prompt: str, *, created: float | None = None, **more: Any) -> Picture:
    """A picture in the gallery that nothing has drawn: a row and a small file."""
    name = new_id()
    made = time.time() if created is None else created
    facts = {"job": new_id(), "index": 0, "client": "studio", "verb": "draw", "model": "tiny", "negative": "", "seed": 1}
    row = Picture(id=name, prompt=prompt, width=8, height=8, created=made, path=f"{name}.png", **{**facts, **more})
    (desk.store.pictures / row.path).write_bytes(png())
    with desk.store.writing() as session:
        session.add(row)
    return row


def png(colour: str = "red", size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()
