"""From a micro-batch to a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.config import TrainSettings
from limner.diffusion import schedules
from limner.diffusion.importance import LossSecondMoment, Uniform
from limner.training import feed, objectives
from limner.training.session import stage_of
from tests.training.tiny import Stripes, preset

CPU = torch.device("cpu")


def batch(**recipe: object) -> tuple[feed.Batch, feed.Plan]:
    settings, figures = stage_of(preset(**{"batch": 64, **recipe}), "upsampler")
    plan = feed.plan(Stripes(), settings, figures, None)
    return feed.read(plan, 0), plan


def test_the_blur_is_a_gaussian_of_three_by_three() -> None:
    picture, sigma = torch.randn(2, 3, 6, 6), torch.tensor([0.4, 0.6])
    got = objectives.blurred(picture, sigma)
    for k in range(2):
        line = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2) / (2 * sigma[k] ** 2))
        kernel = torch.outer(line, line) / line.sum() ** 2
        padded = F.pad(picture[k : k + 1], (1, 1, 1, 1), mode="reflect")
        expected = F.conv2d(padded, kernel.expand(3, 1, 3, 3), groups=3)
        torch.testing.assert_close(got[k : k + 1], expected)


def test_no_sigma_means_no_blur() -> None:
    picture = torch.randn(2, 3, 6, 6)
    assert torch.equal(objectives.blurred(picture, torch.zeros(2)), picture)


def test_a_network_that_inpaints_is_told_the_picture_its_mask_and_all_of_the_smaller_picture() -> None:
    read, plan = batch(inpaint=True, drop_low_res_blur=1.0)
    assert read.known is not None
    assert read.low is not None
    cond = objectives.conditions(read, plan.recipe, CPU)
    assert torch.equal(cond["image"], objectives.to_unit(read.picture, CPU))
    assert torch.equal(cond["known"], read.known.float())
    assert torch.equal(cond["low_res"], objectives.to_unit(read.low, CPU))


def test_the_loss_is_that_of_all_pixels_known_or_not() -> None:
    read, plan = batch(inpaint=True)
    assert read.known is not None

    def loss(wrong: Tensor) -> Tensor:
        """Of a network that says the truth (v at the last level is -x_0), and 1 more where `wrong` is."""
        alpha_bar = torch.tensor([0.5, 0.0], dtype=torch.float64)
        stage = plan.stage.model_copy(update={"diffusion": plan.stage.diffusion.model_copy(update={"levels": 2})})
        truth = wrong - objectives.to_unit(read.picture, CPU)
        t = torch.ones(len(wrong), dtype=torch.int64)
        return objectives.terms(
            lambda x, t, cond: truth, None, read, t, stage=stage, recipe=plan.recipe, alpha_bar=alpha_bar
        ).loss

    known = read.known.float().expand(-1, 3, -1, -1)
    for wrong in (known, 1 - known):
        torch.testing.assert_close(loss(wrong), wrong.mean(dim=(1, 2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_condition_is_left_sharp_in_the_recipes_share_of_views(share: float) -> None:
    read, plan = batch(drop_low_res_blur=share)
    assert read.low is not None
    low = objectives.conditions(read, plan.recipe, CPU)["low_res"]
    sharp = (low == objectives.to_unit(read.low, CPU)).flatten(1).all(1)
    assert torch.equal(sharp, read.chances[:, feed.BLUR] < share)


def test_the_blurs_width_lies_between_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(objectives, "blurred", lambda low, sigma: seen.append(sigma) or low)
    read, plan = batch(drop_low_res_blur=0.0)
    objectives.conditions(read, plan.recipe, CPU)
    assert seen[0].min() >= 0.4
    assert seen[0].max() <= 0.6
    assert seen[0].std() > 0.02


def test_bytes_become_numbers_from_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert objectives.to_unit(pixels, CPU).tolist() == pytest.approx([-1, -0.6, 1])


def test_noisier_bends_uniform_chances_to_the_end_of_the_process() -> None:
    chances = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:-1]
    t, factor = objectives.levels_at(Uniform(1000), chances, 1000, noisier=8)
    assert (t >= 900).double().mean() == pytest.approx(1 - 0.9**8, abs=1e-3)
    assert t.max() == 999
    assert torch.equal(factor, torch.ones(10_000))


def test_uniform_chances_cover_every_level_alike() -> None:
    chances = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    t, factor = objectives.levels_at(Uniform(100), chances, 100)
    assert torch.bincount(t, minlength=100).tolist() == [10] * 100
    assert factor.tolist() == [1.0] * 1000


def test_levels_of_large_loss_are_drawn_more_often_and_weighed_less() -> None:
    sampler = LossSecondMoment(4, history=1, uniform=0.0)
    sampler.update(torch.arange(4), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    chances = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    t, factor = objectives.levels_at(sampler, chances, 4)
    assert torch.bincount(t).tolist() == [100, 200, 300, 400]
    assert factor.mean().item() == pytest.approx(1.0)
    assert factor[t == 3][0].item() == pytest.approx(1 / (4 * 0.4))


def test_the_loss_is_the_weighted_squared_error_of_v() -> None:
    read, plan = batch(weighting="min_snr", snr_cap=5.0, drop_low_res_blur=1.0)
    alpha_bar = schedules.of(plan.stage.diffusion)
    t = torch.arange(64) % 100
    seen: dict[str, Tensor] = {}

    def network(x: Tensor, level: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        seen.update(x=x, level=level, low_res=cond["low_res"])
        return torch.zeros_like(x)

    found = objectives.terms(network, None, read, t, stage=plan.stage, recipe=plan.recipe, alpha_bar=alpha_bar)
    x_0, abar = read.picture.double() / 127.5 - 1, alpha_bar[t].view(-1, 1, 1, 1)
    v = abar.sqrt() * read.eps - (1 - abar).sqrt() * x_0
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    expected = (v**2).flatten(1).mean(1) * snr.clamp(max=5.0) / (snr + 1)
    torch.testing.assert_close(found.loss.double(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(seen["x"].double(), abar.sqrt() * x_0 + (1 - abar).sqrt() * read.eps, rtol=1e-4, atol=1e-5)
    assert torch.equal(seen["level"], t)
    assert list(found.parts) == ["mse"]


def test_autocast_narrows_the_network_and_not_the_loss() -> None:
    read, plan = batch(bf16=True)
    weight = torch.randn(3, 3, 1, 1, requires_grad=True)
    dtypes: list[torch.dtype] = []

    def network(x: Tensor, level: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        out = F.conv2d(x, weight)
        dtypes.append(out.dtype)
        return out

    t = torch.zeros(64, dtype=torch.int64)
    found = objectives.terms(
        network, None, read, t, stage=plan.stage, recipe=plan.recipe, alpha_bar=schedules.of(plan.stage.diffusion)
    )
    assert dtypes == [torch.bfloat16]
    assert found.loss.dtype == torch.float32


def test_crops_of_the_condition_stay_in_eight_bits() -> None:
    read, _ = batch()
    assert read.low is not None
    assert read.low.dtype == torch.uint8
    assert np.unique(read.low.numpy()).size > 1
    assert math.prod(read.low.shape[2:]) * 16 == math.prod(read.picture.shape[2:])


def test_learned_variance_is_trained_by_its_own_term() -> None:
    settings, recipe = stage_of(
        preset(diffusion={"target": "eps", "variance": "learned_range"}, loss="rescaled_hybrid", batch=8), "upsampler"
    )
    plan = feed.plan(Stripes(), settings, TrainSettings.model_validate(recipe.model_dump()), None)
    read = feed.read(plan, 0)

    def network(x: Tensor, level: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(len(x), 6, *x.shape[2:])

    t = torch.full((8,), 50)
    found = objectives.terms(network, None, read, t, stage=settings, recipe=recipe, alpha_bar=schedules.of(settings.diffusion))
    assert sorted(found.parts) == ["mse", "vb"]
    torch.testing.assert_close(found.loss, found.parts["mse"] + found.parts["vb"])
