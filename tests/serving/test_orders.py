"""Orders are checked where they are written down."""

from __future__ import annotations

import pydantic
import pytest

from limner.serving.orders import Event, Full, Order, understood


@pytest.mark.parametrize(
    "given",
    [
        {"model": ""},
        {"model": "a" * 201},
        {"model": "m", "n": 0},
        {"model": "m", "n": 101},
        {"model": "m", "seed": 2**63},
        {"model": "m", "guidance": float("nan")},
        {"model": "m", "guidance": -1},
        {"model": "m", "strength": 0},
        {"model": "m", "strength": 1.01},
        {"model": "m", "soft": float("inf")},
        {"model": "m", "width": 2049},
        {"model": "m", "margins": (0, 0, 0, -1)},
        {"model": "m", "previews": 4},
        {"model": "m", "keep": -1},
        {"model": "m", "sampler": "plms"},
        {"model": "m", "other": 1},
    ],
)
def test_an_order_that_no_model_could_fulfil_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Order.model_validate(given)


def test_an_order_survives_being_written_as_json() -> None:
    order = Order(model="m", prompt="\U0001f98a", seed=-(2**63), margins=(1, 2, 3, 4), steps="fast27", soft=1.5)
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert Order.model_validate(order.model_dump(mode="json")) == order


def test_steps_may_be_a_number() -> None:
    assert Order.model_validate({"model": "m", "steps": 27}).steps == "27"


@pytest.mark.parametrize("more", [{"brush": "wide"}, {"n": "many"}, {"model": "", "prompt": "a fox"}])
def test_of_an_order_of_another_version_what_is_known_is_shown(more: dict[str, object]) -> None:
    assert understood({"model": "m", "prompt": "a fox", **more}).prompt == "a fox"


@pytest.mark.parametrize(("seconds", "told"), [(0.2, 1), (1.0, 1), (1.1, 2)])
def test_a_full_queue_says_whole_seconds(seconds: float, told: int) -> None:
    assert Full(3, seconds).retry_after == told


def test_nothing_comes_after_an_end() -> None:
    assert [Event(1, kind, {}).last for kind in ("done", "failed", "cancelled")] == [True] * 3
    assert not Event(1, "picture", {}).last
