"""Editing: what is not marked survives bit for bit, what is marked is drawn as words alone would draw it."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import images, recipe
from limner.errors import InputError, UnsupportedError
from limner.recipe import Image
from limner.systems import edits
from limner.systems.base import Progress
from limner.systems.drawing import Pipe
from limner.systems.glide import untrained
from tests import tiny


@lru_cache
def pipe(*, inpaint: bool = False) -> Pipe:
    system = tiny.settings()
    if inpaint:
        stages = tuple(s.model_copy(update={"network": s.network.model_copy(update={"inpaint": True})}) for s in system.stages)
        system = system.model_copy(update={"stages": stages})
    folder = _vocabulary()
    torch.manual_seed(0)
    made = untrained(system, folder=folder)
    for stage, state in zip(made.stages, tiny.states(system).values(), strict=True):
        stage.net.load_state_dict(state)
    return Pipe(made, "tiny")


@lru_cache
def _vocabulary() -> Path:
    return tiny.save(Path(tempfile.mkdtemp()) / "tiny")


def picture(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


MODES = ["RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "I;16"]


def in_mode(mode: str, width: int, height: int, seed: int) -> PIL.Image.Image:
    """Random pixels in any mode that a file may have."""
    if mode == "I;16":
        return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 65536, (height, width), dtype=np.uint16))
    if mode in ("RGBA", "LA", "PA"):
        clear = PIL.Image.fromarray(np.random.default_rng(seed + 1).integers(0, 256, (height, width), dtype=np.uint8))
        made = picture(width, height, seed).convert("RGBA")
        made.putalpha(clear)
        return made if mode == "RGBA" else made.convert("LA" if mode == "LA" else "P")
    return picture(width, height, seed).convert(mode)


def filed(old: PIL.Image.Image, **more: object) -> bytes:
    """The picture as a file that holds its mode."""
    file = io.BytesIO()
    old.save(file, "TIFF" if old.mode == "CMYK" else "PNG", **more)
    return file.getvalue()


def drawn(items: Iterator[Progress | Image]) -> list[Image]:
    return [item for item in items if isinstance(item, Image)]


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000), st.floats(0.01, 0.9), st.sampled_from([0, 2]))
def test_every_pixel_outside_the_mask_survives(width: int, height: int, seed: int, share: float, soft: int) -> None:
    old = picture(width, height, seed)
    marked = np.random.default_rng(seed).random((height, width)) < share
    mask = PIL.Image.fromarray(marked.astype(np.uint8) * 255)
    (new,) = drawn(edits.edit(pipe(), old, "a red fox", mask, soft=soft, rounds=1, seed=seed))
    assert new.picture.size == old.size
    assert (np.asarray(new.picture)[~marked] == np.asarray(old)[~marked]).all()


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(MODES), st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000), st.booleans())
def test_whatever_mode_a_file_has_its_unmarked_pixels_survive(
    mode: str, width: int, height: int, seed: int, inpaint: bool
) -> None:
    file = filed(in_mode(mode, width, height, seed))
    marked = np.random.default_rng(seed).random((height, width)) < 0.5
    mask = PIL.Image.fromarray(marked.astype(np.uint8) * 255)
    (new,) = drawn(edits.edit(pipe(inpaint=inpaint), file, "a red fox", mask, rounds=1, seed=seed))
    assert (np.asarray(new.picture)[~marked] == np.asarray(images.open_picture(file))[~marked]).all()


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(MODES), st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_in_any_mode_a_mask_of_nothing_gives_the_picture_back(mode: str, width: int, height: int, seed: int) -> None:
    file = filed(in_mode(mode, width, height, seed))
    (new,) = drawn(edits.edit(pipe(), file, "a red fox", PIL.Image.new("L", (width, height)), seed=seed))
    assert (np.asarray(new.picture) == np.asarray(images.open_picture(file))).all()


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(MODES), st.integers(0, 1000), st.booleans(), st.sampled_from([0, 3]))
def test_in_any_mode_a_mask_of_everything_is_drawing(mode: str, seed: int, inpaint: bool, soft: int) -> None:
    system, file = pipe(inpaint=inpaint), filed(in_mode(mode, 16, 16, seed))
    (new,) = drawn(edits.edit(system, file, "a red fox", "0,0,16,16", soft=soft, seed=seed))
    assert (np.asarray(new.picture) == np.asarray(system("a red fox", seed=seed)[0].picture)).all()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (filed(in_mode("CMYK", 8, 8, 0)), "CMYK became RGB"),
        (filed(in_mode("I;16", 8, 8, 0)), "its 16 bits a channel became 8"),
        (filed(in_mode("RGBA", 8, 8, 0)), "what is transparent became white"),
        (filed(in_mode("LA", 8, 8, 0)), "what is transparent became white"),
        (filed(picture(8, 8), save_all=True, append_images=[picture(8, 8, 1)]), "it has 2 frames; frame 1 is used"),
    ],
)
def test_what_a_file_loses_is_told(file: bytes, said: str) -> None:
    (new,) = drawn(edits.sketch(pipe(), file, "a fox", strength=0.3, seed=0))
    assert new.recipe.extra["lost"] == [said]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_file_that_loses_nothing_says_nothing(mode: str) -> None:
    (new,) = drawn(edits.sketch(pipe(), filed(in_mode(mode, 8, 8, 0)), "a fox", strength=0.3, seed=0))
    assert "lost" not in new.recipe.extra


def test_a_turned_photograph_is_edited_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # its left is up
    file = filed(picture(20, 10), exif=exif)
    (new,) = drawn(edits.edit(pipe(), file, "a fox", "0,0,5,20", seed=0))
    assert new.picture.size == (10, 20)
    assert (np.asarray(new.picture)[:, 5:] == np.asarray(picture(20, 10).rotate(-90, expand=True))[:, 5:]).all()


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_that_are_no_colours_are_refused_by_name(mode: str) -> None:
    with pytest.raises(InputError, match=r"floating-point|CIELAB"):
        edits.sketch(pipe(), PIL.Image.new(mode, (8, 8)), "a fox")


def test_a_picture_too_long_to_be_seen_at_once_is_refused_unless_little_is_marked() -> None:
    long = PIL.Image.new("RGB", (9000, 4))
    with pytest.raises(InputError, match="too long to be seen at once"):
        edits.edit(pipe(), long, "a fox", "0,0,9000,4")
    (new,) = drawn(edits.edit(pipe(), long, "a fox", "5000,1,3,3", seed=0))
    assert new.picture.size == (9000, 4)


@pytest.mark.parametrize("inpaint", [False, True])
def test_a_mask_of_everything_is_drawing(inpaint: bool) -> None:
    system = pipe(inpaint=inpaint)
    mask = PIL.Image.new("L", (16, 16), 255)
    edited = drawn(edits.edit(system, picture(16, 16), "a red fox", mask, n=2, seed=3))
    plain = system("a red fox", n=2, seed=3)
    assert all((np.asarray(a.picture) == np.asarray(b.picture)).all() for a, b in zip(edited, plain, strict=True))


def test_a_mask_of_nothing_gives_the_picture_back() -> None:
    old = picture(20, 10)
    (new,) = drawn(edits.edit(pipe(), old, "a red fox", PIL.Image.new("L", old.size, 0), seed=0))
    assert (np.asarray(new.picture) == np.asarray(old)).all()


@pytest.mark.parametrize("inpaint", [False, True])
def test_the_marked_part_changes_and_follows_the_seed(inpaint: bool) -> None:
    old = picture(16, 16)
    one, two = (drawn(edits.edit(pipe(inpaint=inpaint), old, "a fox", "0,0,8,16", seed=seed))[0].picture for seed in (0, 1))
    assert (np.asarray(one)[:, :8] != np.asarray(old)[:, :8]).any()
    assert (np.asarray(one)[:, :8] != np.asarray(two)[:, :8]).any()


def test_strength_is_the_share_of_the_path_that_is_walked() -> None:
    old = PIL.Image.new("RGB", (16, 16), (200, 30, 60))
    walked = [
        len([item for item in edits.sketch(pipe(), old, "a fox", strength=s, seed=0) if isinstance(item, Progress)])
        for s in (0.25, 0.5, 1.0)
    ]
    assert walked == [1 + 3, 2 + 3, 4 + 3]  # steps of the base and of the upsampler


def test_a_nearly_clean_sketch_is_not_pulled_to_its_words() -> None:
    old, strong = picture(16, 16), [0.25, 0.75]

    def sketched(strength: float, guidance: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        (new,) = drawn(edits.sketch(pipe(), old, "a fox", strength=strength, seed=0, guidance=guidance))
        return np.asarray(new.picture)

    assert [bool((sketched(s, 1.0) == sketched(s, 8.0)).all()) for s in strong] == [True, False]


def test_a_full_sketch_is_drawing() -> None:
    (new,) = drawn(edits.sketch(pipe(), picture(16, 16), "a fox", strength=1.0, seed=5))
    assert (np.asarray(new.picture) == np.asarray(pipe()("a fox", seed=5)[0].picture)).all()


def test_outpainting_keeps_the_picture_and_adds_margins() -> None:
    old = picture(10, 12)
    (new,) = drawn(edits.outpaint(pipe(), old, "a fox", (3, 0, 5, 2), seed=0))
    assert new.picture.size == (18, 14)
    assert (np.asarray(new.picture)[:12, 3:13] == np.asarray(old)).all()


@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (4, -1, 0, 0), (4, 0, 0), (1.5, 0, 0, 0)])
def test_margins_that_are_none_are_refused(margins: Any) -> None:
    with pytest.raises(InputError, match="margins must be four whole numbers of 0 or more, one above 0"):
        next(edits.outpaint(pipe(), picture(8, 8), "a fox", margins))


def test_upscaling_is_the_last_stage_alone() -> None:
    items = list(edits.upscale(pipe(), picture(8, 8), seed=0))
    assert {item.stage for item in items if isinstance(item, Progress)} == {"upsampler"}
    assert drawn(iter(items))[0].picture.size == (16, 16)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((8, 8), []),
        ((4, 4), []),
        ((16, 16), ["it was made smaller first, from 16x16 to 8x8"]),
        ((20, 4), ["of 20x4 the middle 4x4 is enlarged"]),
        ((20, 9), ["of 20x9 the middle 9x9 is enlarged", "it was made smaller first, from 9x9 to 8x8"]),
    ],
)
def test_what_enlarging_leaves_away_is_said(size: tuple[int, int], said: list[str]) -> None:
    *_, made = edits.upscale(pipe(), picture(*size), seed=0)
    assert isinstance(made, Image)
    assert made.recipe.extra.get("lost", []) == said


@pytest.mark.parametrize("wrong", [None, 3, np.zeros((8, 8, 3), dtype=np.uint8), (0, 0, 4, 4)], ids=type)
def test_what_is_no_picture_is_refused_with_what_would_be(wrong: Any) -> None:
    with pytest.raises(InputError, match="not a picture; give a path, the bytes of a file, or an image of Pillow"):
        edits.edit(pipe(), wrong, "a fox", "0,0,4,4")
    with pytest.raises(InputError, match=f"{type(wrong).__name__}: not a picture"):
        edits.edit(pipe(), picture(8, 8), "a fox", wrong)


def test_a_model_of_one_stage_cannot_enlarge() -> None:
    with pytest.raises(UnsupportedError, match="no stage that enlarges"):
        edits.upscale(pipe().kept(1), picture(8, 8))


def test_an_edit_remembers_its_parent_and_mask(tmp_path: Path) -> None:
    file = tmp_path / "old.png"
    picture(16, 16).save(file)
    (new,) = drawn(edits.edit(pipe(), file, "a fox", "0,0,4,4", soft=1, seed=0))
    read = recipe.read(new.to_bytes())
    assert read.verb == "edit"
    assert read.parents == (hashlib.sha256(file.read_bytes()).hexdigest(),)
    assert {"mask", "soft", "strength"} <= set(read.extra)


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    old = picture(16, 16)
    with pytest.raises(InputError, match="strength"):
        edits.sketch(pipe(), old, "a fox", strength=0)
    with pytest.raises(InputError, match="rounds"):
        edits.edit(pipe(), old, "a fox", "0,0,4,4", rounds=0)
    with pytest.raises(InputError, match="soft"):
        edits.edit(pipe(), old, "a fox", "0,0,4,4", soft=-1)
    with pytest.raises(InputError, match="margins"):
        edits.outpaint(pipe(), old, "a fox", (0, 0, 0, 0))
    with pytest.raises(InputError, match="Mpixel"):
        edits.outpaint(pipe(), old, "a fox", (10_000, 0, 0, 10_000))


@given(st.tuples(st.integers(1, 50), st.integers(1, 50)), st.data())
def test_a_window_is_a_square_that_holds_what_is_marked(size: tuple[int, int], data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    right, bottom = data.draw(st.integers(left + 1, size[0])), data.draw(st.integers(top + 1, size[1]))
    seen = edits.window(size, (left, top, right, bottom))
    assert seen.side in (min(size), max(size))
    assert seen.left <= left < right <= seen.left + seen.side
    assert seen.top <= top < bottom <= seen.top + seen.side
