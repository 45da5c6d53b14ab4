"""From tasks to pictures."""

from __future__ import annotations

import base64
import io
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import limner
from limner import Pipe
from limner.serving import batches
from limner.serving.batches import Made, Stepped, Uploads
from limner.serving.line import Task, Waiting
from limner.serving.orders import Order
from tests.serving.conftest import png


@pytest.fixture(scope="module")
def pipe(tiny: Path) -> Pipe:
    loaded: Pipe = limner.load(tiny, device="cpu", dtype="float32")
    return loaded


def task(number: int = 0, **more: Any) -> Task:
    order = Order.model_validate({"model": "tiny", "prompt": "a fox", "seed": 1, "n": 9, **more})
    return Task(Waiting("job", "a", order, deque()), number)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"verb": "upscale"},
        {"verb": "sketch", "strength": 0.5},
        {"verb": "edit"},
        {"verb": "outpaint", "margins": (0, 0, 4, 0)},
    ],
)
def test_the_share_that_is_done_grows_to_the_whole(pipe: Pipe, more: dict[str, Any]) -> None:
    uploads = Uploads(png(), png(hole=(0, 0, 8, 8), mode="RGBA"))
    items = list(batches.make(pipe, [task(**more)], uploads))
    shares = [item.share for item in items if isinstance(item, Stepped)]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1
    assert isinstance(items[-1], Made)


def test_pictures_come_in_the_order_of_their_tasks(pipe: Pipe) -> None:
    tasks = [task(number) for number in (4, 0, 2)]
    made = [item for item in batches.make(pipe, tasks, Uploads()) if isinstance(item, Made)]
    assert [(item.task.number, item.image.recipe.index) for item in made] == [(4, 4), (0, 0), (2, 2)]


@pytest.mark.parametrize(
    ("wanted", "size"), [({"width": 32}, (32, 16)), ({"height": 4}, (16, 4)), ({"width": 16}, (16, 16)), ({}, (16, 16))]
)
def test_a_size_that_is_said_in_part_keeps_the_rest(pipe: Pipe, wanted: dict[str, int], size: tuple[int, int]) -> None:
    image = pipe("a fox", seed=1)[0]
    found = batches.sized(image, Order.model_validate({"model": "tiny", **wanted}))
    assert found.picture.size == size
    assert ("resampled" in found.recipe.extra) == (size != (16, 16))


def test_a_preview_is_a_picture_whatever_the_network_sees() -> None:
    seen = torch.full((3, 8, 8), float("nan"))
    seen[:, :4] = 5.0
    with PIL.Image.open(io.BytesIO(base64.b64decode(batches.preview(seen)))) as picture:
        assert (picture.format, picture.size) == ("PNG", (8, 8))
        assert np.asarray(picture)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
@pytest.mark.parametrize("steps", [1, 3, 4, 20])
def test_previews_lie_evenly_on_the_way_and_none_comes_twice(wanted: int, steps: int) -> None:
    shares = [k / steps for k in range(steps + 1)]
    found = [batches.due(before, now, wanted) for before, now in pairwise(shares)]
    numbers = [number for number in found if number is not None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= wanted
    if steps > wanted:
        assert numbers == list(range(wanted))
