"""From the page's fields to an order."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from limner.errors import ConfigError, InputError
from limner.studio import asking
from limner.studio.desk import Desk
from tests.studio.conftest import asked


def test_what_stands_at_the_models_own_value_is_left_to_the_model(desk: Desk) -> None:
    made = asking.order(asked(), desk.offer("tiny"), 7)
    assert (made.steps, made.guidance, made.sampler, made.width, made.seed, made.keep) == (None, None, None, None, 7, 0)


def test_what_was_changed_is_ordered(desk: Desk) -> None:
    made = asking.order(asked(steps=9, guidance=1.5, sampler="ddpm", size=64, n=3), desk.offer("tiny"), 7)
    assert (made.steps, made.guidance, made.sampler, made.width, made.height, made.n) == ("9", 1.5, "ddpm", 64, 64, 3)


def test_a_setting_that_does_not_fit_is_named(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="sampler"):
        asking.order(asked(sampler="magic"), desk.offer("tiny"), 7)


def test_a_kept_seed_is_taken_and_another_is_new() -> None:
    assert asking.seed_of(asked(seed=7, lock=True)) == 7
    assert len({asking.seed_of(asked(seed=7, lock=False)) for _ in range(4)}) > 1


def test_a_refusal_becomes_a_toast_that_shows_its_text_as_it_is() -> None:
    with pytest.raises(gr.Error) as caught, asking.toasts():
        raise InputError("mask: <b> is no box")
    assert caught.value.message == "mask: &lt;b&gt; is no box"


def test_what_nobody_can_cause_is_no_toast() -> None:
    with pytest.raises(ZeroDivisionError), asking.toasts():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"n": None}, "pictures: the field is empty"),
        ({"steps": None}, "steps: the field is empty"),
        ({"guidance": None}, "guidance: the field is empty"),
        ({"steps": 2.5}, "steps: 2.5 is no whole number"),
    ],
)
def test_a_field_that_was_emptied_is_named(desk: Desk, fields: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        asking.order(asked(**fields), desk.offer("tiny"), 7)
