"""Drawing the next token."""

from __future__ import annotations

import pytest
import torch

from limner.discrete import sampling
from limner.errors import ConfigError

LOGITS = torch.tensor([[1.0, 3.0, 2.0, 2.0, -1.0]])


def kept(logits: torch.Tensor) -> list[int]:
    return logits[0].isfinite().nonzero()[:, 0].tolist()


@pytest.mark.parametrize("scale", [0.0, 1.0, 16.0])
def test_guidance_goes_from_one_answer_through_the_other(scale: float) -> None:
    words, none = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.5])
    torch.testing.assert_close(sampling.guided(words, none, scale), none + scale * (words - none))


def test_top_k_keeps_ties_with_the_last_one() -> None:
    assert kept(sampling.top_k(LOGITS, 1)) == [1]
    assert kept(sampling.top_k(LOGITS, 2)) == [1, 2, 3]
    assert torch.equal(sampling.top_k(LOGITS, 9), LOGITS)


def test_top_p_keeps_the_fewest_that_reach_it_and_always_one() -> None:
    first = float(LOGITS.softmax(-1)[0, 1])
    assert kept(sampling.top_p(LOGITS, first / 2)) == [1]
    assert kept(sampling.top_p(LOGITS, first + 0.01)) == [1, 2]
    assert kept(sampling.top_p(LOGITS, 1.0)) == [0, 1, 2, 3, 4]


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    chance = (torch.arange(20_000) + 0.5) / 20_000
    tokens = sampling.drawn(LOGITS.expand(20_000, -1), chance, temperature=0.7)
    share = torch.bincount(tokens, minlength=5) / 20_000
    torch.testing.assert_close(share, (LOGITS / 0.7).softmax(-1)[0], atol=1e-4, rtol=0)


def test_a_token_that_was_left_out_is_never_drawn_even_at_the_ends() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1)
    tokens = sampling.drawn(logits, torch.tensor([0.0, 0.5, 1 - 2**-24]))
    assert tokens.tolist() == [1, 3, 3]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert sampling.drawn(LOGITS, torch.tensor([0.99]), temperature=0).tolist() == [1]


def test_figures_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_k: at least one"):
        sampling.top_k(LOGITS, 0)
    with pytest.raises(ConfigError, match=r"top_p: .* got 1\.5"):
        sampling.top_p(LOGITS, 1.5)
    with pytest.raises(ConfigError, match="temperature: expected 0 or more"):
        sampling.drawn(LOGITS, torch.zeros(1), temperature=-1.0)
