"""What a model takes is known before it is loaded, and how long a picture takes after one step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import limner
from limner import released, weights
from limner.config import UNetSettings
from limner.evaluation import fitness, machine
from limner.evaluation.fitness import Timed
from limner.networks.unet import UNet
from limner.systems import base


def test_the_weights_are_counted_without_making_them(tiny: Path) -> None:
    folder = weights.read_folder(tiny)
    made = sum(p.numel() for stage in folder.settings.stages for p in UNet(stage.network).parameters())
    needed = fitness.needed(folder, torch.bfloat16)
    assert needed.parameters == made
    assert needed.weights_mb == 2 * made / 2**20
    assert needed.loading_mb == 4 * made / 2**20
    assert needed.work_mb > 0
    assert needed.total_mb >= needed.weights_mb + needed.work_mb


def test_a_model_that_is_not_here_is_estimated_by_the_catalog() -> None:
    model = released.models()["adm-512"]
    needed = fitness.promised(model, torch.float32)
    assert (needed.total_mb, needed.exact) == (model.memory / 2**20, False)


def test_larger_pictures_and_more_blocks_hold_more() -> None:
    small = UNetSettings(side=16, width=32, multipliers=(1, 2), blocks=1)
    assert fitness.activations(small.model_copy(update={"side": 32})) == 4 * fitness.activations(small)
    assert fitness.activations(small.model_copy(update={"blocks": 2})) > fitness.activations(small)


def test_every_stage_is_timed_by_one_step(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    own = base.run_each

    def counting(stage: base.Stage, *args: object, **more: object) -> object:
        asked.append(stage.settings.name)
        return own(stage, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(base, "run_each", counting)
    system = limner.load(tiny, dtype="float32").system
    found = fitness.timed(system)
    assert asked == [stage.settings.name for stage in system.stages]
    assert [each.side for each in found] == [8, 16]
    assert all(each.seconds > 0 and each.steps > 0 for each in found)


def test_a_picture_takes_all_steps_of_a_stage() -> None:
    assert Timed("base", 64, 100, 0.25).picture == 25.0


def test_free_memory_is_told_or_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (fitness.free_mb(torch.device("cpu")) or 1) > 0
    monkeypatch.setattr(machine, "_table", lambda path: {})
    assert fitness.free_mb(torch.device("cpu")) is None
