"""The official client, unmodified, over HTTP: pictures from pictures."""

from __future__ import annotations

import base64
import io
import shutil
import warnings
from pathlib import Path

import httpx
import numpy as np
import openai
import PIL.Image
import pytest

from limner import recipe
from limner.systems import choosing
from tests.serving.conftest import Server, opened, png, running, settings_for

HOLE = (0, 0, 8, 16)


def bytes_of(found: openai.types.ImagesResponse) -> bytes:
    return base64.b64decode(found.data[0].b64_json)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(opened(data).convert("RGB"))


def form(file: str, tmp_path: Path) -> object:
    """The same picture in each of the ways in which people hand one over."""
    path = tmp_path / "picture.png"
    path.write_bytes(png())
    return {"path": path, "bytes": png(), "io": io.BytesIO(png()), "list": [png()], "named": ("a.jpg", png(), "image/jpeg")}[
        file
    ]


@pytest.mark.parametrize("file", ["path", "bytes", "io", "list", "named"])
def test_a_picture_may_come_in_any_way_and_only_the_mask_is_repainted(client: openai.OpenAI, tmp_path: Path, file: str) -> None:
    found = client.images.edit(
        model="tiny",
        image=form(file, tmp_path),  # type: ignore[arg-type]
        mask=png(hole=HOLE),
        prompt="a red hat",
        response_format="b64_json",
    )
    before, after = pixels(png()), pixels(bytes_of(found))
    assert (after[:, 8:] == before[:, 8:]).all()
    assert (after[:, :8] != before[:, :8]).any()


def test_an_open_file_is_sent_as_it_is(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with path.open("rb") as image:
        found = client.images.edit(model="tiny", image=image, mask=png(hole=HOLE), prompt="a hat", response_format="b64_json")
    assert recipe.read(bytes_of(found)).verb == "edit"


def test_without_a_mask_the_holes_of_the_picture_are_repainted(client: openai.OpenAI) -> None:
    holed = png(hole=HOLE)
    found = client.images.edit(model="dall-e-2", image=holed, prompt="a hat", size="256x256", response_format="b64_json")
    assert opened(bytes_of(found)).size == (256, 256)
    assert recipe.read(bytes_of(found)).verb == "edit"


def test_without_mask_and_holes_the_picture_is_a_sketch(client: openai.OpenAI) -> None:
    found = client.images.edit(
        model="tiny", image=png(), prompt="a hat", response_format="b64_json", extra_body={"strength": 0.3, "seed": 4}
    )
    made = recipe.read(bytes_of(found))
    assert (made.verb, made.extra["strength"], made.seed) == ("sketch", 0.3, 4)


def test_strength_and_a_soft_border_reach_an_edit(client: openai.OpenAI) -> None:
    wishes = {"strength": 0.5, "soft": 2, "steps": 6, "guidance": 1.5}
    found = client.images.edit(
        model="tiny", image=png(), mask=png(hole=HOLE), prompt="a hat", response_format="b64_json", extra_body=wishes
    )
    made = recipe.read(bytes_of(found))
    assert (made.extra["strength"], made.extra["soft"], made.stages[0].steps, made.stages[0].guidance) == (0.5, 2, "6", 1.5)


def test_of_several_pictures_the_first_is_edited_and_the_others_are_named(client: openai.OpenAI) -> None:
    found = client.images.edit(model="gpt-image-1", image=[png(), png(8, 8)], mask=png(hole=HOLE), prompt="a hat")
    assert found.limner["ignored"] == ["image[1]"]
    assert opened(bytes_of(found)).size == (16, 16)
    assert found.usage.input_tokens_details.image_tokens == 1


def test_pictures_that_carry_numbers_come_in_their_order(server: Server) -> None:
    files = [("image[1]", png(8, 8)), ("image[0]", png())]
    found = httpx.post(f"{server.url}/v1/images/edits", files=files, data={"model": "tiny", "prompt": "a hat"}, timeout=60)
    assert found.json()["data"][0]["limner"]["size"] == "16x16"


def test_too_many_pictures_are_told_by_the_name_that_was_asked(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'tiny' takes 16 pictures; got 17") as caught:
        client.images.edit(model="tiny", image=[png()] * 17, prompt="a hat")
    assert caught.value.param == "image"


def test_a_mask_in_black_and_white_is_taken_by_models_of_limner(client: openai.OpenAI) -> None:
    mask = PIL.Image.new("L", (16, 16), 0)
    mask.paste(255, (0, 0, 4, 4))
    file = io.BytesIO()
    mask.save(file, "PNG")
    found = client.images.edit(model="tiny", image=png(), mask=file.getvalue(), prompt="a hat", response_format="b64_json")
    assert (pixels(bytes_of(found))[4:] == pixels(png())[4:]).all()


def test_a_sibling_trained_to_inpaint_repaints(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sibling = tmp_path / "tiny-inpaint"
    shutil.copytree(tiny, sibling)
    monkeypatch.setattr(choosing, "painter", lambda folder: sibling)
    with running(settings_for(tiny, tmp_path / "data", models=(tiny, sibling))) as server, server.client() as client:
        masked = client.images.edit(model="tiny", image=png(), mask=png(hole=HOLE), prompt="a hat")
        sketched = client.images.edit(model="tiny", image=png(), prompt="a hat")
    assert (masked.limner["model"], sketched.limner["model"]) == ("tiny-inpaint", "tiny")


def test_several_versions_of_an_edit_are_drawn(client: openai.OpenAI) -> None:
    found = client.images.edit(model="tiny", image=png(), mask=png(hole=HOLE), prompt="a hat", n=2)
    assert len({each.url for each in found.data}) == 2


@pytest.mark.parametrize(
    ("given", "message", "param"),
    [
        ({"image": png(16, 8), "mask": png(16, 8, hole=(0, 0, 4, 4))}, "square PNG", "image"),
        ({"image": png()}, "nothing says where to paint", "image"),
        ({"image": png(), "mask": png()}, "no alpha channel", "mask"),
        ({"image": [png(), png()], "mask": png(hole=HOLE)}, "takes 1 picture", "image"),
        ({"image": b"not a picture"}, "not a picture", "image"),
        ({"image": png(), "mask": png(8, 8, hole=(0, 0, 4, 4))}, "8x8 pixels, the picture 16x16", "mask"),
        ({"image": b""}, "is empty", "image"),
        ({"image": png(), "mask": png(hole=HOLE), "quality": "standard"}, "does not take it", "quality"),
    ],
)
def test_dall_e_2_says_what_does_not_fit(client: openai.OpenAI, given: dict[str, object], message: str, param: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        client.images.edit(model="dall-e-2", prompt="a hat", **given)  # type: ignore[call-overload]
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_dall_e_3_has_no_edits(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="has no edits; dall-e-2 or gpt-image-1"):
        client.images.edit(model="dall-e-3", image=png(), prompt="a hat")


def test_variations_say_which_models_have_them(client: openai.OpenAI) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer clients call the method deprecated and still send it
        with pytest.raises(openai.BadRequestError, match="has no variations; models that have: none") as caught:
            client.images.create_variation(image=png(), model="dall-e-2")
    assert (caught.value.param, caught.value.code) == ("model", "unsupported")
