"""Principal components of embeddings, and what the first of them keep."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import embeddings
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    z = case.input("latent").double() @ case.input("mix").double() + case.input("offset").double()
    components = embeddings.principal(z)
    probe, counts = z[: case.config["probe_rows"]], case.config["ks"]
    kept = [embeddings.restored(embeddings.compressed(probe, components, count), components) for count in counts]
    return {
        "eigenvalues": components.variances,
        "mean": components.mean,
        "probe": probe,
        "reconstructions": torch.stack(kept),
        "mse_fraction": torch.stack([embeddings.lost(components, count) for count in counts]),
    }
