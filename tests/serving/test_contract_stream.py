"""The official client, unmodified, over HTTP: pictures that appear while they are drawn."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from typing import Any

import openai
import pytest

from limner.serving import pictures
from tests.serving.conftest import Server, opened, png


@pytest.mark.parametrize("partials", [0, 1, 2, 3])
def test_as_many_partial_pictures_come_as_were_asked_for(client: openai.OpenAI, partials: int) -> None:
    stream = client.images.generate(model="gpt-image-1", prompt="a fox", stream=True, partial_images=partials)
    events = list(stream)
    *before, last = events
    assert [each.type for each in before] == ["image_generation.partial_image"] * partials
    assert [each.partial_image_index for each in before] == list(range(partials))
    assert last.type == "image_generation.completed"
    assert all(opened(base64.b64decode(each.b64_json)).format == "PNG" for each in events)
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens > 0


def test_a_stream_has_one_last_event_for_each_picture(client: openai.OpenAI) -> None:
    events = list(client.images.generate(model="tiny", prompt="a fox", n=2, stream=True, output_format="webp"))
    assert sorted(each.image_index for each in events) == [0, 1]
    assert {opened(base64.b64decode(each.b64_json)).format for each in events} == {"WEBP"}
    assert len({each.b64_json for each in events}) == 2


def test_an_edit_streams_under_its_own_names(client: openai.OpenAI) -> None:
    stream = client.images.edit(
        model="gpt-image-1", image=png(), mask=png(hole=(0, 0, 8, 16)), prompt="a hat", stream=True, partial_images=1
    )
    assert [each.type for each in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_progress_comes_as_events_only_to_those_who_ask(client: openai.OpenAI) -> None:
    asked = client.images.generate(model="tiny", prompt="a fox", stream=True, extra_body={"stream_options": {"progress": True}})
    kinds = [each.type for each in asked]
    assert "limner.progress" in kinds
    assert kinds[-1] == "image_generation.completed"


def test_progress_of_an_edit_comes_too(client: openai.OpenAI) -> None:
    asked = client.images.edit(
        model="tiny", image=png(), prompt="a hat", stream=True, extra_body={"stream_options": {"progress": True}}
    )
    assert "limner.progress" in [each.type for each in asked]


def test_on_the_wire_progress_is_a_comment(server: Server) -> None:
    body = json.dumps({"model": "tiny", "prompt": "a fox", "stream": True}).encode()
    request = urllib.request.Request(f"{server.url}/v1/images/generations", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
        kind = answer.headers["content-type"]
    assert kind.startswith("text/event-stream")
    assert any(line.startswith(": progress stage=base") for line in lines)
    assert [line for line in lines if line.startswith("event:")] == ["event: image_generation.completed"]


def test_the_async_client_streams(server: Server) -> None:
    async def kinds() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            stream = await client.images.generate(model="gpt-image-1", prompt="a fox", stream=True, partial_images=1)
            return [each.type async for each in stream]

    assert asyncio.run(kinds()) == ["image_generation.partial_image", "image_generation.completed"]


def test_an_accident_in_the_middle_of_a_stream_is_told_without_details(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def accident(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(pictures, "facts", accident)
    with server.client() as client, pytest.raises(openai.APIError, match="Something went wrong here") as caught:
        list(client.images.generate(model="tiny", prompt="a fox", stream=True))
    assert caught.value.type == "server_error"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message", "param"),
    [
        ({"model": "dall-e-2"}, "Unknown parameter: 'stream'", "stream"),
        ({"model": "tiny", "response_format": "url"}, "A stream carries its pictures", "response_format"),
        ({"model": "gpt-image-1", "partial_images": 4}, "less than or equal to 3", "partial_images"),
        ({"model": "tiny", "extra_body": {"stream_options": {"progres": True}}}, "progres", "stream_options.progres"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_before_it_begins(
    client: openai.OpenAI, given: dict[str, Any], message: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.images.generate(prompt="a fox", stream=True, **given)
    assert caught.value.param == param
