from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import guidance, samplers, schedules, targets
from limner.diffusion.targets import Prediction
from limner.errors import InputError, ShapeError
from tests.diffusion.closed_form import denoiser

TABLE = schedules.linear(40)
X, T = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([5, 5, 5])
COND = {"text": torch.arange(6.0).view(3, 2), "low_res": torch.ones(3, 1)}


def network(x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    said = x * cond["text"].sum(1).view(-1, 1, 1, 1) + cond["low_res"].view(-1, 1, 1, 1) + t.view(-1, 1, 1, 1)
    return torch.cat([said, said + 100], dim=1)


def test_guidance_extrapolates_from_null_to_condition_and_leaves_the_variance() -> None:
    null = {"text": torch.zeros(3, 2)}
    guided = guidance.cfg(network, 3.0, COND, null)(X, T)
    with_words, without = network(X, T, COND), network(X, T, {**COND, **null})
    torch.testing.assert_close(guided[:, :2], without[:, :2] + 3 * (with_words - without)[:, :2])
    torch.testing.assert_close(guided[:, 2:], with_words[:, 2:])


def test_guidance_asks_once_for_the_doubled_batch_conditional_half_first() -> None:
    calls = []

    def watched(x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        calls.append((len(x), cond["text"][:3]))
        return network(x, t, cond)

    guidance.cfg(watched, 2.0, COND, {"text": torch.zeros(1, 2)})(X, T)
    assert len(calls) == 1
    assert calls[0][0] == 6
    assert torch.equal(calls[0][1], COND["text"])


def test_a_scale_of_one_makes_no_second_half() -> None:
    sizes = []

    def watched(x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        sizes.append(len(x))
        return network(x, t, cond)

    out = guidance.cfg(watched, 1.0, COND, {})(X, T)
    assert sizes == [3]
    assert torch.equal(out, network(X, T, COND))


def test_guidance_in_an_interval_asks_the_one_above_it_and_the_other_below() -> None:
    asked = []

    def named(name: str) -> targets.Denoiser:
        def denoise(x_t: Tensor, t: int, s: int) -> Prediction:
            asked.append((name, t))
            return denoiser(TABLE)(x_t, t, s)

        return denoise

    parted = guidance.above(15, named("noisy"), named("clean"))
    for t in (30, 15, 14):
        assert torch.equal(parted(X, t, t - 1).x0, denoiser(TABLE)(X, t, t - 1).x0)
    assert asked == [("noisy", 30), ("noisy", 15), ("clean", 14)]


def test_a_null_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="lacks"):
        guidance.cfg(network, 2.0, COND, {"txt": torch.zeros(3, 2)})
    with pytest.raises(ShapeError, match=r"null\['text'\] must have shape \[3, 2\]; got \[2, 2\]"):
        guidance.cfg(network, 2.0, COND, {"text": torch.zeros(2, 2)})


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmpp2m", "heun", "euler"])
def test_known_pixels_end_as_they_were(name: str) -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    image, mask = torch.full((1, 3, 4, 4), 0.25), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1  # repaint the left half
    kept = guidance.keep(denoiser(TABLE), image, mask)
    path = schedules.path(40, "8")
    final = samplers.last(samplers.SAMPLERS[name](kept, TABLE, x, path, lambda k: torch.randn(2, 3, 4, 4)))
    torch.testing.assert_close(final[..., 2:], image[..., 2:].expand(2, 3, 4, 2))
    assert not bool((final[..., :2] == 0.25).any())


def test_the_clip_comes_after_the_known_pixels() -> None:
    image, mask = torch.full((1, 1, 2, 2), 2.0), torch.zeros(1, 1, 2, 2)
    kept = guidance.keep(denoiser(TABLE), image, mask, clip=targets.clip_unit)
    assert torch.equal(kept(torch.zeros(1, 1, 2, 2), 5, 4).x0, torch.ones(1, 1, 2, 2))


def test_a_push_moves_the_mean_by_variance_times_gradient() -> None:
    x = torch.zeros(2, 3, 4, 4)
    plain = denoiser(TABLE)
    seen = plain(x, 9, 8)
    pushed = guidance.pushed(plain, lambda x, t: torch.full_like(x, 5.0))(x, 9, 8)
    moved = targets.mean_of(pushed, x, 9, 8, TABLE) - targets.mean_of(seen, x, 9, 8, TABLE)
    torch.testing.assert_close(moved, torch.full_like(x, 5 * float(seen.variance)))


def test_a_push_moves_the_noise_against_the_gradient() -> None:
    x = torch.zeros(2, 3, 4, 4)
    plain = denoiser(TABLE)
    _, eps = targets.noise_of(plain(x, 9, 8), x, 9, TABLE)
    x0, shifted = targets.noise_of(guidance.pushed(plain, lambda x, t: torch.ones_like(x))(x, 9, 8), x, 9, TABLE)
    torch.testing.assert_close(eps - shifted, torch.full_like(x, float((1 - TABLE[9]).sqrt())))
    torch.testing.assert_close(x0, targets.x0_from_eps(x, shifted, 9, TABLE))


def test_pushes_add_up_and_see_the_level() -> None:
    seen = []

    def gradient(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t.tolist())
        return torch.ones_like(x)

    twice = guidance.pushed(guidance.pushed(denoiser(TABLE), gradient), gradient)
    push = twice(torch.zeros(2, 1), 7, 6).push
    assert push is not None
    assert torch.equal(push, torch.full((2, 1), 2.0))
    assert seen == [[7, 7], [7, 7]]


def test_the_gradient_of_a_score_is_found_under_no_grad() -> None:
    x = torch.randn(3, 5, dtype=torch.float64)
    gradient = guidance.gradient_of(lambda x, t: -(x**2).sum(1) * t, scale=0.5)
    with torch.no_grad():
        found = gradient(x, torch.tensor([1, 2, 3]))
    assert not found.requires_grad
    torch.testing.assert_close(found, -x * torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64))


def test_pushing_towards_a_place_draws_pictures_there() -> None:
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    path = schedules.path(40, "40")
    pull = guidance.gradient_of(lambda x, t: -2 * ((x - 2) ** 2).sum(1))
    plain, drawn = (
        samplers.last(samplers.ddpm(den, TABLE, x, path, lambda k: torch.randn(400, 1, generator=rng)))
        for den in (denoiser(TABLE), guidance.pushed(denoiser(TABLE), pull))
    )
    assert drawn.mean() > plain.mean() + 0.3


def test_a_denoiser_may_be_edited_without_losing_its_variance() -> None:
    plain = denoiser(TABLE)
    seen = targets.edited(plain, lambda x0: -x0)(torch.ones(1, 1), 3, 2)
    before: Prediction = plain(torch.ones(1, 1), 3, 2)
    assert torch.equal(seen.x0, -before.x0)
    assert torch.equal(seen.log_variance, before.log_variance)


def test_guided_networks_make_denoisers() -> None:
    guided = guidance.cfg(network, 2.0, COND, {"text": torch.zeros(1, 2)})
    seen = targets.denoiser(guided, TABLE, DiffusionSettings(schedule="linear", levels=40))(X, 5, 4)
    assert seen.x0.shape == X.shape
