"""Drawing a picture again, and what is said when something is not as it was."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import PIL.Image
import pytest

import limner
from limner.errors import CheckpointError, InputError, UnsupportedError
from tests import tiny as made


@pytest.fixture(scope="module")
def picture(tiny: Path) -> limner.Image:
    return limner.load(tiny, dtype="float32")("a red fox", n=3, seed=0, batch=2)[1]


def changed(picture: limner.Image, **facts: object) -> limner.Image:
    return dataclasses.replace(picture, recipe=picture.recipe.model_copy(update=facts))


def test_a_picture_in_memory_is_drawn_again(picture: limner.Image, tiny: Path) -> None:
    again = limner.reproduce(picture, model=tiny)
    assert again.identical
    assert again.image.recipe == picture.recipe


def test_other_weights_are_named(picture: limner.Image, tmp_path: Path) -> None:
    other = made.save(tmp_path / "tiny", seed=1)
    again = limner.reproduce(picture, model=other)
    assert not again.identical
    assert again.largest > 0
    assert 0 < again.share <= 1
    assert [line.split(":")[0] for line in again.changed] == ["weights of stage base", "weights of stage upsampler"]


def test_the_smallest_change_of_a_pixel_is_seen(picture: limner.Image, tiny: Path) -> None:
    touched = picture.picture.copy()
    red, green, blue = touched.getpixel((3, 5))
    touched.putpixel((3, 5), (red, green, blue - 1 if blue else 1))
    again = limner.reproduce(limner.Image(touched, picture.recipe), model=tiny)
    assert (again.largest, again.share) == (1, 1 / 256)


def test_a_picture_without_its_batch_is_drawn_alone(picture: limner.Image, tiny: Path) -> None:
    again = limner.reproduce(changed(picture, extra={}), model=tiny)
    assert again.largest <= 1
    assert again.image.recipe.extra == {"batch": [1, 1]}


@pytest.mark.parametrize("batch", ["all", [5, 2], [-1, 4], [0, 10**9]])
def test_a_batch_that_cannot_be_is_left_out_of_account(picture: limner.Image, tiny: Path, batch: object) -> None:
    assert limner.reproduce(changed(picture, extra={"batch": batch}), model=tiny).largest <= 1


def test_other_versions_and_types_are_told(picture: limner.Image, tiny: Path) -> None:
    again = limner.reproduce(changed(picture, torch="1.0", limner="0.0.9", config_hash="abc"), model=tiny, dtype="bfloat16")
    said = [line.split(" ")[0].strip(":") for line in again.changed]
    assert said == ["settings", "limner", "torch", "dtype"]


def test_a_device_that_is_not_here_is_replaced_and_told(picture: limner.Image, tiny: Path) -> None:
    again = limner.reproduce(changed(picture, device="cuda:7"), model=tiny)
    assert again.changed[0] == "device cuda:7 is not here"


def test_the_model_is_found_by_the_recipes_name(
    picture: limner.Image, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "tiny")
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path))
    assert limner.reproduce(picture).identical


def test_a_model_with_other_stages_is_refused(picture: limner.Image, tiny: Path) -> None:
    stages = (picture.recipe.stages[0].model_copy(update={"name": "prior"}),)
    with pytest.raises(CheckpointError, match="drawn by stages prior; model tiny has base, upsampler"):
        limner.reproduce(changed(picture, stages=stages), model=tiny)


def test_a_resized_picture_is_refused(picture: limner.Image, tiny: Path) -> None:
    with pytest.raises(InputError, match="32x32, its recipe draws 16x16"):
        limner.reproduce(limner.Image(picture.picture.resize((32, 32)), picture.recipe), model=tiny)


def test_only_drawn_pictures_can_be_drawn_again(picture: limner.Image, tiny: Path) -> None:
    with pytest.raises(UnsupportedError, match="made by 'edit'"):
        limner.reproduce(changed(picture, verb="edit"), model=tiny)


def test_an_unknown_type_is_refused(picture: limner.Image, tiny: Path) -> None:
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        limner.reproduce(changed(picture, dtype="int8"), model=tiny)


def test_a_picture_without_a_recipe_is_refused(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="carries no limner recipe"):
        limner.reproduce(tmp_path / "plain.png")
