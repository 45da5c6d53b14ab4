from __future__ import annotations

import numpy as np
import pytest

from limner import images
from limner.errors import InputError
from limner.evaluation import drawing
from limner.evaluation.drawing import Wishes
from limner.systems.base import Request
from limner.systems.glide import Drawn
from tests.evaluation.tiny import system

CAPTIONS = ["a red square", "a blue circle", "a small green triangle"]


def test_a_picture_is_the_one_a_person_draws_with_the_same_words_seed_and_number() -> None:
    glide = system(2)
    many = list(drawing.draw(glide, CAPTIONS, Wishes(seed=5)))
    alone = next(one for one in glide.draw(Request(prompt=CAPTIONS[2], seed=5, first=2)) if isinstance(one, Drawn))
    redrawn = np.asarray(images.rounded(alone.picture[None])[0])
    assert np.abs(many[2].picture.astype(int) - redrawn).max() <= 1


def test_the_size_of_a_batch_changes_nothing() -> None:
    glide = system()
    together = list(drawing.draw(glide, CAPTIONS, Wishes(batch=3)))
    single = list(drawing.draw(glide, CAPTIONS, Wishes(batch=1)))
    assert [one.caption for one in single] == CAPTIONS
    for one, other in zip(together, single, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


def test_guidance_pulls_towards_the_words() -> None:
    glide = system()
    weak, strong = (next(iter(drawing.draw(glide, CAPTIONS[:1], Wishes(guidance=g)))).picture for g in (1.0, 8.0))
    assert (weak != strong).any()


def test_stopping_early_gives_the_small_picture() -> None:
    one = next(iter(drawing.draw(system(2), CAPTIONS[:1], Wishes(stages=1))))
    assert one.picture.shape == (32, 32, 3)


def test_a_figure_says_how_its_pictures_were_drawn() -> None:
    how = drawing.described(system(2), Wishes(seed=3, steps="4"))
    assert (how.seed, how.steps, how.sampler, how.guidance) == (3, "4", "dpmpp2m", 3.0)
    assert how.later == ("ddim 2, guidance 1",)
    assert (how.side, how.dtype) == (64, "float32")
    assert how.hashes == {"base": "untrained", "up": "untrained"}


def test_no_captions_are_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        list(drawing.draw(system(), [], Wishes()))


def test_a_caption_that_is_no_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="caption: holds control characters"):
        list(drawing.draw(system(), ["a\x00b"], Wishes()))
