from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.diffusion import noise

WORD = st.integers(-(2**63), 2**64 - 1)


@given(WORD, st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(0, 9), st.integers(-1, 999))
def test_an_image_has_the_same_noise_in_any_batch_and_order(seed: int, indices: list[int], stage: int, step: int) -> None:
    together = noise.batch((2, 3), seed=seed, indices=indices, stage=stage, step=step)
    turned = noise.batch((2, 3), seed=seed, indices=indices[::-1], stage=stage, step=step)
    alone = [noise.normal((2, 3), seed=seed, index=index, stage=stage, step=step) for index in indices]
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together, turned.flip(0))


@pytest.mark.parametrize("changed", ["seed", "index", "stage", "step"])
def test_each_number_of_the_key_changes_the_noise(changed: str) -> None:
    key = {"seed": 0, "index": 0, "stage": 0, "step": noise.FIRST}
    plain, other = noise.normal((64,), **key), noise.normal((64,), **{**key, changed: key[changed] + 1})
    assert not bool((plain == other).any())


def test_streams_of_neighbouring_images_do_not_overlap() -> None:
    first, second = (noise.normal((4096,), seed=0, index=index, stage=0, step=0) for index in (0, 1))
    assert not set(first.tolist()) & set(second[:64].tolist())


def test_seed_zero_is_a_seed_like_any_other() -> None:
    drawn = noise.normal((3, 64, 64), seed=0, index=0, stage=0, step=-1)
    assert drawn.dtype == torch.float32
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.std()) - 1) < 0.05


def test_a_longer_picture_begins_with_the_shorter_ones_numbers() -> None:
    short, long = (noise.normal((n,), seed=5, index=2, stage=1, step=3) for n in (10, 1000))
    assert torch.equal(short, long[:10])


def test_draws_come_in_the_shape_and_dtype_of_the_sample() -> None:
    like = torch.empty(3, 2, 4, dtype=torch.float64)
    draw = noise.draws(like, seed=1, indices=[4, 0, 9], stage=0)
    assert draw(0).dtype == torch.float64
    assert torch.equal(draw(7), noise.batch((2, 4), seed=1, indices=[4, 0, 9], stage=0, step=7).double())


def test_each_image_of_a_batch_may_have_a_seed_of_its_own() -> None:
    mixed = noise.batch((2, 3), seed=[4, -1], indices=[0, 7], stage=1, step=2)
    alone = [noise.normal((2, 3), seed=seed, index=index, stage=1, step=2) for seed, index in ((4, 0), (-1, 7))]
    assert torch.equal(mixed, torch.stack(alone))
