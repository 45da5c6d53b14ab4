"""What a client is told of a failure."""

from __future__ import annotations

import pytest

from limner.errors import CheckpointError, ConfigError, InputError, MemoryLimitError, UnsupportedError
from limner.serving.worker import failure


@pytest.mark.parametrize("error", [InputError("x: no"), ConfigError("x: no"), UnsupportedError("x: no")])
def test_what_another_order_could_avoid_is_the_requests_fault(error: Exception) -> None:
    assert failure(error).model_dump() == {"message": "x: no", "code": "invalid_value", "kind": "invalid_request_error"}


@pytest.mark.parametrize("error", [CheckpointError("x: no"), MemoryLimitError("x: no")])
def test_what_the_server_lacks_is_its_own_fault(error: Exception) -> None:
    assert failure(error).model_dump() == {"message": "x: no", "code": "drawing_failed", "kind": "server_error"}


@pytest.mark.parametrize("error", [RuntimeError("/root/secret"), OSError(28, "/root/secret"), KeyError("/root/secret")])
def test_nothing_of_the_inside_is_told(error: Exception) -> None:
    told = failure(error)
    assert "secret" not in told.message
    assert told.kind == "server_error"
