"""The official client, unmodified, over HTTP: what cannot be done is said so that it can be understood, and not tried again."""

from __future__ import annotations

import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from limner.serving.orders import Order
from tests.serving.conftest import Server, running, settings_for

LONG: dict[str, Any] = {"model": "tiny", "prompt": "a fox", "n": 10, "steps": 50}  # keeps the worker busy for a while


@pytest.fixture
def serve(tiny: Path, tmp_path: Path) -> Iterator[Any]:
    """Another server with other settings."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(running(settings_for(tiny, tmp_path / "data", **more)))


def posted(server: Server, body: Any, path: str = "/v1/images/generations", kind: str = "application/json") -> tuple[int, Any]:
    """The status and the body of an answer to something no client would send."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, {"content-type": kind})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


def refused(url: str) -> tuple[int, str]:
    """The status and the code of what a link is answered."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    with caught.value as error:
        return error.code, json.load(error)["error"]["code"]


@pytest.mark.parametrize(
    ("given", "code", "param", "message"),
    [
        ({"n": 11}, "invalid_value", "n", "less than or equal to 10"),
        ({"n": "2"}, "invalid_type", "n", "valid integer"),
        ({"size": "100x"}, "invalid_value", "size", "auto or WIDTHxHEIGHT"),
        ({"size": "4096x4096"}, "invalid_value", "size", "16 to 2048"),
        ({"size": "16x16\n"}, "invalid_value", "size", "^Error.*'size': write auto"),
        ({"prompt": "x" * 32_001}, "string_above_max_length", "prompt", "at most 32000"),
        ({"prompt": ""}, "invalid_value", "prompt", "at least 1 character"),
        ({"prompt": 7}, "invalid_type", "prompt", "valid string"),
        ({"response_format": "gif"}, "invalid_value", "response_format", "'url' or 'b64_json'"),
        ({"output_format": "svg"}, "invalid_value", "output_format", "'png', 'jpeg' or 'webp'"),
        ({"background": "transparent"}, "invalid_value", "background", "opaque"),
        ({"output_compression": 50}, "invalid_value", "output_compression", "jpeg or webp"),
        ({"partial_images": 2}, "invalid_value", "partial_images", "needs stream"),
        ({"extra_body": {"step": 3}}, "unknown_parameter", "step", "Did you mean 'steps'"),
        ({"extra_body": {"colour": "red"}}, "unknown_parameter", "colour", "Unknown parameter: 'colour'"),
        ({"extra_body": {"strength": 0.5}}, "unknown_parameter", "strength", "belongs to edits"),
        ({"extra_body": {"sampler": "best"}}, "invalid_value", "sampler", "ddpm"),
        ({"extra_body": {"steps": "many"}}, "invalid_value", "steps", "many"),
        ({"extra_body": {"steps": 10_000}}, "invalid_value", "steps", "10000"),
        ({"extra_body": {"steps": ""}}, "invalid_value", "steps", "1 to 100 characters"),
        ({"extra_body": {"seed": 1.5}}, "invalid_type", "seed", "integer"),
        ({"extra_body": {"guidance": -1}}, "invalid_value", "guidance", "greater than or equal to 0"),
        ({"extra_body": {"guidance": 2, "guidance_scale": 3}}, "invalid_value", "guidance_scale", "one setting"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(
    client: openai.OpenAI, given: dict[str, Any], code: str, param: str, message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.images.generate(**{"model": "tiny", "prompt": "a fox", **given})
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"model": "dall-e-2", "style": "vivid"}, "unknown_parameter", "style"),
        ({"model": "dall-e-2", "size": "1792x1024"}, "invalid_value", "size"),
        ({"model": "dall-e-2", "prompt": "x" * 1001}, "string_above_max_length", "prompt"),
        ({"model": "dall-e-2", "quality": "hd"}, "invalid_value", "quality"),
        ({"model": "dall-e-3", "n": 2}, "invalid_value", "n"),
        ({"model": "dall-e-3", "size": "256x256"}, "invalid_value", "size"),
        ({"model": "gpt-image-1", "response_format": "url"}, "unknown_parameter", "response_format"),
        ({"model": "gpt-image-1", "style": "vivid"}, "unknown_parameter", "style"),
        ({"model": "gpt-image-1", "size": "512x512"}, "invalid_value", "size"),
        ({"model": "gpt-image-1", "extra_body": {"complexity": "low"}}, "unknown_parameter", "complexity"),
    ],
)
def test_each_of_openais_names_keeps_its_rules(client: openai.OpenAI, given: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**{"prompt": "a fox", **given})
    assert (caught.value.code, caught.value.param) == (code, param)


def test_an_unknown_model_names_those_there_are(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"'glide-emojy' does not exist here. Have: .*tiny.*dall-e-2") as caught:
        client.images.generate(model="glide-emojy", prompt="a fox")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("name", ["../tiny", "/etc/passwd", "tiny/", "tiny\0", ""])
def test_a_path_is_no_model(client: openai.OpenAI, name: str) -> None:
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        client.images.generate(model=name or " ", prompt="a fox")


def test_a_missing_field_is_named(server: Server) -> None:
    status, error = posted(server, {"model": "tiny"})
    assert (status, error["code"], error["param"]) == (400, "missing_required_parameter", "prompt")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"fox"', b"\xff\xfe", b"[" * 100_000, b'{"prompt": "\\ud800"}', b'{"\\udfff": 1}'),
        *(b'{"prompt": NaN}', b'{"model": "tiny", "prompt": "a fox", "svg": {"model": -Infinity}}'),
    ],
)
def test_a_body_that_is_no_request_is_a_400(server: Server, body: bytes) -> None:
    status, error = posted(server, body)
    assert status == 400
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits"])
def test_a_body_of_another_kind_is_refused(server: Server, path: str) -> None:
    status, error = posted(server, b"prompt=fox", path, "text/plain")
    assert (status, error["code"]) == (415, "unsupported_media_type")


def test_a_form_that_is_broken_is_a_400(server: Server) -> None:
    for kind, code in (("; boundary=x", "missing_required_parameter"), ("", "invalid_form")):
        status, error = posted(server, b"--x\r\nnonsense", "/v1/images/edits", f"multipart/form-data{kind}")
        assert (status, error["code"]) == (400, code)


def test_an_address_that_is_none_gets_an_envelope(server: Server, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="POST /v1/images/paintings"):
        client.post("/images/paintings", body={}, cast_to=object)
    with pytest.raises(openai.APIStatusError) as caught:
        client.get("/images/generations", cast_to=object)
    assert (caught.value.status_code, caught.value.code) == (405, "method_not_allowed")


def test_without_a_good_key_nobody_passes_where_keys_are_required(serve: Any) -> None:
    server = serve(keys_required=True)
    _, token = server.serving.keys.add("a friend")
    with server.client() as client, pytest.raises(openai.AuthenticationError) as caught:
        client.images.generate(model="tiny", prompt="a fox")
    assert caught.value.code == "invalid_api_key"
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=token) as client:
        assert client.models.retrieve("tiny").id == "tiny"


@pytest.mark.parametrize(("model", "code"), [("dall-e-2", "content_policy_violation"), ("gpt-image-1", "moderation_blocked")])
def test_what_the_policy_refuses_has_the_code_of_the_name(client: openai.OpenAI, model: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError, match="safety rule") as caught:
        client.images.generate(model=model, prompt="hentai")
    assert (caught.value.type, caught.value.code) == ("image_generation_user_error", code)


def test_low_moderation_lets_more_pass(client: openai.OpenAI) -> None:
    assert client.images.generate(model="gpt-image-1", prompt="hentai", moderation="low").data


def test_too_many_pictures_are_a_rate_limit(serve: Any) -> None:
    server = serve(pictures_a_minute=2)
    with server.client(max_retries=0) as client:
        assert client.images.generate(model="tiny", prompt="a fox", n=2).data
        with pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(model="tiny", prompt="a fox")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code == "rate_limit_exceeded"


def test_a_full_queue_is_a_rate_limit_that_says_when_to_come_again(serve: Any) -> None:
    server = serve(bound=1)
    with server.client(max_retries=0) as client:
        server.serving.queue.submit(_order(n=100), client="other")
        _wait(lambda: server.states() == ["running"])
        server.serving.queue.submit(_order(), client="other")
        with pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(model="tiny", prompt="a fox")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    _stop_all(server)


def test_what_would_take_longer_than_the_client_waits_is_refused_at_once(serve: Any) -> None:
    server = serve(longest_s=0.001)
    with server.client(max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="longer than clients wait") as caught:
            client.images.generate(model="tiny", prompt="a fox")
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert server.states() == ["cancelled"]
        assert list(client.images.generate(model="tiny", prompt="a fox", stream=True))


def test_weights_that_are_broken_are_a_500_that_is_not_tried_again(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    weights = broken / "base.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with running(settings_for(tiny, tmp_path / "data", models=(tiny, broken))) as server, server.client() as client:
        with pytest.raises(openai.InternalServerError, match="base") as caught:
            client.images.generate(model="broken", prompt="a fox")
        assert caught.value.type == "server_error"
        assert server.states() == ["failed"]
        stream = client.images.generate(model="broken", prompt="a fox", stream=True)
        with pytest.raises(openai.APIError, match="base"):
            list(stream)


def test_an_accident_is_a_500_with_an_id_and_without_details(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def accident(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server.serving.queue, "submit", accident)
    with server.client() as client, pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(model="tiny", prompt="a fox")
    assert caught.value.request_id in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", [False, True])
def test_the_job_of_a_client_that_hangs_up_is_cancelled(server: Server, stream: bool) -> None:
    blocking = server.serving.queue.submit(_order(), client="other")
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    body = json.dumps({**LONG, "seed": 1, "stream": stream})
    connection.request("POST", "/v1/images/generations", body, {"content-type": "application/json"})
    job = _wait(lambda: next((s for s in server.serving.queue.list() if s.order.seed == 1 and s.state == "queued"), None))
    connection.close()
    _wait(lambda: server.serving.queue.status(job.id).state == "cancelled")
    assert server.serving.queue.status(blocking).state in ("queued", "running")
    server.serving.queue.cancel(blocking)


def test_a_cancelled_job_tells_the_client_who_waits(server: Server) -> None:
    server.serving.queue.submit(_order(), client="other")
    with server.client(max_retries=0) as client:
        stream = client.images.generate(model="tiny", prompt="a fox", stream=True, extra_body={"seed": 77})
        job = _wait(lambda: next((s for s in server.serving.queue.list() if s.order.seed == 77), None))
        server.serving.queue.cancel(job.id)
        with pytest.raises(openai.APIError, match="cancelled") as caught:
            list(stream)
    assert caught.value.code == "cancelled"
    _stop_all(server)


def test_a_link_that_was_changed_or_has_ended_is_refused(server: Server) -> None:
    with server.client() as client:
        url = client.images.generate(model="tiny", prompt="a fox").data[0].url
    name = url.rpartition("/")[2].partition(".")[0]
    ended = server.serving.links.make(server.url, name, "png", now=time.time() - 7200)
    for wrong in (url.replace(".png", ".webp"), url.replace("s=", "s=0"), url.split("?")[0], url.replace("e=1", "e=2"), ended):
        assert refused(wrong) == (403, "invalid_link")


def test_a_picture_that_is_gone_is_said_to_be_gone(server: Server) -> None:
    assert refused(server.serving.links.make(server.url, "0" * 32, "png")) == (410, "expired")


def _order(**more: Any) -> Order:
    return Order.model_validate({**LONG, **more})


def _wait(found: Any) -> Any:
    """What a function gives once that is something."""
    for _ in range(600):
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")


def _stop_all(server: Server) -> None:
    for status in server.serving.queue.list(states=("queued", "running")):
        server.serving.queue.cancel(status.id)
