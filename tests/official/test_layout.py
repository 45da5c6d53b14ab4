"""Changes of layout, each undone by its inverse."""

from __future__ import annotations

import torch

from limner.official.layout import Entry, to_limner, to_official


def test_leading_axes_of_size_one_come_and_go() -> None:
    keys = {"a": Entry("ours", lead=2), "b": Entry("plain")}
    state = {"ours": torch.randn(3), "plain": torch.randn(2, 2)}
    official = to_official(state, keys, where="x")
    assert official["a"].shape == (1, 1, 3)
    back = to_limner(official, keys, where="x")
    assert all(torch.equal(back[name], value) for name, value in state.items())
