"""What unCLIP's decoder reads: extra tokens of the picture's embedding, the text, and both embeddings added."""

from __future__ import annotations

import pytest
import torch

from limner.config import TextProjectionSettings
from limner.errors import UnsupportedError
from limner.networks.text_projection import TextProjection

TINY = TextProjectionSettings(clip=6, tokens=3, width=8, embed=10)


def projection(settings: TextProjectionSettings = TINY) -> TextProjection:
    torch.manual_seed(0)
    return TextProjection(settings).eval().requires_grad_(False)


def test_tokens_of_the_picture_come_before_the_text_and_are_always_seen() -> None:
    image, pooled, text = torch.randn(2, 6), torch.randn(2, 6), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, False, False, False], [True, True, False, False]])
    out = projection()(image, pooled, text, mask)
    assert out["text"].shape == (2, 7, 8)
    assert out["pooled"].shape == (2, 10)
    assert out["mask"].tolist() == [[True] * 4 + [False] * 3, [True] * 5 + [False] * 2]


def test_the_picture_does_not_change_the_text() -> None:
    net = projection()
    pooled, text = torch.randn(2, 6), torch.randn(2, 4, 6)
    one, other = net(torch.randn(2, 6), pooled, text), net(torch.randn(2, 6), pooled, text)
    assert torch.equal(one["text"][:, 3:], other["text"][:, 3:])
    assert not torch.equal(one["text"][:, :3], other["text"][:, :3])
    assert not torch.equal(one["pooled"], other["pooled"])
    assert bool(one["mask"].all())


def test_without_extra_tokens_there_is_the_text_alone() -> None:
    out = projection(TINY.model_copy(update={"tokens": 0}))(torch.randn(1, 6), torch.randn(1, 6), torch.randn(1, 4, 6))
    assert out["text"].shape == (1, 4, 8)
    assert out["mask"].shape == (1, 4)


def test_no_picture_is_a_learned_embedding() -> None:
    net = projection()
    assert net.null is not None
    net.null += 2
    assert torch.equal(net.no_image(3), torch.full((3, 6), 2.0))
    with pytest.raises(UnsupportedError, match="without an embedding for 'no picture'"):
        projection(TINY.model_copy(update={"null": False})).no_image(1)
