from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import losses, schedules, targets
from limner.errors import ConfigError

LEVELS = 50
TABLE = schedules.cosine(LEVELS)
T = torch.tensor([0, 1, 20, 49])


def batch() -> tuple[Tensor, Tensor, Tensor]:
    x_0, eps = torch.randn(2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x_0.clamp(-1, 1), targets.q_sample(x_0.clamp(-1, 1), T, TABLE, eps), eps


def settings(**changed: object) -> DiffusionSettings:
    return DiffusionSettings.model_validate({"levels": LEVELS, **changed})


def output(seed: int = 1, channels: int = 6) -> Tensor:
    made = torch.randn(4, channels, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.requires_grad_()


def terms(out: Tensor, loss: losses.Loss, weights: Tensor | None = None, **changed: object) -> dict[str, Tensor]:
    x_0, x_t, eps = batch()
    return losses.terms(out, x_0, x_t, T, eps, TABLE, settings(**changed), loss=loss, weights=weights)


@pytest.mark.parametrize("target", ["eps", "x0", "v", "previous"])
def test_the_simple_loss_is_the_mean_square_against_the_target(target: str) -> None:
    x_0, x_t, eps = batch()
    wanted = targets.training_target(x_0, x_t, T, eps, TABLE, settings(target=target))
    made = terms(output(channels=3), "simple", target=target, variance="fixed_small")
    torch.testing.assert_close(made["loss"], ((output(channels=3) - wanted) ** 2).mean(dim=(1, 2, 3)))
    assert set(made) == {"loss", "mse"}


def test_a_perfect_network_has_no_simple_loss() -> None:
    _, _, eps = batch()
    assert float(terms(eps, "simple", variance="fixed_large")["loss"].max()) == 0


def test_the_hybrid_loss_teaches_the_mean_by_squares_alone() -> None:
    simple, hybrid = output(), output()
    terms(simple, "simple")["loss"].sum().backward()
    terms(hybrid, "hybrid")["loss"].sum().backward()
    assert torch.equal(hybrid.grad[:, :3], simple.grad[:, :3])
    assert float(simple.grad[:, 3:].abs().max()) == 0
    assert float(hybrid.grad[:, 3:].abs().min()) > 0


def test_the_bound_loss_teaches_mean_and_variance() -> None:
    out = output()
    terms(out, "kl")["loss"].sum().backward()
    assert float(out.grad[:, :3].abs().max()) > 0
    assert float(out.grad[:, 3:].abs().max()) > 0


@pytest.mark.parametrize(
    ("plain", "rescaled", "factor"), [("kl", "rescaled_kl", LEVELS), ("hybrid", "rescaled_hybrid", LEVELS / 1000)]
)
def test_rescaled_losses_multiply_the_bound(plain: losses.Loss, rescaled: losses.Loss, factor: float) -> None:
    torch.testing.assert_close(terms(output(), rescaled)["vb"], factor * terms(output(), plain)["vb"])


@pytest.mark.parametrize("loss", ["simple", "hybrid", "rescaled_hybrid", "kl", "rescaled_kl"])
def test_the_loss_is_the_sum_of_its_parts(loss: losses.Loss) -> None:
    made = terms(output(), loss)
    torch.testing.assert_close(made["loss"], sum(value for name, value in made.items() if name != "loss"))


def test_weights_count_for_the_squares_and_not_for_the_bound() -> None:
    plain, weighted = terms(output(), "hybrid"), terms(output(), "hybrid", torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(weighted["mse"], plain["mse"] * torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(weighted["vb"], plain["vb"])


@pytest.mark.parametrize("loss", ["hybrid", "rescaled_hybrid"])
def test_a_hybrid_loss_needs_a_learned_variance(loss: losses.Loss) -> None:
    with pytest.raises(ConfigError, match="use 'simple'"):
        terms(output(channels=3), loss, variance="fixed_small")


@given(st.integers(0, LEVELS - 1), st.floats(0.5, 20))
def test_min_snr_weighs_the_error_of_the_picture_alike_for_every_target(t: int, cap: float) -> None:
    level = torch.tensor([t])
    signal = float(TABLE[t])
    snr = signal / (1 - signal)
    weigh = {name: float(losses.snr_weights(level, TABLE, settings(target=name), cap=cap)) for name in ("eps", "x0", "v")}
    # An error e of the picture is one of e * sqrt(snr) of the noise and of e * sqrt(snr + 1) of v.
    assert weigh["x0"] == pytest.approx(min(snr, cap), rel=1e-5)
    assert weigh["eps"] * snr == pytest.approx(weigh["x0"], rel=1e-5)
    assert weigh["v"] * (snr + 1) == pytest.approx(weigh["x0"], rel=1e-5)


@given(st.integers(0, LEVELS - 1))
def test_the_error_of_v_is_that_of_the_picture_times_snr_plus_one(t: int) -> None:
    level = torch.tensor([t])
    v = losses.snr_weights(level, TABLE, settings(target="v"), kind="snr_plus_one", cap=1e30)
    assert float(v) == pytest.approx(1, rel=1e-5)
    assert float(losses.snr_weights(level, TABLE, settings(target="x0"), kind="snr_plus_one", cap=5)) >= 1


def test_min_snr_is_not_known_for_previous_x() -> None:
    with pytest.raises(ConfigError, match="none"):
        losses.snr_weights(T, TABLE, settings(target="previous"))
