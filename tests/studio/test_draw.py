"""The draw tab's orders."""

from __future__ import annotations

import pytest

from limner.errors import CheckpointError
from limner.studio import draw
from limner.studio.desk import Desk
from tests.studio.conftest import asked


def test_drawing_orders_and_keeps_the_job(desk: Desk) -> None:
    first, seed = draw.submit(desk, asked(), [])
    both, _ = draw.submit(desk, asked(prompt="a house"), first)
    assert seed == 5
    assert both[0] == first[0]
    assert [status.order.prompt for status in desk.queue.list()] == ["a house", "a red fox"]


def test_a_model_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(CheckpointError, match="nobody"):
        draw.submit(desk, asked(model="nobody"), [])
