"""Jobs over HTTP, against a running server of the tiny cascade."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from prometheus_client.parser import text_string_to_metric_families

from limner.serving.keys import KeyFile
from tests.serving.conftest import SIDE, Server, png, running, settings_for

DRAW = {"model": "tiny", "prompt": "a red fox", "seed": 3}
SLOW = {**DRAW, "steps": "49", "n": 100}


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def ordered(http: httpx.Client, **more: object) -> str:
    """The id of an accepted job."""
    answer = http.post("/jobs", json={**DRAW, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def told(http: httpx.Client, job: str, **headers: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """The events of a job up to its end, as (id, kind, data)."""
    found = []
    with http.stream("GET", f"/jobs/{job}/events", headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer:
        for block in "".join(answer.iter_text()).split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    return found


def test_an_order_is_accepted_at_once_and_drawn_later(http: httpx.Client) -> None:
    answer = http.post("/jobs", json={**DRAW, "n": 2})
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job}"
    assert [kind for _, kind, _ in told(http, job) if kind != "progress"] == ["queued", "started", "picture", "picture", "done"]
    found = http.get(f"/jobs/{job}").json()
    assert (found["state"], found["progress"], found["order"]["seed"]) == ("done", 1.0, 3)
    pictures = [PIL.Image.open(io.BytesIO(httpx.get(each["url"]).content)) for each in found["pictures"]]
    assert [picture.size for picture in pictures] == [(SIDE, SIDE)] * 2


def test_numbers_of_steps_and_whole_floats_are_taken_as_they_are_meant(http: httpx.Client) -> None:
    job = ordered(http, steps=3, guidance=2, soft=0, margins=None)
    assert http.get(f"/jobs/{job}").json()["order"]["steps"] == "3"


def test_a_seed_that_was_not_said_is_told(http: httpx.Client) -> None:
    job = http.post("/jobs", json={"model": "tiny", "prompt": "a"}).json()["id"]
    assert isinstance(http.get(f"/jobs/{job}").json()["order"]["seed"], int)


def test_events_are_told_again_after_the_last_that_is_known(http: httpx.Client) -> None:
    job = ordered(http)
    first = [(number, kind) for number, kind, _ in told(http, job) if number is not None]
    assert [number for number, _ in first] == [str(k + 1) for k in range(len(first))]
    again = told(http, job, last_event_id=first[1][0] or "")
    assert [(number, kind) for number, kind, _ in again] == first[2:]


def test_a_stream_that_has_nothing_left_to_tell_says_so(http: httpx.Client) -> None:
    job = ordered(http)
    last = told(http, job)[-1][0]
    assert http.get(f"/jobs/{job}/events", headers={"last-event-id": last or ""}).status_code == 204


def test_previews_are_clean_pictures_on_the_way(http: httpx.Client) -> None:
    previews = [data for _, kind, data in told(http, ordered(http, previews=3)) if kind == "preview"]
    assert [each["number"] for each in previews] == [0, 1, 2]
    assert {PIL.Image.open(io.BytesIO(base64.b64decode(each["png"]))).format for each in previews} == {"PNG"}


def test_a_running_job_is_cancelled_and_keeps_what_is_finished(http: httpx.Client) -> None:
    job = ordered(http, **{k: v for k, v in SLOW.items() if k not in DRAW})
    answer = http.delete(f"/jobs/{job}")
    assert answer.json()["state"] == "cancelled"
    assert told(http, job)[-1][1] == "cancelled"
    assert http.delete(f"/jobs/{job}").json()["state"] == "cancelled"


def test_a_job_that_has_ended_is_not_cancelled(http: httpx.Client) -> None:
    job = ordered(http)
    told(http, job)
    assert http.delete(f"/jobs/{job}").json()["state"] == "done"


def test_pictures_to_start_from_travel_in_a_form(http: httpx.Client) -> None:
    order = {**DRAW, "verb": "edit", "strength": 0.5}
    files = {"picture": png(), "mask": png(hole=(0, 0, 8, 8), mode="RGBA")}
    answer = http.post("/jobs", data={"order": json.dumps(order)}, files=files)
    assert answer.status_code == 202, answer.text
    assert told(http, answer.json()["id"])[-1][1] == "done"


@pytest.mark.parametrize(
    ("order", "param", "code"),
    [
        ({"modle": "tiny"}, "modle", "unknown_parameter"),
        ({"prompt": "a"}, "model", "missing_required_parameter"),
        ({**DRAW, "n": 0}, "n", "invalid_value"),
        ({**DRAW, "n": "2"}, "n", "invalid_type"),
        ({**DRAW, "n": True}, "n", "invalid_type"),
        ({**DRAW, "steps": True}, "steps", "invalid_type"),
        ({**DRAW, "seed": 2**63}, "seed", "invalid_value"),
        ({**DRAW, "verb": "sing"}, "verb", "invalid_value"),
        ({**DRAW, "width": 5000}, "width", "invalid_value"),
        ({**DRAW, "steps": "many"}, "steps", "invalid_value"),
        ({**DRAW, "prompt": "a\x00b"}, "prompt", "invalid_value"),
        ({**DRAW, "verb": "sketch"}, "picture", "invalid_value"),
        ({**DRAW, "margins": [1, 2, 3]}, "margins", "missing_required_parameter"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_at_once(http: httpx.Client, order: object, param: str, code: str) -> None:
    found = error(http.post("/jobs", json=order), 400)
    assert (found["param"], found["code"]) == (param, code)


def test_a_model_that_is_not_served_is_not_found(http: httpx.Client) -> None:
    assert error(http.post("/jobs", json={**DRAW, "model": "../../etc"}), 404)["code"] == "model_not_found"


@pytest.mark.parametrize("form", [{"data": {"order": "{"}}, {"data": {"order": "[]"}}, {"data": {"other": "{}"}}, {"data": {}}])
def test_a_form_without_a_proper_order_is_refused(http: httpx.Client, form: dict[str, Any]) -> None:
    error(http.post("/jobs", files={"picture": png()}, **form), 400)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("job", ["0" * 32, "..%2f..%2fetc", "%00"])
def test_a_job_that_never_was_is_not_found(http: httpx.Client, method: str, job: str) -> None:
    error(http.request(method, f"/jobs/{job}"), 404)


@pytest.mark.parametrize("number", ["-1", "x", "9" * 30, "1.5"])
def test_a_last_event_that_is_no_number_is_refused(http: httpx.Client, number: str) -> None:
    error(http.get(f"/jobs/{ordered(http)}/events", headers={"last-event-id": number}), 400)


def test_jobs_are_listed_newest_first_and_by_state(http: httpx.Client) -> None:
    jobs = [ordered(http) for _ in range(2)]
    told(http, jobs[1])
    assert [each["id"] for each in http.get("/jobs?limit=2").json()["data"]] == jobs[::-1]
    assert {each["state"] for each in http.get("/jobs?state=done").json()["data"]} == {"done"}
    error(http.get("/jobs?state=sleeping"), 400)


def test_the_server_says_that_it_lives_and_is_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}


def test_metrics_are_read_by_prometheus(http: httpx.Client) -> None:
    told(http, ordered(http))
    found = {family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)}
    assert {
        "limner_queue_length",
        "limner_jobs",
        "limner_batch_pictures",
        "limner_stage_seconds",
        "limner_memory_bytes",
    } <= set(found)
    done = [sample.value for sample in found["limner_jobs"].samples if sample.labels == {"state": "done"}]
    assert done[0] >= 1


def test_where_keys_are_required_another_clients_job_is_not_there(tiny: Path, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    mine, other = (keys.add(label)[1] for label in ("a", "b"))
    keys.close()
    with running(settings_for(tiny, tmp_path, keys_required=True)) as server:
        owner, stranger = (
            httpx.Client(base_url=server.url, timeout=60, headers={"authorization": f"Bearer {key}"}) for key in (mine, other)
        )
        with owner, stranger:
            job = ordered(owner)
            told(owner, job)
            for answer in (stranger.get(f"/jobs/{job}"), stranger.delete(f"/jobs/{job}"), stranger.get(f"/jobs/{job}/events")):
                error(answer, 404)
            assert stranger.get("/jobs").json()["data"] == []
            assert [each["id"] for each in owner.get("/jobs").json()["data"]] == [job]
            assert httpx.get(f"{server.url}/metrics").status_code == 401
            assert httpx.get(f"{server.url}/readyz").status_code == 200
