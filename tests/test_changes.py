"""Weights told as changes to others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner import changes
from limner.errors import CheckpointError


def restored(old: dict[str, torch.Tensor], parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    whole = {**old, **{key: value for key, value in parts.items() if not key.endswith((changes.CHANGE, changes.SCALE))}}
    for key in old:
        if key + changes.CHANGE in parts:
            whole[key] = changes.applied(old[key], parts[key + changes.CHANGE], parts[key + changes.SCALE])
    return whole


@given(st.integers(1, 6), st.integers(1, 9), st.floats(1e-6, 1e3), st.integers(0, 99))
def test_a_change_comes_back_to_half_a_step_of_its_row(rows: int, columns: int, size: float, seed: int) -> None:
    change = size * torch.randn(rows, columns, 2, generator=torch.Generator().manual_seed(seed))
    steps, scale = changes.rounded(change)
    assert steps.dtype == torch.int8
    error = (changes.applied(torch.zeros_like(change), steps, scale) - change).abs().amax(dim=(1, 2))
    assert bool((error <= 0.501 * scale).all())


def test_a_row_that_did_not_move_stays_exactly() -> None:
    change = torch.randn(3, 4)
    change[1] = 0
    steps, scale = changes.rounded(change)
    old = torch.randn(3, 4)
    assert torch.equal(changes.applied(old, steps, scale)[1], old[1])
    assert bool(scale.isfinite().all())


def test_what_did_not_change_is_not_stored() -> None:
    old = {"w": torch.randn(4, 4).bfloat16(), "b": torch.randn(4).bfloat16(), "n": torch.tensor(3)}
    new = {key: value.float() if value.is_floating_point() else value for key, value in old.items()}
    assert changes.told(new, old, torch.bfloat16) == {}
    assert changes.told(new, old, torch.float32) == {}


def test_matrices_are_stored_as_changes_and_all_else_whole() -> None:
    old = {"w": torch.randn(4, 4), "b": torch.randn(4), "n": torch.tensor(3), "stem": torch.randn(4, 2)}
    new = {"w": old["w"] + 1, "b": old["b"] + 1, "n": torch.tensor(4), "stem": torch.randn(4, 5), "more": torch.randn(2, 2)}
    parts = changes.told(new, old, torch.bfloat16)
    kinds = {key: value.dtype for key, value in parts.items()}
    half = torch.bfloat16
    assert kinds == {
        "w.change": torch.int8, "w.scale": torch.float32, "b": half, "n": torch.int64, "stem": half, "more": half
    }  # fmt: skip
    for key, value in restored(old, parts).items():
        assert torch.allclose(value.float(), new[key].float(), atol=0.02), key


@pytest.mark.parametrize("moved", [0.01, 0.1])
def test_small_changes_lose_less_than_bfloat16_does(moved: float) -> None:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(64, 256, generator=generator).bfloat16()
    new = old.float() + moved * torch.randn(64, 256, generator=generator)
    parts = changes.told({"w": new}, {"w": old}, torch.bfloat16)
    ours = (restored({"w": old}, parts)["w"] - new).square().mean()
    assert ours < (new.bfloat16().float() - new).square().mean()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(broken: float) -> None:
    new = {"w": torch.randn(4, 4)}
    new["w"][1, 2] = broken
    with pytest.raises(CheckpointError, match="w: holds numbers that are not finite"):
        changes.told(new, {"w": torch.randn(4, 4)}, torch.bfloat16)
