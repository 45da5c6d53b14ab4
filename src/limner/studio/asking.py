"""From what stands in the page's fields to an order for the queue; a refusal becomes a line for a toast."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr

from limner.config import parse
from limner.errors import InputError, LimnerError
from limner.serving.orders import Order
from limner.studio.desk import Offer

SEEDS = 2**32  # random seeds are drawn below this, so that a person can copy one
PREVIEWS = 3
OWN = "the model's own"
MOST = 8  # pictures at once


class Asked(NamedTuple):
    """The fields that draw, edit and sketch share, in the order in which the page hands them over."""

    prompt: str
    negative: str
    model: str
    n: float
    seed: float | None
    lock: bool
    steps: float
    guidance: float
    sampler: str
    size: int | None = None


def new_seed() -> int:
    """A random seed that a person can copy."""
    return secrets.randbelow(SEEDS)


def seed_of(asked: Asked) -> int:
    """The seed that is kept, or a new one."""
    return int(asked.seed) if asked.lock and asked.seed is not None else new_seed()


def order(asked: Asked, offer: Offer, seed: int, **more: Any) -> Order:
    """An order as the fields say; what stands at the model's own value is left to the model.

    Raises: ConfigError naming the setting that does not fit; InputError for a field that was left empty.
    """
    own, steps, guidance = offer.own, _whole("steps", asked.steps), _number("guidance", asked.guidance)
    tree: dict[str, Any] = {
        "model": asked.model,
        "prompt": asked.prompt.strip(),
        "negative": asked.negative.strip(),
        "n": _whole("pictures", asked.n),
        "seed": seed,
        "steps": None if steps == offer.steps else str(steps),
        "guidance": None if abs(guidance - own.guidance) < 1e-6 else guidance,
        "sampler": None if asked.sampler in (OWN, own.sampler) else asked.sampler,
        "previews": PREVIEWS,
        "keep": 0,  # the history is the person's own; nothing of it is swept
    }
    if asked.size is not None and int(asked.size) != offer.facts.side:
        tree["width"] = tree["height"] = int(asked.size)
    return parse(Order, tree | more, where="studio")


def _number(field: str, value: float | None) -> float:
    if value is None:
        raise InputError(f"{field}: the field is empty; write a number")
    return value


def _whole(field: str, value: float | None) -> int:
    number = _number(field, value)
    if number != int(number):
        raise InputError(f"{field}: {number:g} is no whole number; write one")
    return int(number)


@contextlib.contextmanager
def toasts() -> Iterator[None]:
    """What a person can cause is shown in the page as one line; nothing else is."""
    try:
        yield
    except LimnerError as error:
        raise gr.Error(plain(str(error)), title="That does not work", print_exception=False) from None


def plain(text: str) -> str:
    """A text that a toast shows as it is: toasts read HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
