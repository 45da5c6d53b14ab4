"""From finished runs to a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner import training, weights
from limner.errors import CheckpointError, ConfigError
from limner.systems import glide
from limner.training import checkpoints, exporting
from tests.training.tiny import Stripes, preset


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for stage in ("base", "upsampler"):
        training.train(
            preset(sample_every=12, ema=(0.3, 0.99)), stage, folder / stage, data=Stripes(), device="cpu", threads=1, logged=1
        )
    return folder / "base", folder / "upsampler"


def test_a_cascade_of_two_runs_draws_after_export(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = training.export([runs[1], runs[0]], tmp_path / "tiny")
    folder = weights.read_folder(out)
    assert [stage.name for stage in folder.settings.stages] == ["base", "upsampler"]
    pipe = glide.open_folder(folder, device="cpu", dtype="float32")
    request = glide.Request(prompt="red stripes", n=1, seed=0, steps="2")
    *_, drawn = pipe.draw(request)
    assert isinstance(drawn, glide.Drawn)
    assert drawn.picture.shape == (3, 32, 32)


def test_the_weights_are_the_last_average(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = training.export(runs[0], tmp_path / "tiny", dtype=torch.float32)
    pipe = glide.open_folder(weights.read_folder(out), device="cpu", dtype="float32")
    saved = checkpoints.newest(runs[0])
    assert saved is not None
    averages = dict(checkpoints.tensors(saved, "ema-0.99.safetensors"))
    for name, p in pipe.stages[0].net.named_parameters():
        assert torch.equal(p, averages[name]), name


def test_another_average_can_be_chosen(runs: tuple[Path, Path]) -> None:
    saved = checkpoints.newest(runs[0])
    assert saved is not None
    recipe = preset(ema=(0.3, 0.99)).training[0]
    chosen, last = (exporting.averaged_state(saved, recipe, rate)["head.bias"] for rate in (0.3, None))
    assert not torch.equal(chosen, last)
    with pytest.raises(ConfigError, match=r"no average at rate 0\.5; this run keeps 0\.3, 0\.99"):
        exporting.averaged_state(saved, recipe, 0.5)


def test_without_averages_the_weights_themselves_are_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    training.train(preset(ema=()), "base", run, data=Stripes(), device="cpu", max_minutes=0)
    saved = checkpoints.newest(run)
    assert saved is not None
    state = exporting.averaged_state(saved, preset(ema=()).training[0])
    assert torch.equal(state["stem.weight"], dict(checkpoints.tensors(saved, "weights.safetensors"))["stem.weight"])


def test_the_card_tells_what_the_model_was_trained_on(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = training.export(list(runs), tmp_path / "tiny", notes="Draws stripes.")
    text = (out / "CARD.md").read_text()
    for fact in ("license: apache-2.0", "Draws stripes.", "## Stage base", "## Stage upsampler", "| data | stripes |"):
        assert fact in text
    for fact in (
        "| steps | 12 of 12 |",
        "| views | 48 (batch 4) |",
        "32 px from 8 px",
        "average at rate 0.99",
        "1 rank x 1 thread",
    ):
        assert fact in text
    assert (out / "samples-base.png").is_file()
    assert len((out / "training-base.jsonl").read_text().splitlines()) == 12


def test_curves_are_thinned_to_means() -> None:
    lines = [{"step": k, "loss": float(k)} for k in range(1, 101)]
    curve = exporting.thinned(lines, 4)
    assert [(point["step"], point["loss"]) for point in curve] == [(25, 13.0), (50, 38.0), (75, 63.0), (100, 88.0)]
    assert exporting.thinned([], 4) == []
    assert exporting.thinned(lines[:2], 4) == lines[:2]


def test_runs_that_do_not_belong_together_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="two runs train the same stage"):
        training.export([runs[0], runs[0]], tmp_path / "x")
    with pytest.raises(CheckpointError, match="name at least one"):
        training.export([], tmp_path / "x")
    with pytest.raises(CheckpointError, match="not a training run"):
        training.export(tmp_path, tmp_path / "x")
    other = preset().model_copy(update={"model": preset().model.model_copy(update={"name": "other"})})
    training.train(other, "upsampler", tmp_path / "other", data=Stripes(), device="cpu", max_minutes=0)
    with pytest.raises(CheckpointError, match="different models: other, tiny"):
        training.export([runs[0], tmp_path / "other"], tmp_path / "x")


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path / "run", preset(), "base")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        training.export(tmp_path / "run", tmp_path / "x")


def test_a_fine_tune_is_stored_as_changes_to_what_it_started_from(runs: tuple[Path, Path], tmp_path: Path) -> None:
    maker = training.export(list(runs), tmp_path / "maker")
    tuned = preset(inpaint=True, start=str(maker), ema=(0.3,))
    training.train(tuned, "base", tmp_path / "run", data=Stripes(), device="cpu", threads=1)
    whole = training.export(tmp_path / "run", tmp_path / "whole", dtype=torch.float32)
    out = training.export(tmp_path / "run", tmp_path / "tuned", share=str(maker))
    one, other = (glide.open_folder(weights.read_folder(path), device="cpu", dtype="float32") for path in (whole, out))
    for (name, a), b in zip(one.stages[0].net.named_parameters(), other.stages[0].net.parameters()):
        assert torch.allclose(a, b, rtol=1e-2, atol=2e-3), name
    assert (out / "base.safetensors").stat().st_size < 0.45 * (whole / "base.safetensors").stat().st_size
    text = (out / "CARD.md").read_text()
    assert "Stored as changes to the weights of maker, which have to be at hand. The upsampler is that of maker." in text
    assert f"| started from | {maker}, weights " in text
    assert "| erased | boxes 25%, strokes 15%, objects 35%, everything 20%, nothing 5% |" in text


def test_stages_without_a_run_are_those_of_the_model_that_is_shared_with(runs: tuple[Path, Path], tmp_path: Path) -> None:
    maker = training.export(list(runs), tmp_path / "maker")
    training.train(preset(start=str(maker)), "base", tmp_path / "run", data=Stripes(), device="cpu", max_minutes=0)
    out = weights.read_folder(training.export(tmp_path / "run", tmp_path / "tuned", share=str(maker)))
    assert [stage.name for stage in out.settings.stages] == ["base", "upsampler"]
    one, other = (glide.open_folder(folder, device="cpu", dtype="float32") for folder in (out, weights.read_folder(maker)))
    for a, b in zip(one.stages[1].net.parameters(), other.stages[1].net.parameters()):
        assert torch.equal(a, b)
