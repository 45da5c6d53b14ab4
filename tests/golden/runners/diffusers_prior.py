"""The prior as diffusers stores it: one forward, and the embedding with its statistics put back."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.config import StatisticsSettings
from limner.networks.diffusion_prior import DiffusionPrior
from limner.networks.embedding_statistics import EmbeddingStatistics
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_prior, filled


def run(case: Case) -> dict[str, Tensor]:
    given = case.inputs()
    net, statistics = networks(case, case.config)
    names = {"text": "text_enc", "pooled": "text_emb", "mask": "mask"}
    cond = {name: given[theirs] for name, theirs in names.items() if theirs in given}
    with torch.no_grad():
        embedding = net(given["x"], given["timesteps"], cond)
        return {"predicted_image_embedding": embedding, "post_processed": statistics.restore(embedding)}


def networks(case: Case, config: dict[str, object]) -> tuple[DiffusionPrior, EmbeddingStatistics]:
    """The prior and its statistics, which one state dict holds."""
    settings, weights = diffusers_prior(config), case.weights()
    normal = StatisticsSettings(clip=settings.answer or settings.clip)
    keys, rest = diffusers_unclip.prior_keys(settings), diffusers_unclip.statistics_keys()
    assert set(keys) | set(rest) == set(weights)
    prior = filled(case, DiffusionPrior, settings, weights, keys)
    return prior, filled(case, EmbeddingStatistics, normal, weights, rest)
