"""Drawing a picture again, and what is said when something is not as it was."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import limner
from limner.errors import CheckpointError, InputError, UnsupportedError
from limner.systems import edits
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


def test_a_sheet_cannot_be_drawn_again(picture: limner.Image, tiny: Path) -> None:
    with pytest.raises(UnsupportedError, match="made by 'grid'; can be drawn again: draw, edit, sketch, outpaint, upscale"):
        limner.reproduce(changed(picture, verb="grid"), model=tiny)


Stream = Iterator[limner.Progress | limner.Image]
VERBS: dict[str, Callable[[limner.Pipe, Path], Stream]] = {
    "boxes": lambda pipe, old: edits.edit(pipe, old, "a fox", "0,0,9,20;12,3,4,4", soft=2, rounds=2, n=2, seed=7, steps=3),
    "mask": lambda pipe, old: edits.edit(pipe, old, "a fox", speckled(), strength=0.5, seed=7, guidance=1.5),
    "sketch": lambda pipe, old: edits.sketch(pipe, old, "a fox", strength=0.7, n=2, seed=7),
    "outpaint": lambda pipe, old: edits.outpaint(pipe, old, "a fox", (4, 0, 3, 9), rounds=1, n=2, seed=7),
    "upscale": lambda pipe, old: edits.upscale(pipe, old, "a fox", n=2, seed=7),
}


def photo(folder: Path) -> Path:
    file = folder / "photo.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file)
    return file


def speckled(size: tuple[int, int] = (24, 20)) -> PIL.Image.Image:
    return PIL.Image.fromarray((np.random.default_rng(1).random(size[::-1]) < 0.4).astype(np.uint8) * 255)


def last_image(stream: Stream) -> limner.Image:
    return [item for item in stream if isinstance(item, limner.Image)][-1]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_edited_picture_is_drawn_again_from_its_parent(verb: str, suffix: str, tiny: Path, tmp_path: Path) -> None:
    new = last_image(VERBS[verb](limner.load(tiny, dtype="float32"), photo(tmp_path))).save(tmp_path / f"new.{suffix}")
    again = limner.reproduce(new, model=tiny)
    assert again.identical
    assert again.changed == ()


def test_a_parent_elsewhere_is_found_by_its_hash_or_its_pixels(tiny: Path, tmp_path: Path) -> None:
    new = last_image(VERBS["sketch"](limner.load(tiny, dtype="float32"), photo(tmp_path)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(InputError, match=f"not at hand .sha256 {new.recipe.parents[0]}"):
        limner.reproduce(new, model=tiny, parents=[elsewhere])
    (tmp_path / "photo.png").rename(elsewhere / "renamed.png")
    assert limner.reproduce(new, model=tiny, parents=[elsewhere]).identical
    with PIL.Image.open(elsewhere / "renamed.png") as same:
        same.save(elsewhere / "saved-again.bmp")
    (elsewhere / "renamed.png").unlink()
    assert limner.reproduce(new, model=tiny, parents=[elsewhere / "saved-again.bmp"]).identical
    with pytest.raises(InputError, match="no such picture or folder"):
        limner.reproduce(new, model=tiny, parents=[tmp_path / "nowhere"])


def test_a_mask_too_large_for_the_recipe_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "big.png"
    PIL.Image.new("RGB", (400, 400), "white").save(file)
    mask, other = tmp_path / "mask.bmp", tmp_path / "other.bmp"
    speckled((400, 400)).save(mask)
    PIL.Image.new("L", (400, 400), 255).save(other)
    new = last_image(edits.edit(limner.load(tiny, dtype="float32"), file, "a fox", mask, seed=0))
    with pytest.raises(InputError, match="too large for the recipe; give its file"):
        limner.reproduce(new, model=tiny, parents=[file])
    with pytest.raises(InputError, match="the mask is another one"):
        limner.reproduce(new, model=tiny, parents=[file], mask=other)
    assert limner.reproduce(new, model=tiny, parents=[file], mask=mask).identical


def test_an_unknown_type_is_refused(picture: limner.Image, tiny: Path) -> None:
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        limner.reproduce(changed(picture, dtype="int8"), model=tiny)


def test_a_picture_without_a_recipe_is_refused(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="carries no limner recipe"):
        limner.reproduce(tmp_path / "plain.png")
