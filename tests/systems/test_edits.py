"""Editing: what is not marked survives bit for bit, what is marked is drawn as words alone would draw it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import recipe
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


def test_a_full_sketch_is_drawing() -> None:
    (new,) = drawn(edits.sketch(pipe(), picture(16, 16), "a fox", strength=1.0, seed=5))
    assert (np.asarray(new.picture) == np.asarray(pipe()("a fox", seed=5)[0].picture)).all()


def test_outpainting_keeps_the_picture_and_adds_margins() -> None:
    old = picture(10, 12)
    (new,) = drawn(edits.outpaint(pipe(), old, "a fox", (3, 0, 5, 2), seed=0))
    assert new.picture.size == (18, 14)
    assert (np.asarray(new.picture)[:12, 3:13] == np.asarray(old)).all()


def test_upscaling_is_the_last_stage_alone() -> None:
    items = list(edits.upscale(pipe(), picture(8, 8), seed=0))
    assert {item.stage for item in items if isinstance(item, Progress)} == {"upsampler"}
    assert drawn(iter(items))[0].picture.size == (16, 16)


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
