"""Embeddings normalised and restored."""

from __future__ import annotations

import torch

from limner.config import StatisticsSettings
from limner.networks.embedding_statistics import EmbeddingStatistics


def test_what_is_normalised_by_its_own_statistics_is_centred_and_comes_back() -> None:
    torch.manual_seed(0)
    z = torch.randn(50, 3) * torch.tensor([1.0, 2.0, 3.0]) + 4
    net = EmbeddingStatistics(StatisticsSettings(clip=3))
    net.load_state_dict({"mean": z.mean(0), "spread": z.std(0, correction=0)})
    normal = net.normalise(z)
    torch.testing.assert_close(normal.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(3))
    torch.testing.assert_close(net.restore(normal), z)


def test_nothing_in_it_is_trained() -> None:
    assert not [p for p in EmbeddingStatistics(StatisticsSettings(clip=3)).parameters() if p.requires_grad]
