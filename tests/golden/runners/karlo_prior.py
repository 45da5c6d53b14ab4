"""Karlo's own prior: one forward, its mask, and the embedding with its statistics put back."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.config import StatisticsSettings
from limner.networks.diffusion_prior import DiffusionPrior, allowed_pairs
from limner.networks.embedding_statistics import EmbeddingStatistics
from limner.official import karlo
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import filled, karlo_prior


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    settings = karlo_prior(case.config, weights)
    net = filled(case, DiffusionPrior, settings, weights, karlo.prior_keys(settings, prefix=""))
    pair = {"0": given["clip_mean"], "1": given["clip_std"]}
    statistics = filled(case, EmbeddingStatistics, StatisticsSettings(clip=settings.clip), pair, karlo.statistics_keys())
    cond = {"text": given["text_enc"], "pooled": given["text_emb"], "mask": given["mask"]}
    with torch.no_grad():
        embedding = net(given["x"], given["timesteps"], cond)
        return {
            "pred_image_embedding": embedding,
            "attend_allowed": allowed_pairs(net.seen(net.project(cond))),
            "denormalised": statistics.restore(embedding),
        }
