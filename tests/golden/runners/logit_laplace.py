"""The dVAE's likelihood and reconstruction from the six maps of its decoder."""

from __future__ import annotations

from torch import Tensor

from limner.discrete import laplace
from limner.networks.discrete_vae import map_pixels, unmap_pixels
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    mapped = map_pixels(case.input("image01"))
    mu, log_scale = case.input("out").chunk(2, dim=1)
    log_prob = laplace.log_likelihood(mapped, mu, log_scale)
    return {
        "mapped": mapped,
        "log_prob": log_prob,
        "nll_per_image": -log_prob.flatten(1).sum(1),
        "reconstruction": unmap_pixels(mu.sigmoid()),
    }
