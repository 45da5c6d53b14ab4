"""What happens to the weights once the gradients are there."""

from __future__ import annotations

import math

import pytest
import torch

from limner.config import TrainSettings
from limner.training import optimising


def recipe(**figures: object) -> TrainSettings:
    return TrainSettings(stage="base", **{"lr": 1e-3, "warmup": 10, "steps": 110, **figures})


def test_the_rate_rises_in_a_line_and_starts_above_zero() -> None:
    rates = [optimising.lr_at(step, recipe()) for step in range(10)]
    assert rates == pytest.approx([1e-4 * (step + 1) for step in range(10)])


def test_the_rate_falls_as_half_a_cosine_to_zero() -> None:
    assert optimising.lr_at(10, recipe()) == pytest.approx(1e-3)
    assert optimising.lr_at(35, recipe()) == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert optimising.lr_at(60, recipe()) == pytest.approx(5e-4)
    assert optimising.lr_at(110, recipe()) == pytest.approx(0, abs=1e-12)


def test_the_rate_stays_with_constant_decay_and_without_warm_up() -> None:
    flat = recipe(decay="constant", warmup=0)
    assert {optimising.lr_at(step, flat) for step in (0, 50, 109)} == {1e-3}


def test_an_average_follows_the_formula() -> None:
    average, parameter = torch.zeros(3), torch.full((3,), 2.0)
    expected = 0.0
    for step in range(200):
        rate = min(0.9, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * 2.0
        optimising.ema_update([average], [parameter], 0.9, step)
        if step in (0, 3, 199):
            assert average.tolist() == pytest.approx([expected] * 3, rel=1e-5)


def test_an_average_keeps_no_graph_of_the_parameters_it_saw() -> None:
    average, parameter = torch.zeros(3), torch.nn.Parameter(torch.ones(3))
    optimising.ema_update([average], [parameter], 0.9, 0)
    assert average.grad_fn is None
    assert not average.requires_grad


def test_the_ramp_of_an_average_ends_at_its_rate() -> None:
    assert optimising.ema_rate(0.999, 0) == pytest.approx(0.1)
    assert optimising.ema_rate(0.999, 10**6) == 0.999


def test_gradients_beyond_the_limit_are_scaled_and_the_norm_before_is_told() -> None:
    gradients = [torch.full((4,), 3.0), torch.full((3,), 4.0)]
    norm = math.sqrt(4 * 9 + 3 * 16)
    assert optimising.clip(gradients, 1.0) == pytest.approx(norm)
    assert torch.cat(gradients).norm() == pytest.approx(1.0, rel=1e-4)


def test_gradients_within_the_limit_are_left_alone() -> None:
    gradients = [torch.tensor([0.3, 0.4])]
    assert optimising.clip(gradients, 1.0) == pytest.approx(0.5)
    assert gradients[0].tolist() == pytest.approx([0.3, 0.4])


def test_adamw_with_its_moments_made_beforehand_steps_like_torchs_own() -> None:
    torch.manual_seed(0)
    start, settings = torch.randn(8, 4, 3, 3), recipe(weight_decay=0.1)
    results = []
    for own in (True, False):
        p = torch.nn.Parameter(start.clone())
        optimiser = (
            optimising.adamw([p], settings)
            if own
            else torch.optim.AdamW([p], lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        )
        for step in range(5):
            p.grad = torch.sin(p.detach() + step)
            optimiser.step()
        results.append(p.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)
