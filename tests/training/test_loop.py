"""The steps of a run."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from limner import tokens
from limner.config import Preset, UNetSettings
from limner.errors import CheckpointError, TrainingError
from limner.training import checkpoints, feed, loop
from limner.training.distributed import Ranks
from limner.training.session import stage_of
from tests.training.tiny import Stripes, preset


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(folder: Path, settings: Preset | None = None, stage: str = "base", **recipe: Any) -> loop.Run:
    found, figures = stage_of(preset(**recipe) if settings is None else settings, stage)
    tokenizer = tokens.train(Stripes().captions(), 280, folder / "words.json") if stage == "base" else None
    return loop.build(found, figures, feed.plan(Stripes(), found, figures, tokenizer), Ranks(), folder)


def trained(run: loop.Run, until: int | None = None) -> list[loop.Report]:
    return list(loop.steps(run, until=until))


def same(one: loop.Run, two: loop.Run) -> bool:
    pairs = [*zip(one.parameters, two.parameters)]
    for rate, averages in one.averages.items():
        pairs += zip(averages, two.averages[rate])
    for p, q in zip(one.parameters, two.parameters):
        pairs += [(one.optimiser.state[p][key], two.optimiser.state[q][key]) for key in ("step", "exp_avg", "exp_avg_sq")]
    return all(torch.equal(a, b) for a, b in pairs)


HARD: list[dict[str, Any]] = [
    {"dropout": 0.2},
    {"levels": "loss_second_moment", "diffusion": {"levels": 2}, "steps": 40},
    {"diffusion": {"target": "eps", "variance": "learned_range"}, "loss": "rescaled_hybrid", "bf16": True},
    {"accumulate": 2, "weighting": "min_snr", "ema": ()},
    {"inpaint": True},
    {"outline": 0.5},
]


@pytest.mark.parametrize("recipe", HARD, ids=["dropout", "importance", "hybrid-bf16", "accumulated", "inpainting", "outline"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path, recipe: dict[str, Any]) -> None:
    whole = opened(tmp_path, **recipe)
    expected = trained(whole)
    halves = opened(tmp_path, **recipe)
    half = whole.recipe.steps // 2
    first = trained(halves, until=half)
    loop.store(halves)
    resumed = opened(tmp_path, **recipe)
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    loop.restore(resumed, saved)
    losses = [report.loss for report in [*first, *trained(resumed)]]
    assert losses == [report.loss for report in expected]
    assert same(whole, resumed)


def test_importance_sampling_begins_once_every_level_has_a_history(tmp_path: Path) -> None:
    run = opened(tmp_path, levels="loss_second_moment", diffusion={"levels": 2}, steps=40)
    trained(run)
    state = run.levels.state()
    assert state["counts"].tolist() == [10, 10]
    loop.store(run)
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert dict(checkpoints.tensors(saved, "levels.safetensors"))["losses"].tolist() == state["losses"].tolist()


def test_restoring_takes_no_memory_beyond_a_fresh_run(tmp_path: Path) -> None:
    run = opened(tmp_path)
    trained(run, until=1)
    saved = loop.store(run)
    fresh = opened(tmp_path)
    places = [p.data_ptr() for p in fresh.parameters]
    places += [fresh.optimiser.state[p]["exp_avg"].data_ptr() for p in fresh.parameters]
    formats = [p.stride() for p in fresh.parameters]
    loop.restore(fresh, saved)
    after = [p.data_ptr() for p in fresh.parameters]
    after += [fresh.optimiser.state[p]["exp_avg"].data_ptr() for p in fresh.parameters]
    assert after == places
    assert [p.stride() for p in fresh.parameters] == formats


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run = opened(tmp_path)
    saved = loop.store(run)
    other = opened(tmp_path, diffusion={"variance": "learned_range"})
    with pytest.raises(CheckpointError, match=r"weights.safetensors: head.* does not fit the network"):
        loop.restore(other, saved)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    run = opened(tmp_path)
    state = run.network.state_dict()
    state.pop("head.bias")
    checkpoints.save(tmp_path, 1, {"weights.safetensors": state}, {"seconds": 0.0})
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, the first is head.bias"):
        loop.restore(run, saved)


def test_accumulated_micro_batches_give_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    one, two = (trained(opened(tmp_path, accumulate=turns, weighting="min_snr"), until=4) for turns in (1, 4))
    for a, b in zip(one, two, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.norm == pytest.approx(b.norm, rel=1e-4)
        assert a.counts == b.counts


def test_quartiles_of_t_hold_every_view_and_their_losses(tmp_path: Path) -> None:
    for report in trained(opened(tmp_path, batch=16), until=2):
        assert sum(report.counts) == 16
        assert sum(report.sums) / 16 == pytest.approx(report.loss, rel=1e-6)


def test_the_loss_falls(tmp_path: Path) -> None:
    losses = [report.loss for report in trained(opened(tmp_path, steps=60, lr=3e-3, batch=8))]
    assert sum(losses[-15:]) < 0.85 * sum(losses[:15])


def test_the_averages_are_those_of_the_weights_seen(tmp_path: Path) -> None:
    run = opened(tmp_path, ema=(0.5,))
    expected = run.parameters[0].detach().clone()
    for step, _ in enumerate(loop.steps(run, until=6)):
        rate = min(0.5, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * run.parameters[0].detach()
    torch.testing.assert_close(run.averages[0.5][0], expected)


def test_the_averaged_network_is_lent_and_given_back(tmp_path: Path) -> None:
    run = opened(tmp_path)
    trained(run, until=5)
    before = [p.detach().clone() for p in run.parameters]
    with loop.averaged(run) as network:
        assert not network.training
        assert all(torch.equal(p, average) for p, average in zip(run.parameters, run.averages[0.99]))
        with loop.averaged(run, 0.9):
            assert all(torch.equal(p, average) for p, average in zip(run.parameters, run.averages[0.9]))
    assert run.network.training
    assert all(torch.equal(p, q) for p, q in zip(run.parameters, before))


def test_steps_leave_no_objects_behind(tmp_path: Path) -> None:
    run = opened(tmp_path, steps=30)
    counts = []
    for report in loop.steps(run):
        if report.step in (10, 28):
            gc.collect()
            # Of these two alone: threads of other tests in the same process make objects of their own.
            ours = [one for one in gc.get_objects() if str(type(one).__module__).partition(".")[0] in ("torch", "limner")]
            counts.append(len(ours))
            del ours
    assert counts[1] - counts[0] < 18  # not one a step
    assert all(average.grad_fn is None for averages in run.averages.values() for average in averages)


def test_a_wish_ends_the_run_after_the_step_in_hand(tmp_path: Path) -> None:
    wishes = loop.Wishes()
    reports = []
    for report in loop.steps(opened(tmp_path), wishes=wishes):
        reports.append(report)
        if report.step == 3:
            wishes.late.set()
    assert [(report.step, report.stop) for report in reports] == [(1, ""), (2, ""), (3, ""), (4, "late")]


def test_leaving_the_steps_ends_the_reading_ahead(tmp_path: Path) -> None:
    running = loop.steps(opened(tmp_path))
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "limner-feed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: signal.Signals) -> None:
    asked = threading.Event()
    before = signal.getsignal(number)
    with loop.interruptible(asked):
        signal.raise_signal(number)
        assert asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with loop.interruptible(threading.Event()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_weight_that_is_not_finite_is_named_and_the_last_checkpoint_too(tmp_path: Path) -> None:
    run = opened(tmp_path)
    trained(run, until=2)
    saved = loop.store(run)
    with torch.no_grad():
        run.network.head.bias[0] = float("nan")
    with pytest.raises(TrainingError) as error:
        trained(run, until=3)
    assert "step 3: parameter head.bias is not finite" in str(error.value)
    assert f"last good checkpoint: {saved.path}" in str(error.value)


def test_a_layer_that_overflows_is_named_with_the_loss_term(tmp_path: Path) -> None:
    run = opened(tmp_path)
    weights = [p.detach().clone() for p in run.parameters]
    with torch.no_grad():
        run.network.stem.weight.fill_(3e38)
    with pytest.raises(TrainingError, match=r"step 1: loss term 'mse' is \S+ at t = \d+, view 0; first in the output of stem"):
        trained(run, until=1)
    assert run.step == 0
    assert all(torch.equal(p, q) for p, q in zip(run.parameters, weights) if p is not run.network.stem.weight)


def test_a_gradient_that_is_not_finite_is_named(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"step 1: the gradient of head.weight is not finite"):
        trained(run, until=1)
    assert all(bool(p.isfinite().all()) for p in run.parameters)


def test_data_that_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = opened(tmp_path)
    read = feed.read
    monkeypatch.setattr(feed, "read", lambda *args: (batch := read(*args))._replace(eps=batch.eps / 0))
    with pytest.raises(TrainingError, match="the data: eps of the views from 0 on is not finite"):
        trained(run, until=1)


def test_an_upsampler_trains_on_crops(tmp_path: Path) -> None:
    run = opened(tmp_path, stage="upsampler")
    assert len(trained(run, until=3)) == 3
    assert run.network.settings.side == 32


def test_twenty_steps_of_the_tiny_cascade_give_the_golden_losses(tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parent / "golden_losses.json").read_text())
    for stage, losses in golden.items():
        found = [report.loss for report in trained(opened(tmp_path, stage=stage, steps=20, batch=8, weighting="min_snr"))]
        assert found == pytest.approx(losses, rel=1e-3), stage


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
def test_the_compiled_network_has_the_gradients_of_the_plain_one(tmp_path: Path) -> None:
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("torch.compile needs a C++ compiler and there is none")
    smallest = UNetSettings(side=4, width=8, multipliers=(1,), blocks=1, attention=(), head_width=8, groups=2, ranged=False)
    found = []
    for compiled in (False, True):
        settings, recipe = stage_of(preset(compile=compiled), "base")
        settings = settings.model_copy(update={"network": smallest})
        run = loop.build(settings, recipe, feed.plan(Stripes(), settings, recipe, None), Ranks(), tmp_path)
        trained(run, until=2)
        found.append((run.names, [p.grad for p in run.parameters]))
    for name, plain, fast in zip(found[0][0], found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-6, msg=name)
