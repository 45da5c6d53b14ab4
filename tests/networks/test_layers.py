"""Timestep embedding, norms and attention."""

from __future__ import annotations

import math

import pytest
import torch

from limner.networks.layers import GroupNorm, LayerNorm, attend, join_heads, split_heads, timestep_embedding, zeroed


def test_the_embedding_holds_cosines_then_sines_of_falling_frequencies() -> None:
    out = timestep_embedding(torch.tensor([2.5]), 4)[0]
    slow = math.exp(-math.log(10_000) / 2)
    expected = [math.cos(2.5), math.cos(2.5 * slow), math.sin(2.5), math.sin(2.5 * slow)]
    torch.testing.assert_close(out, torch.tensor(expected))


@pytest.mark.parametrize(
    ("width", "last_bits"),
    [
        (32, {}),
        (64, {11: 1}),
        (96, {10: 1}),
        (192, {20: 1, 33: 1}),
        (320, {2: 1, 55: 1}),
        (512, {26: 1, 39: 1, 53: -1, 88: 1, 238: 1}),
    ],
)
def test_frequencies_round_as_those_of_the_official_outputs_do(width: int, last_bits: dict[int, int]) -> None:
    """Those of width 192 are seen in the official case nn_losses_embedding; all are what MKL 2024.2 gives on AVX-512."""
    half = width // 2
    exact = (-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half).double().exp().float()
    made = timestep_embedding(torch.tensor([1.0]), width)[0]
    expected = exact.view(torch.int32)
    for at, bits in last_bits.items():
        expected[at] += bits
    angles = expected.view(torch.float32)
    assert torch.equal(made, torch.cat([angles.cos(), angles.sin()]))
    assert torch.equal(timestep_embedding(torch.tensor([999]), width)[0, :half], (999.0 * angles).cos())


def test_an_odd_width_ends_in_zero() -> None:
    out = timestep_embedding(torch.tensor([1, 2]), 5)
    assert out.shape == (2, 5)
    assert not out[:, -1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_norms_keep_the_dtype_and_sum_wide(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    group, layer = GroupNorm(2, 8), LayerNorm(8)
    if dtype == torch.float64:
        group, layer = group.double(), layer.double()
    x = torch.randn(2, 8, 4, 4).to(dtype) + 100
    out = group(x)
    assert out.dtype == dtype
    wide = torch.nn.functional.group_norm(x.double(), 2, eps=group.eps)
    assert (out.double() - wide).abs().max() < (0.05 if dtype == torch.bfloat16 else 1e-3)
    assert layer(x.permute(0, 2, 3, 1).contiguous()).dtype == dtype


def test_splitting_and_joining_heads_are_inverse_and_part_major() -> None:
    x = torch.arange(2 * 3 * 12).view(2, 3, 12)
    q, k, v = split_heads(x, 3, 2)
    assert q.shape == (2, 2, 3, 2)
    assert torch.equal(torch.cat([join_heads(part) for part in (q, k, v)], dim=-1), x)


def test_attention_over_one_key_returns_its_value() -> None:
    q, k, v = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    torch.testing.assert_close(attend(q, k, v), v.expand(1, 1, 4, 8))


def test_zeroed_clears_every_parameter() -> None:
    assert not any(p.any() for p in zeroed(torch.nn.Linear(3, 3)).parameters())
