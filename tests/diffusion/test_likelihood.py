from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from limner.config import DiffusionSettings
from limner.diffusion import likelihood, schedules, targets
from limner.diffusion.schedules import CLEAN

TABLE = schedules.cosine(30)
SETTINGS = DiffusionSettings(levels=30, variance="fixed_small")
REAL = st.floats(-3, 3)


def pictures() -> tuple[Tensor, Tensor]:
    x_0, eps = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return ((x_0.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1, eps


@given(REAL, REAL, REAL, REAL)
def test_the_divergence_is_that_of_two_gaussians(mean: float, log_var: float, mean2: float, log_var2: float) -> None:
    values = [torch.tensor(value, dtype=torch.float64) for value in (mean, log_var, mean2, log_var2)]
    one, other = Normal(values[0], (values[1] / 2).exp()), Normal(values[2], (values[3] / 2).exp())
    torch.testing.assert_close(likelihood.normal_kl(*values), kl_divergence(one, other), rtol=1e-9, atol=1e-9)


def test_the_distribution_function_is_near_the_true_one() -> None:
    x = torch.linspace(-5, 5, 400, dtype=torch.float64)
    assert float((likelihood.normal_cdf(x) - torch.special.ndtr(x)).abs().max()) < 4e-4


@given(st.floats(-1, 1), st.floats(-4, 0))
def test_the_probabilities_of_all_256_values_sum_to_one(mean: float, log_scale: float) -> None:
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    scale = torch.tensor(log_scale, dtype=torch.float64)
    log = likelihood.discretised_log_likelihood(values, torch.full_like(values, mean), scale)
    assert float(log.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_a_network_that_knows_the_noise_pays_nothing_before_the_last_step() -> None:
    x_0, eps = pictures()
    terms = list(likelihood.bits_per_dim(lambda x, t: eps, x_0, TABLE, SETTINGS, lambda k: eps))
    assert [term.t for term in terms] == list(range(29, -1, -1))
    for term in terms:
        assert float(term.x0_mse.max()) < 1e-9
    for term in terms[:-1]:
        assert float(term.bits.abs().max()) < 1e-9
    assert float(terms[-1].bits.min()) > 0


def test_a_network_that_errs_pays_at_every_level() -> None:
    x_0, eps = pictures()
    for term in likelihood.bits_per_dim(lambda x, t: 0 * x, x_0, TABLE, SETTINGS, lambda k: eps, clip=None):
        assert float(term.bits.min()) > 0
        torch.testing.assert_close(term.eps_mse, likelihood.flat_mean(eps**2))


def test_the_bound_of_a_respaced_process_is_that_of_its_own_table() -> None:
    x_0, eps = pictures()
    path = schedules.path(30, "7")
    short = schedules.respaced(TABLE, path[-2::-1])
    along = likelihood.bits_per_dim(lambda x, t: 0.3 * x, x_0, TABLE, SETTINGS, lambda k: eps, path=path)
    whole = likelihood.bits_per_dim(
        lambda x, t: 0.3 * x, x_0, short, DiffusionSettings(levels=7, variance="fixed_small"), lambda k: eps
    )
    for one, other in zip(along, whole):
        torch.testing.assert_close(one.bits, other.bits)
    torch.testing.assert_close(likelihood.prior_bits(x_0, TABLE, path[0]), likelihood.prior_bits(x_0, short))


def test_pictures_drowned_in_noise_have_almost_no_prior_bits() -> None:
    x_0, _ = pictures()
    assert float(likelihood.prior_bits(x_0, TABLE).max()) < 1e-4
    assert float(likelihood.prior_bits(x_0, TABLE, 5).min()) > 0.1


def test_levels_one_a_sample_give_each_its_own_term() -> None:
    x_0, eps = pictures()
    t = torch.tensor([0, 4, 29])
    x_t = targets.q_sample(x_0, t, TABLE, eps)
    seen = targets.predict(0.2 * x_t, x_t, t, t - 1, alpha_bar=TABLE, settings=SETTINGS)
    mixed = likelihood.bound_term(seen, x_0, x_t, t, t - 1, alpha_bar=TABLE)
    for i, level in enumerate(t.tolist()):
        one = slice(i, i + 1)
        alone = targets.predict(0.2 * x_t[one], x_t[one], level, level - 1, alpha_bar=TABLE, settings=SETTINGS)
        bits = likelihood.bound_term(alone, x_0[one], x_t[one], level, level - 1, alpha_bar=TABLE)
        torch.testing.assert_close(mixed[one], bits)


def test_the_last_term_is_the_price_of_the_bin() -> None:
    x_0, eps = pictures()
    x_t = targets.q_sample(x_0, 0, TABLE, eps)
    seen = targets.predict(0.1 * x_t, x_t, 0, CLEAN, alpha_bar=TABLE, settings=SETTINGS)
    bits = likelihood.bound_term(seen, x_0, x_t, 0, CLEAN, alpha_bar=TABLE)
    log = likelihood.discretised_log_likelihood(x_0, seen.x0, 0.5 * seen.log_variance)
    torch.testing.assert_close(bits, -log.flatten(1).mean(1) / math.log(2))
