"""The server against its own description: what schemathesis makes of it is answered as it says. The long run is by hand:
see docs/serving.md."""

from __future__ import annotations

import json
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck

from tests.serving.conftest import Server

EXAMPLES = 3  # of each operation
# Rules between fields and of each model name, and what a file must hold, are said in words: a schema cannot.
UNSAYABLE = [schemathesis.checks.positive_data_acceptance]


@pytest.fixture(scope="module")
def schema(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/images/edits"),
        ("POST", "/v1/images/variations"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{name}"),
        ("GET", "/files/{name}"),
        ("POST", "/jobs"),
        ("GET", "/jobs"),
        ("GET", "/jobs/{job}"),
        ("DELETE", "/jobs/{job}"),
        ("GET", "/jobs/{job}/events"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    ],
)
def test_an_operation_answers_as_it_is_described(schema: Any, method: str, path: str) -> None:
    operation = schema[path][method]

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @hypothesis.given(case=operation.as_strategy())
    def answers(case: Any) -> None:
        case.validate_response(case.call(timeout=60), excluded_checks=UNSAYABLE)

    answers()


def test_every_operation_is_tried(schema: Any) -> None:
    described = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    (mark,) = test_an_operation_answers_as_it_is_described.pytestmark  # type: ignore[attr-defined]
    assert described == set(mark.args[1])


@pytest.mark.parametrize("path", ["/v1/images/generations", "/jobs"])
@pytest.mark.parametrize("field", ["prompt", "steps", "negative_prompt", "\ud800"])
def test_half_a_character_is_refused_wherever_it_stands(server: Server, path: str, field: str) -> None:
    body = json.dumps({"model": "tiny", "prompt": "a fox", "steps": "1"} | {field: "\ud800"})
    answer = httpx.post(f"{server.url}{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
