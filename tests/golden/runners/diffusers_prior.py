"""The prior as diffusers stores it: one forward, and the embedding with its statistics put back."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from limner.config import StatisticsSettings
from limner.networks.diffusion_prior import DiffusionPrior
from limner.networks.embedding_statistics import EmbeddingStatistics
from limner.networks.layers import timestep_embedding
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_prior, filled


def run(case: Case) -> dict[str, Tensor]:
    given = case.inputs()
    net, statistics = networks(case, case.config)
    names = {"text": "text_enc", "pooled": "text_emb", "mask": "mask"}
    cond = {name: given[theirs] for name, theirs in names.items() if theirs in given}
    looked = net if "mask" in cond else partial(both_ways, net)
    with torch.no_grad():
        embedding = looked(given["x"], given["timesteps"], cond)
        if net.answer is None:
            embedding = embedding[:, None]  # the noised embedding's token is read, and keeps its place
        return {"predicted_image_embedding": embedding, "post_processed": statistics.restore(embedding)}


def both_ways(net: DiffusionPrior, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    """The forward without a mask, for which diffusers also drops the causal order: every token sees every other."""
    time = net.time(timestep_embedding(t, net.settings.width).to(x.dtype))
    tokens = [net.pooled(net.pooled_norm(cond["pooled"])), time, net.embedding(x)]
    if net.answer is not None:
        tokens.append(net.answer.expand(len(x), -1))
    words = [] if net.words is None else [net.words(cond["text"])]
    h = net.first_norm(torch.cat([*words, torch.stack(tokens, dim=1)], dim=1) + net.positions)
    for block in net.blocks:
        h = block(h)
    out: Tensor = net.head(net.norm(h[:, -1]))
    return out


def networks(case: Case, config: dict[str, object]) -> tuple[DiffusionPrior, EmbeddingStatistics]:
    """The prior and its statistics, which one state dict holds."""
    settings, weights = diffusers_prior(config), case.weights()
    normal = StatisticsSettings(clip=settings.answer or settings.clip)
    keys, rest = diffusers_unclip.prior_keys(settings), diffusers_unclip.statistics_keys()
    assert set(keys) | set(rest) == set(weights)
    prior = filled(case, DiffusionPrior, settings, weights, keys)
    return prior, filled(case, EmbeddingStatistics, normal, weights, rest)
