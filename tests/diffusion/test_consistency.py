"""Consistency models beside their golden vectors: identities the formulas must have, and refusals."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import Tensor

from limner.diffusion import consistency, schedules
from limner.diffusion.consistency import Distance, Weighting
from limner.errors import ConfigError, ShapeError


def perfect(x_0: Tensor) -> consistency.Seer:
    """Sees the true picture in anything."""
    return lambda x, sigma: x_0


def test_a_consistency_model_is_the_identity_at_the_least_noise() -> None:
    see = consistency.seer(lambda x, t: torch.full_like(x, 1e3))
    x = torch.randn(2, 3)
    assert torch.equal(see(x, torch.full((2,), 0.002, dtype=torch.float64)), x)


def test_scalings_of_levels_agree_with_those_of_unscaled_pictures() -> None:
    sigma = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    alpha_bar = schedules.from_sigmas(sigma)
    scaled, plain = consistency.level_scalings(alpha_bar), consistency.edm_scalings(sigma)
    torch.testing.assert_close(scaled.out, plain.out)
    torch.testing.assert_close(scaled.skip * alpha_bar.sqrt(), plain.skip)
    torch.testing.assert_close(scaled.into * alpha_bar.sqrt(), plain.into)


def test_neighbours_run_from_the_noisiest_to_the_least() -> None:
    t, s = consistency.neighbours(torch.tensor([0, 16]), 18)
    torch.testing.assert_close(t[0].item(), 80.0)
    torch.testing.assert_close(s[1].item(), 0.002)
    assert bool((t > s).all())


def test_the_euler_step_of_the_true_picture_keeps_the_same_noise() -> None:
    x_0, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    t, s = torch.tensor([4.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 0.5], dtype=torch.float64)
    x_t = x_0 + t.float().view(2, 1, 1) * eps
    torch.testing.assert_close(consistency.euler_step(x_t, t, s, x_0), x_0 + s.float().view(2, 1, 1) * eps)
    torch.testing.assert_close(consistency.heun_step(x_t, t, s, perfect(x_0)), consistency.euler_step(x_t, t, s, x_0))


def test_nothing_is_lost_when_both_see_the_truth() -> None:
    x_0, eps = torch.randn(2, 3), torch.randn(2, 3)
    pair = consistency.neighbours(torch.tensor([3, 5]), 18)
    assert consistency.loss(perfect(x_0), perfect(x_0), x_0, eps, pair).tolist() == [0, 0]


def test_only_the_online_network_learns_and_both_drop_the_same_units() -> None:
    torch.manual_seed(0)
    drops: list[Tensor] = []

    def dropping(gain: Tensor) -> consistency.Seer:
        def see(x: Tensor, sigma: Tensor) -> Tensor:
            drops.append(torch.nn.functional.dropout(torch.ones(64), 0.5))
            return gain * x

        return see

    online, target = torch.ones((), requires_grad=True), torch.ones((), requires_grad=True)
    pair = consistency.neighbours(torch.tensor([3, 5]), 18)
    consistency.loss(dropping(online), dropping(target), torch.randn(2, 3), torch.randn(2, 3), pair).sum().backward()
    assert online.grad is not None
    assert target.grad is None
    assert torch.equal(drops[0], drops[1])
    assert not torch.equal(drops[0], torch.nn.functional.dropout(torch.ones(64), 0.5))


@pytest.mark.parametrize(
    ("distance", "expected"), [("l1", [1.0, 2.0]), ("l2", [1.0, 4.0]), ("l2-32", [1.0, 4.0])], ids=lambda value: str(value)
)
def test_distances_are_means_over_a_picture(distance: Distance, expected: list[float]) -> None:
    a = torch.zeros(2, 3, 8, 8)
    b = torch.ones(2, 3, 8, 8) * torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(consistency.apart(a, b, distance), torch.tensor(expected))


@pytest.mark.parametrize(
    ("kind", "expected"), [("uniform", 1), ("snr", 0.25), ("snr+1", 1.25), ("karras", 4.25), ("truncated-snr", 1)]
)
def test_weights_follow_the_signal_to_noise_ratio(kind: Weighting, expected: float) -> None:
    assert consistency.weight(kind, torch.tensor(2.0)).item() == pytest.approx(expected)


def test_the_grid_and_the_rate_of_the_target_grow_to_the_end() -> None:
    steps = [consistency.progress(step, 100, start_levels=2, end_levels=20, start_rate=0.9) for step in range(101)]
    assert steps[0] == (pytest.approx(0.9**2), 2)
    assert steps[-1][1] == 21
    assert steps == sorted(steps)
    assert steps[-1][0] == pytest.approx(math.exp(2 * math.log(0.9) / 20))


def test_levels_of_the_decoder_are_ends_of_bins_below_the_last() -> None:
    assert consistency.decoder_levels() == (1008, 512)
    assert consistency.decoder_levels((1.0,), T=100, bins=10) == (90,)
    assert {consistency.rounded_level(t) % 16 for t in range(1024)} == {0}


def test_decoding_ends_with_what_the_network_sees_last() -> None:
    alpha_bar = schedules.cosine(1024)
    met: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        met.append(int(t[0]))
        return torch.cat([0 * x + 0.25, x], dim=1)  # channels beyond the picture's are not looked at

    denoise = consistency.level_denoiser(network, alpha_bar)
    steps = list(consistency.decode(denoise, alpha_bar, lambda k: torch.full((2, 3, 4, 4), 0.1 * k)))
    assert met == [1008, 512]
    assert torch.equal(steps[-1].x, steps[-1].x0)
    skip, out, _ = consistency.level_scalings(alpha_bar[512])
    seen = (alpha_bar[512].sqrt() * steps[0].x0[0, 0, 0, 0] + (1 - alpha_bar[512]).sqrt() * 0.1).float()
    torch.testing.assert_close(steps[-1].x[0, 0, 0, 0], (out * 0.25 + skip * seen).float())


def test_a_latent_of_the_mean_becomes_zero() -> None:
    mean = torch.tensor(consistency.LATENT_MEAN).view(1, 4, 1, 1)
    normalised = consistency.normalised_latent(mean / 0.18215)
    torch.testing.assert_close(normalised, torch.zeros(1, 4, 1, 1), atol=1e-6, rtol=0)


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(ShapeError, match=r"\[B, 4, h, w\]; got \[1, 3, 2, 2\]"):
        consistency.normalised_latent(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ShapeError, match=r"l2-32: needs pictures"):
        consistency.apart(torch.zeros(2, 3), torch.zeros(2, 3), "l2-32")
    with pytest.raises(ConfigError, match="no 'lpips'; have: l1"):
        consistency.apart(torch.zeros(2, 3), torch.zeros(2, 3), cast(Distance, "lpips"))
    with pytest.raises(ConfigError, match="no 'x'; have: uniform"):
        consistency.weight(cast(Weighting, "x"), torch.ones(1))
    for shares in ((), (0.5, 1.0), (1.5,), (1.0, 0.0)):
        with pytest.raises(ConfigError, match="shares"):
            consistency.decoder_levels(shares)
