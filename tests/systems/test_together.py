"""Pictures of several requests in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limner
from limner import Image, Pipe, Progress
from limner.errors import InputError, UnsupportedError
from limner.systems import base, drawing
from limner.systems.base import Request
from tests import tiny_adm

ASKED = (
    Request(prompt="a red fox", seed=3, first=2),
    Request(prompt="a blue square", negative="a house", seed=11),
    Request(prompt="a red fox", seed=3),
)


@pytest.fixture(scope="module")
def pipe(tiny: Path) -> Pipe:
    loaded: Pipe = limner.load(tiny, device="cpu", dtype="float32")
    return loaded


def pictures(pipe: Pipe, asked: Sequence[Request]) -> list[Image]:
    return [item for item in pipe.draw_together(asked) if isinstance(item, Image)]


def test_pictures_of_several_requests_are_those_of_each_alone_but_for_last_bits(pipe: Pipe) -> None:
    together = list(pipe.system.draw_together(ASKED))  # type: ignore[attr-defined]
    drawn = [item for item in together if isinstance(item, base.Drawn)]
    assert len(drawn) == len(ASKED)
    for asked, found in zip(ASKED, drawn, strict=True):
        alone = next(item for item in pipe.system.draw(asked) if isinstance(item, base.Drawn))
        assert found.number == alone.number
        # The first stage alone: its rounding to 8 bits before the next may tip a pixel over.
        torch.testing.assert_close(found.earlier[0], alone.earlier[0], atol=1e-4, rtol=0)


def test_each_picture_carries_the_recipe_of_its_own_request(pipe: Pipe) -> None:
    made = [image.recipe for image in pictures(pipe, ASKED)]
    assert [(each.prompt, each.negative, each.seed, each.index) for each in made] == [
        (asked.prompt, asked.negative, asked.seed, asked.first) for asked in ASKED
    ]
    assert {each.extra["together"] for each in made} == {len(ASKED)}


def test_a_picture_drawn_in_company_can_be_repeated(pipe: Pipe, tiny: Path) -> None:
    again = limner.reproduce(pictures(pipe, ASKED)[1], model=tiny)
    assert again.largest <= 8
    assert again.share < 0.2


def test_the_batch_is_walked_once(pipe: Pipe) -> None:
    steps = [item for item in pipe.draw_together(ASKED) if isinstance(item, Progress)]
    alone = [item for item in pipe.draw(ASKED[0]) if isinstance(item, Progress)]
    assert len(steps) == len(alone)
    assert all(len(step.preview) == len(ASKED) for step in steps)


def test_one_request_together_is_exactly_that_request(pipe: Pipe) -> None:
    alone = next(item for item in pipe.draw(ASKED[0]) if isinstance(item, Image))
    (together,) = pictures(pipe, ASKED[:1])
    assert np.array_equal(np.asarray(alone.picture), np.asarray(together.picture))
    assert alone.recipe == together.recipe


def test_requests_that_are_sampled_otherwise_are_not_drawn_together(pipe: Pipe) -> None:
    with pytest.raises(InputError, match="differ in more than words"):
        pipe.draw_together([ASKED[0], ASKED[1].model_copy(update={"steps": "2"})])


@pytest.mark.parametrize("asked", [(), (ASKED[0].model_copy(update={"n": 2}),)])
def test_together_wants_requests_of_one_picture_each(pipe: Pipe, asked: Sequence[Request]) -> None:
    with pytest.raises(InputError, match="each of one picture"):
        pipe.draw_together(asked)


def test_a_prompt_that_cannot_be_used_is_refused_before_anything_is_drawn(pipe: Pipe) -> None:
    with pytest.raises(InputError, match="control characters"):
        pipe.draw_together([ASKED[0], Request(prompt="a\x00fox")])


def test_guidance_by_a_clip_is_no_company(pipe: Pipe) -> None:
    pulled = [each.model_copy(update={"clip_scale": 1.0}) for each in ASKED]
    with pytest.raises(UnsupportedError, match="one prompt at a time"):
        next(pipe.system.draw_together(pulled))  # type: ignore[attr-defined]


class Unsociable:
    """A system that draws one request at a time."""

    def __init__(self, system: base.System) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        if name == "draw_together":
            raise AttributeError(name)
        return getattr(self._system, name)


def test_a_system_that_cannot_share_a_batch_draws_one_after_another(pipe: Pipe) -> None:
    made = pictures(Pipe(Unsociable(pipe.system), pipe.name), ASKED)  # type: ignore[arg-type]
    assert [image.recipe.seed for image in made] == [asked.seed for asked in ASKED]
    assert all("together" not in image.recipe.extra for image in made)


def test_models_without_words_draw_several_seeds_together(tmp_path: Path) -> None:
    pipe = drawing.load_pipe(tiny_adm.save(tmp_path / "adm"), device="cpu", dtype="float32")
    asked = [Request(seed=seed, label=1) for seed in (5, 6)]
    found = [item for item in pipe.system.draw_together(asked) if isinstance(item, base.Drawn)]  # type: ignore[attr-defined]
    for each, drawn in zip(asked, found, strict=True):
        alone = next(item for item in pipe.system.draw(each) if isinstance(item, base.Drawn))
        torch.testing.assert_close(drawn.earlier[0], alone.earlier[0], atol=1e-4, rtol=0)
