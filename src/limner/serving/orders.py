"""What a client orders, what it hears on the way, and how its job stands: the words the server's parts share.

An Order is everything a worker needs beside the uploaded pictures; it is stored as JSON, so that it survives a restart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError

from limner.config import Frozen, SamplerName
from limner.errors import LimnerError

Verb = Literal["draw", "edit", "sketch", "outpaint", "upscale"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["queued", "started", "progress", "preview", "picture", "done", "failed", "cancelled"]
Margin: TypeAlias = Annotated[int, Field(ge=0, le=4096)]

ENDS: tuple[State, ...] = ("done", "failed", "cancelled")
MOST_PIXELS = 2048  # of a side of a finished picture
FROM_PICTURES: tuple[Verb, ...] = ("edit", "sketch", "outpaint", "upscale")


def _text(given: object) -> object:
    """A number of steps as the text it stands for."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


Steps: TypeAlias = Annotated[str, Field(min_length=1, max_length=100), BeforeValidator(_text, json_schema_input_type=int | str)]


class Order(Frozen):
    """What to make. Settings that are None are the model's own."""

    verb: Verb = "draw"
    model: str = Field(min_length=1, max_length=200)
    prompt: str = ""
    negative: str = ""
    n: int = Field(1, ge=1, le=100)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)  # made definite when the order is accepted
    steps: Steps | None = None
    guidance: float | None = Field(None, ge=0, le=100)
    sampler: SamplerName | None = None
    width: int | None = Field(None, ge=1, le=MOST_PIXELS)  # of the finished picture; None = the model's own
    height: int | None = Field(None, ge=1, le=MOST_PIXELS)
    strength: float | None = Field(None, gt=0, le=1)
    soft: float = Field(0, ge=0, le=1000)  # pixels
    margins: tuple[Margin, Margin, Margin, Margin] | None = None  # left, top, right, bottom
    moderation: Literal["auto", "low"] = "auto"  # how much the server's policy lets pass
    previews: int = Field(0, ge=0, le=3)  # partial pictures wanted on the way
    keep: int = Field(3600, ge=0)  # seconds until the finished pictures are swept; 0 = until somebody deletes them


def understood(tree: Mapping[str, Any]) -> Order:
    """A stored order to be shown: what of it this version of limner does not know is left out."""
    known = {name: value for name, value in tree.items() if name in Order.model_fields}
    try:
        return Order.model_validate(known)
    except ValidationError as error:
        wrong = {problem["loc"][0] for problem in error.errors()}
        return Order.model_validate({"model": "unknown"} | {name: value for name, value in known.items() if name not in wrong})


class Event(NamedTuple):
    """Something that happened to a job.

    `number` grows within a job, over restarts too. A progress has the number of the event before it: it is news, not
    history, and is not told again to one who comes later.
    """

    number: int
    kind: Kind
    data: dict[str, Any]
    # queued: {position}; started: {}; progress: {stage, step, of, eta_s, progress}; preview: {index, number, png (base64)}
    # picture: {index, id, seed, width, height}; done: {pictures: [id]}; failed: {message, code, kind}; cancelled: {}

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.kind in ENDS


class Failure(Frozen):
    """Why a job failed, in the words of an error envelope."""

    message: str
    code: str  # "invalid_value", "drawing_failed", ...
    kind: str  # "invalid_request_error" when another order would do, "server_error" when none would


class Status(Frozen):
    """How a job stands."""

    id: str
    state: State
    order: Order
    client: str
    position: int | None = None  # jobs before it; None when it does not wait
    progress: float = 0.0  # 0 to 1
    eta_s: float | None = None  # seconds until it is done, as far as can be told
    created: float  # seconds since 1970, as all times
    started: float | None = None
    finished: float | None = None
    pictures: tuple[str, ...] = ()  # ids of the finished ones, by index
    error: Failure | None = None


class Full(LimnerError):  # noqa: N818 (as queue.Full)
    """The queue takes nothing more for now."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        self.retry_after = max(1, math.ceil(retry_after))  # seconds
        super().__init__(f"queue: {waiting} jobs are waiting and no more are taken; try again in {self.retry_after} s")
