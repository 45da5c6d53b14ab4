"""Every failure has one shape, and says whether it is worth trying again."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, Field, ValidationError

from limner.errors import CheckpointError, ConfigError, InputError, LimnerError, MemoryLimitError, UnsupportedError
from limner.serving import envelopes
from limner.serving.envelopes import ApiError
from limner.serving.orders import Full


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (InputError("size: too large"), 400, "invalid_value", "size"),
        (ConfigError("somewhere: too large"), 400, "invalid_value", None),
        (UnsupportedError("no such verb"), 400, "unsupported", "model"),
        (Full(3, 7.2), 429, "rate_limit_exceeded", None),
        (MemoryLimitError("too little"), 500, "out_of_memory", None),
        (CheckpointError("weights are broken"), 500, "model_unusable", None),
        (LimnerError("something"), 500, None, None),
    ],
)
def test_limners_own_errors_have_their_status(error: LimnerError, status: int, code: str | None, param: str | None) -> None:
    found = envelopes.of_limner(error)
    assert (found.status, found.code, found.param, found.message) == (status, code, param, str(error))


def test_what_would_fail_again_is_not_to_be_sent_again() -> None:
    assert envelopes.of_limner(MemoryLimitError("too little")).headers["x-should-retry"] == "false"


def test_a_full_queue_says_when_to_come_again_and_a_busy_server_too() -> None:
    assert envelopes.of_limner(Full(3, 7.2)).headers == {"retry-after": "8"}
    assert envelopes.busy("later", 0.2, status=503).headers == {"retry-after": "1"}
    assert envelopes.busy("later", 0.2, status=503).code == "server_overloaded"


def test_no_character_breaks_an_envelope() -> None:
    answer = envelopes.answer(ApiError(400, "lone \ud800 and \x00", param="\udfff"))
    assert json.loads(bytes(answer.body))["error"]["message"] == "lone \ud800 and \x00"


def test_a_message_is_bounded() -> None:
    assert len(ApiError(400, "x" * 10_000).body["error"]["message"]) == 2000


class Body(BaseModel):
    """Something to validate."""

    n: int
    name: str = Field("", max_length=10)
    model_config = {"extra": "forbid"}


@pytest.mark.parametrize(
    ("tree", "code", "param"),
    [
        ({}, "missing_required_parameter", "n"),
        ({"n": "x"}, "invalid_type", "n"),
        ({"n": 1, "name": 3}, "invalid_type", "name"),
        ({"n": 1, "name": "\ud800"}, "invalid_type", "name"),
        ({"n": 1, "m": 3}, "unknown_parameter", "m"),
    ],
)
def test_what_pydantic_finds_has_a_code_and_a_field(tree: dict[str, object], code: str, param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(tree)
    found = envelopes.of_validation(caught.value.errors())
    assert (found.status, found.code, found.param) == (400, code, param)
