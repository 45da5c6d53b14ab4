"""GLIDE's noised CLIP: vectors of length one, a score whose gradient guides, and what a missing tower says."""

from __future__ import annotations

import pytest
import torch

from limner.config import NoisedClipSettings, TextTowerSettings, VitSettings
from limner.diffusion.guidance import gradient_of
from limner.errors import UnsupportedError
from limner.networks.building import build
from limner.networks.noised_clip import NoisedClip

BOTH = NoisedClipSettings(
    embed=5,
    image=VitSettings(side=8, patch=4, width=16, depth=1, heads=2),
    text=TextTowerSettings(rows=12, context=6, width=16, depth=1, heads=2),
    steps=10,
)
IDS, LENGTHS = torch.tensor([[10, 3, 11, 0, 0, 0], [10, 3, 4, 5, 6, 11]]), torch.tensor([3, 6])


def made(settings: NoisedClipSettings) -> NoisedClip:
    torch.manual_seed(0)
    net = build(settings)
    assert isinstance(net, NoisedClip)
    return net.eval().requires_grad_(False)


def test_scores_are_cosines_times_the_scale() -> None:
    net, x, t = made(BOTH), torch.randn(2, 3, 8, 8), torch.tensor([0, 9])
    texts = net.embed_text(IDS, LENGTHS)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    cosines = torch.nn.functional.cosine_similarity(net.embed_image(x, t), texts)
    torch.testing.assert_close(net.score(x, t, texts), 100 * cosines, rtol=1e-4, atol=1e-4)


def test_the_step_matters() -> None:
    net, x = made(BOTH), torch.randn(1, 3, 8, 8)
    assert not torch.allclose(net.embed_image(x, torch.tensor([0])), net.embed_image(x, torch.tensor([5])))


def test_a_step_up_the_gradient_raises_the_score() -> None:
    net, x, t = made(BOTH), torch.randn(2, 3, 8, 8), torch.tensor([3, 7])
    texts = net.embed_text(IDS, LENGTHS)
    slope = gradient_of(lambda x, t: net.score(x, t, texts))(x, t)
    assert bool((net.score(x + 1e-3 * slope, t, texts) > net.score(x, t, texts)).all())


def test_pictures_are_prepared_as_bytes() -> None:
    net = made(BOTH)
    white = net.prepared(torch.ones(1, 3, 1, 1)).flatten()
    expected = [(255 - mean) / std for mean, std in zip(BOTH.mean, BOTH.std, strict=True)]
    assert white.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_missing_tower_is_said() -> None:
    words, pictures = made(BOTH.model_copy(update={"image": None})), made(BOTH.model_copy(update={"text": None}))
    with pytest.raises(UnsupportedError, match="no picture tower"):
        words.embed_image(torch.zeros(1, 3, 8, 8), torch.tensor([0]))
    with pytest.raises(UnsupportedError, match="no text tower"):
        pictures.embed_text(IDS, LENGTHS)
