"""Bodies: null is nothing, texts are no numbers in JSON but are in forms, and what is unknown is told with what is meant."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.serving import requests
from limner.serving.envelopes import ApiError
from limner.serving.requests import EditFields, GenerateBody, VariationFields
from limner.serving.settings import ServeSettings

SETTINGS = ServeSettings(data=Path("nowhere"), model="tiny")
SERVED = ["tiny", "glide-emoji"]


def wanted(**fields: Any) -> requests.Wanted:
    """What the fields of a generation ask for."""
    tree = {"prompt": "a fox", **fields}
    body = requests.parse(GenerateBody, tree, strict=True)
    return requests.wanted(body, set(tree), "generations", SETTINGS, SERVED)


def test_numbers_come_as_texts_in_forms_alone() -> None:
    fields = {"prompt": "a fox", "n": "2", "stream": "true", "strength": "0.5", "steps": "27"}
    body = requests.parse(EditFields, fields, strict=False)
    assert (body.n, body.stream, body.strength, body.steps) == (2, True, 0.5, "27")
    with pytest.raises(ApiError, match="Invalid type for 'n'"):
        requests.parse(GenerateBody, {"prompt": "a fox", "n": "2"}, strict=True)


def test_progress_is_asked_for_in_brackets_in_forms() -> None:
    fields = {"prompt": "a fox", "stream": "true", "stream_options[progress]": "true"}
    body = requests.parse(EditFields, fields, strict=False)
    assert requests.wanted(body, {"prompt", "stream", "stream_options"}, "edits", SETTINGS, SERVED).progress


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (GenerateBody, "guidence", "Did you mean 'guidance'?"),
        (GenerateBody, "negativ_prompt", "Did you mean 'negative_prompt'?"),
        (GenerateBody, "soft", "It belongs to edits."),
        (EditFields, "style", "It belongs to generations."),
        (VariationFields, "prompt", "It belongs to generations and edits."),
        (EditFields, "msk", "Did you mean 'mask'?"),
        (GenerateBody, "zzz", "Unknown parameter: 'zzz'."),
    ],
)
def test_an_unknown_field_is_told_with_what_may_be_meant(kind: Any, name: str, said: str) -> None:
    with pytest.raises(ApiError) as caught:
        requests.parse(kind, {"prompt": "a fox", name: 1}, strict=False, files=("image", "mask"))
    assert said in caught.value.message
    assert caught.value.code == "unknown_parameter"


def test_a_size_is_a_width_and_a_height_or_the_models_own() -> None:
    assert (wanted(model="tiny", size="64x32").order.width, wanted(model="tiny", size="64x32").order.height) == (64, 32)
    assert wanted(model="tiny").order.width is None
    assert wanted(model="gpt-image-1").order.width is None
    assert wanted(model="dall-e-2").order.width == 1024


@given(st.text(alphabet="0123456789xX auto", max_size=12))
def test_a_size_is_taken_or_refused_never_misread(text: str) -> None:
    with contextlib.suppress(ApiError):
        order = wanted(model="tiny", size=text).order
        assert text in ("auto", f"{order.width}x{order.height}")


def test_pictures_that_travel_in_the_answer_are_kept_for_less_time_than_links_live() -> None:
    assert wanted(model="tiny", response_format="b64_json").order.keep < wanted(model="tiny").order.keep == SETTINGS.links_s


def test_an_alias_may_have_a_model_of_its_own() -> None:
    settings = SETTINGS.model_copy(update={"aliases": {"dall-e-3": "glide-emoji"}})
    body = requests.parse(GenerateBody, {"prompt": "a fox", "model": "dall-e-3"}, strict=True)
    assert requests.wanted(body, {"model"}, "generations", settings, SERVED).order.model == "glide-emoji"


@pytest.mark.parametrize("field", ["background", "moderation", "output_format", "safety_identifier"])
def test_without_a_model_a_field_of_gpt_image_alone_means_that(field: str) -> None:
    values = {"background": "auto", "moderation": "low", "output_format": "png", "safety_identifier": "somebody"}
    assert wanted().chosen.asked == wanted(quality="standard").chosen.asked == "dall-e-2"
    assert wanted(**{field: values[field]}).chosen.asked == "gpt-image-1"


def test_quality_means_something_for_jpeg_and_webp_alone() -> None:
    assert wanted(model="tiny", output_format="webp", output_compression=40).quality == 40
    assert wanted(model="tiny", output_format="png", output_compression=100).quality is None
