from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.diffusion import importance
from limner.diffusion.importance import LossSecondMoment, Uniform
from limner.errors import TrainingError


def warmed(levels: int = 4, history: int = 3) -> LossSecondMoment:
    sampler = LossSecondMoment(levels, history=history, uniform=0.1)
    for level in range(levels):
        sampler.update(torch.full((history,), level), torch.full((history,), float(level + 1)))
    return sampler


def test_levels_are_uniform_until_every_one_has_a_full_history() -> None:
    sampler = LossSecondMoment(3, history=2)
    sampler.update(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([9.0, 9.0, 1.0, 1.0, 1.0]))
    assert sampler.weights().tolist() == [1, 1, 1]
    sampler.update(torch.tensor([2]), torch.tensor([1.0]))
    weights = sampler.weights()
    assert weights[0] > 5 * weights[1]


def test_levels_of_large_loss_are_drawn_more_often_but_count_less() -> None:
    sampler = warmed()
    t, factor = sampler.draw(20_000, np.random.default_rng(0))
    counts = np.bincount(t.numpy(), minlength=4) / len(t)
    np.testing.assert_allclose(counts, sampler.weights(), atol=0.02)
    assert float(factor.mean()) == pytest.approx(1, abs=0.02)
    assert float(factor[t == 3].max()) < float(factor[t == 0].min())


def test_the_oldest_loss_is_forgotten() -> None:
    sampler = warmed()
    sampler.update(torch.tensor([1, 1]), torch.tensor([7.0, 8.0]))
    assert sampler.losses[1].tolist() == [2, 7, 8]


def test_levels_without_any_loss_left_are_uniform() -> None:
    sampler = LossSecondMoment(2, history=1)
    sampler.update(torch.tensor([0, 1]), torch.zeros(2))
    np.testing.assert_allclose(sampler.weights(), [0.5, 0.5])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(TrainingError, match="level 2"):
        LossSecondMoment(4).update(torch.tensor([2]), torch.tensor([bad]))


def test_a_restored_sampler_goes_on_as_the_saved_one() -> None:
    saved, restored = warmed(), LossSecondMoment(4, history=3, uniform=0.1)
    restored.restore(saved.state())
    for sampler in (saved, restored):
        sampler.update(torch.tensor([3, 0]), torch.tensor([2.0, 5.0]))
    one, other = (sampler.draw(50, np.random.default_rng(7))[0] for sampler in (saved, restored))
    assert torch.equal(one, other)


def test_a_saved_state_is_not_changed_by_going_on() -> None:
    sampler = warmed()
    state = sampler.state()
    sampler.update(torch.tensor([0]), torch.tensor([100.0]))
    assert float(np.asarray(state["losses"]).max()) == 4


def test_a_state_of_another_run_is_refused() -> None:
    with pytest.raises(TrainingError, match="resume with the settings"):
        LossSecondMoment(5, history=3).restore(warmed().state())


def test_uniform_levels_are_all_drawn_and_count_alike() -> None:
    sampler = importance.of("uniform", 5)
    assert isinstance(sampler, Uniform)
    t, factor = sampler.draw(500, np.random.default_rng(0))
    assert t.dtype == torch.int64
    assert sorted(set(t.tolist())) == [0, 1, 2, 3, 4]
    assert torch.equal(factor, torch.ones(500))
    sampler.update(t, torch.ones(500))
    sampler.restore(sampler.state())


def test_the_recipe_names_the_sampler() -> None:
    assert isinstance(importance.of("loss_second_moment", 7), LossSecondMoment)
