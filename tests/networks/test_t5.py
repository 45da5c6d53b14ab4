"""T5's encoder through transformers."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.config import T5Settings
from limner.errors import ShapeError, UnsupportedError
from limner.networks.t5 import T5Encoder

TINY = T5Settings(rows=9, width=6, depth=2, heads=3, head_width=4, hidden=5, buckets=8, reach=16)
IDS = torch.tensor([[3, 4, 5, 1, 0], [8, 7, 6, 2, 1]])


@pytest.fixture
def net() -> T5Encoder:
    pytest.importorskip("transformers", reason="T5 needs the extra of that name")
    torch.manual_seed(0)
    return T5Encoder(TINY).double().eval().requires_grad_(False)


def by_hand(state: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The encoder written out from its paper, without a mask and with every token closer than half the buckets reach."""

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * state[name]

    def rows(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T

    length, x = ids.shape[1], state["embed_tokens.weight"][ids]
    ahead = torch.arange(length)[None] - torch.arange(length)[:, None]  # [query, key]
    # Half of the 8 buckets are for keys ahead; the nearer half of each hold one distance, and 2 and more share the third
    # and fourth: log(n / 2) / log(16 / 2) * 2 stays below 1 up to n = 5.
    away = ahead.abs()
    bucket = torch.where(ahead > 0, 4, 0) + torch.where(away < 2, away, 2)
    bias = state["block.0.layer.0.SelfAttention.relative_attention_bias.weight"][bucket].permute(2, 0, 1)  # [H L L]
    for n in range(2):
        attention, perceptron = f"block.{n}.layer.0", f"block.{n}.layer.1"
        h = norm(x, f"{attention}.layer_norm.weight")
        q, k, v = (rows(f"{attention}.SelfAttention.{part}", h).unflatten(-1, (3, 4)).transpose(1, 2) for part in "qkv")
        h = (q @ k.transpose(-1, -2) + bias).softmax(-1) @ v  # no division by the root of the width
        x = x + rows(f"{attention}.SelfAttention.o", h.transpose(1, 2).flatten(2))
        h = norm(x, f"{perceptron}.layer_norm.weight")
        inner = f"{perceptron}.DenseReluDense"
        x = x + rows(f"{inner}.wo", F.gelu(rows(f"{inner}.wi_0", h), approximate="tanh") * rows(f"{inner}.wi_1", h))
    return norm(x, "final_layer_norm.weight")


def test_it_computes_what_the_paper_says(net: T5Encoder) -> None:
    torch.manual_seed(1)
    state = {name: torch.randn(value.shape, dtype=torch.float64) for name, value in net.stack.state_dict().items()}
    net.stack.load_state_dict(state)
    seen = net(IDS, torch.ones_like(IDS, dtype=torch.bool))
    # transformers takes the mean of squares of its norms in float32, whatever the rest is.
    torch.testing.assert_close(seen, by_hand(state, IDS), atol=1e-5, rtol=1e-5)


def test_no_word_depends_on_a_pad(net: T5Encoder) -> None:
    mask = IDS != 0
    other = torch.where(mask, IDS, 5)
    before, after = net(IDS, mask), net(other, mask)
    torch.testing.assert_close(before[mask], after[mask], atol=0, rtol=0)


def test_ids_and_mask_must_fit_each_other(net: T5Encoder) -> None:
    with pytest.raises(ShapeError, match=r"got \[2, 5\] and \[2, 4\]"):
        net(IDS, torch.ones(2, 4, dtype=torch.bool))


def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnsupportedError, match=r"T5: .* pip install 'limner\[t5\]'"):
        T5Encoder(TINY)
