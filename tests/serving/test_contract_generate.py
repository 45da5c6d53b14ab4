"""The official client, unmodified, over HTTP: pictures from words, and the models there are."""

from __future__ import annotations

import asyncio
import base64
import urllib.request

import openai
import pytest

from limner import recipe
from tests.serving.conftest import SIDE, Server, opened


def fetched(url: str) -> tuple[bytes, str]:
    """What lies behind a link, without any key, and its media type."""
    with urllib.request.urlopen(url) as answer:
        return answer.read(), answer.headers["content-type"]


def test_a_url_is_the_answer_unless_bytes_are_asked_for(client: openai.OpenAI) -> None:
    found = client.images.generate(model="tiny", prompt="a red fox")
    data, kind = fetched(found.data[0].url)
    assert found.data[0].b64_json is None
    assert (opened(data).size, kind) == ((SIDE, SIDE), "image/png")


def test_bytes_come_as_base64(client: openai.OpenAI) -> None:
    found = client.images.generate(model="tiny", prompt="a red fox", n=2, response_format="b64_json")
    pictures = [base64.b64decode(each.b64_json) for each in found.data]
    assert [opened(data).size for data in pictures] == [(SIDE, SIDE)] * 2
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("how", ["url", "b64_json"])
def test_every_format_of_file_comes_either_way(client: openai.OpenAI, kind: str, how: str) -> None:
    found = client.images.generate(model="tiny", prompt="a fox", output_format=kind, response_format=how)
    item = found.data[0]
    data = fetched(item.url)[0] if how == "url" else base64.b64decode(item.b64_json)
    assert opened(data).format == kind.upper()
    assert recipe.read(data).prompt == "a fox"


def test_less_quality_makes_a_smaller_file(client: openai.OpenAI) -> None:
    def size(quality: int) -> int:
        found = client.images.generate(
            model="gpt-image-1", prompt="a fox", output_format="jpeg", output_compression=quality, extra_body={"seed": 3}
        )
        return len(found.data[0].b64_json)

    assert size(10) < size(95)


def test_the_same_seed_draws_the_same_picture(client: openai.OpenAI) -> None:
    def drawn(seed: int) -> str | None:
        return (
            client.images.generate(model="tiny", prompt="a fox", response_format="b64_json", extra_body={"seed": seed})
            .data[0]
            .b64_json
        )

    assert drawn(7) == drawn(7) != drawn(8)


def test_every_extension_reaches_the_recipe(client: openai.OpenAI) -> None:
    wishes = {"seed": 5, "steps": 6, "guidance_scale": 3.5, "sampler": "euler", "negative_prompt": "a blue square"}
    found = client.images.generate(model="tiny", prompt="a fox", response_format="b64_json", extra_body=wishes)
    made = recipe.read(base64.b64decode(found.data[0].b64_json))
    stage = made.stages[0]
    assert (made.seed, made.negative) == (5, "a blue square")
    assert (stage.steps, stage.guidance, stage.sampler) == ("6", 3.5, "euler")


def test_guidance_has_two_names(client: openai.OpenAI) -> None:
    def drawn(**wishes: float) -> str | None:
        found = client.images.generate(
            model="tiny", prompt="a fox", response_format="b64_json", extra_body={"seed": 1, **wishes}
        )
        return found.data[0].b64_json

    assert drawn(guidance=4.0) == drawn(guidance_scale=4.0)


def test_a_size_that_the_model_does_not_draw_is_made_and_said(client: openai.OpenAI) -> None:
    found = client.images.generate(model="dall-e-2", prompt="a fox", size="256x256", extra_body={"seed": 9})
    assert opened(fetched(found.data[0].url)[0]).size == (256, 256)
    assert found.data[0].limner == {
        "model": "tiny",
        "seed": 9,
        "index": 0,
        "size": "256x256",
        "native_size": "16x16",
        "resampled": True,
    }


def test_a_wide_picture_is_cut_from_the_square_that_was_drawn(client: openai.OpenAI) -> None:
    found = client.images.generate(model="dall-e-3", prompt="a fox", size="1792x1024", response_format="b64_json")
    assert opened(base64.b64decode(found.data[0].b64_json)).size == (1792, 1024)


def test_dall_e_3_tells_the_prompt_that_was_drawn(client: openai.OpenAI) -> None:
    found = client.images.generate(model="dall-e-3", prompt="a fox", quality="hd", style="natural")
    assert found.data[0].revised_prompt == "a fox"


def test_gpt_image_answers_with_bytes_and_usage(client: openai.OpenAI) -> None:
    found = client.images.generate(
        model="gpt-image-1", prompt="a red fox", quality="low", background="opaque", moderation="low", n=2
    )
    assert all(each.b64_json and each.url is None for each in found.data)
    assert (found.output_format, found.quality, found.background, found.size) == ("png", "low", "opaque", "16x16")
    usage = found.usage
    assert usage.input_tokens == usage.input_tokens_details.text_tokens > 0
    assert usage.output_tokens == 2
    assert usage.total_tokens == usage.input_tokens + 2


def test_without_a_name_it_is_dall_e_2(client: openai.OpenAI) -> None:
    found = client.images.generate(prompt="a fox")
    assert found.limner["asked"] == "dall-e-2"
    assert found.data[0].limner["size"] == "1024x1024"


def test_without_a_name_but_with_a_field_of_gpt_image_it_is_that(client: openai.OpenAI) -> None:
    assert client.images.generate(prompt="a fox", output_format="webp").limner["asked"] == "gpt-image-1"


def test_null_is_the_same_as_nothing(client: openai.OpenAI) -> None:
    found = client.images.generate(model=None, prompt="a fox", n=None, size="256x256", quality=None, response_format=None)
    assert found.limner["asked"] == "dall-e-2"
    assert len(found.data) == 1


def test_fields_that_a_model_of_limner_has_no_use_for_are_named(client: openai.OpenAI) -> None:
    found = client.images.generate(model="tiny", prompt="a fox", style="vivid", quality="hd")
    assert found.limner["ignored"] == ["quality", "style"]


def test_the_async_client_draws_several_at_a_time(server: Server) -> None:
    async def drawn() -> list[openai.types.ImagesResponse]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            return await asyncio.gather(*(client.images.generate(model="tiny", prompt=f"fox {k}") for k in range(4)))

    assert len({each.data[0].url for each in asyncio.run(drawn())}) == 4


def test_every_answer_has_an_id(client: openai.OpenAI) -> None:
    ids = {client.images.generate(model="tiny", prompt="a fox")._request_id for _ in range(2)}
    assert len(ids) == 2
    assert all(each and each.startswith("req_") for each in ids)


def test_the_address_works_without_v1_too(server: Server) -> None:
    with openai.OpenAI(base_url=server.url, api_key="any") as client:
        assert client.images.generate(model="tiny", prompt="a fox").data
        assert client.models.retrieve("tiny").id == "tiny"


def test_models_are_listed_with_what_they_can(client: openai.OpenAI) -> None:
    found = {model.id: model for model in client.models.list()}
    assert {"tiny", "dall-e-2", "dall-e-3", "gpt-image-1"} <= found.keys()
    assert found["tiny"].limner["sides"] == [8, 16]
    assert "edit" in found["tiny"].limner["verbs"]
    assert found["dall-e-2"].limner["stands_for"] == "tiny"


def test_a_model_is_found_by_its_name(client: openai.OpenAI) -> None:
    found = client.models.retrieve("tiny")
    assert (found.id, found.object, found.owned_by) == ("tiny", "model", "limner")


def test_an_unknown_model_is_not_found_whatever_signs_are_in_its_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'openai/glide base' does not exist") as caught:
        client.models.retrieve("openai/glide base")
    assert caught.value.code == "model_not_found"
