"""The logit-Laplace likelihood."""

from __future__ import annotations

import pytest
import torch

from limner.discrete import laplace


@pytest.mark.parametrize(("mu", "log_scale"), [(0.0, 0.0), (1.5, -1.0), (-2.0, 0.3)])
def test_the_density_integrates_to_one_over_the_open_unit_range(mu: float, log_scale: float) -> None:
    logits = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    x = logits.sigmoid()
    density = laplace.log_likelihood(x, torch.tensor(mu).double(), torch.tensor(log_scale).double()).exp()
    inside = (x > 0) & (x < 1)
    total = torch.trapezoid(density[inside], x[inside])
    assert abs(float(total) - 1) < 1e-5


def test_the_likeliest_logit_is_the_one_the_decoder_names() -> None:
    x = torch.tensor(0.3).double()
    mu = torch.linspace(-3, 3, 601, dtype=torch.float64)
    best = mu[laplace.log_likelihood(x, mu, torch.zeros_like(mu)).argmax()]
    assert abs(float(best - torch.logit(x))) < 0.006
