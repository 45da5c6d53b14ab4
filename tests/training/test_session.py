"""Whole sessions: from a preset and a folder to a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner import training
from limner.data.source import View
from limner.errors import ConfigError, DataError, TrainingError
from limner.training import checkpoints
from limner.training.log import read_log
from tests.training.killing import DEATHS
from tests.training.killing import train as train_to_the_end
from tests.training.tiny import Stripes, preset

ROOT = Path(__file__).parents[2]


def train(out: Path, stage: str = "base", *, source: Any = None, **recipe: Any) -> Path:
    options = {name: recipe.pop(name) for name in ("max_minutes", "resume", "changed", "workers") if name in recipe}
    data = Stripes() if source is None else source
    return training.train(preset(**recipe), stage, out, data=data, device="cpu", threads=1, logged=1, **options)


def test_a_session_leaves_a_checkpoint_a_log_and_a_preset(tmp_path: Path) -> None:
    path = train(tmp_path / "run")
    assert path == tmp_path / "run" / "step-00000012"
    names = {item.name for item in (tmp_path / "run").iterdir()}
    assert names == {".lock", "log.jsonl", "preset.json", "words.json", "step-00000008", "step-00000012"}
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    wanted = {"loss", "mse", "by_quartile", "grad_norm", "lr", "views", "imgs_per_s", "data_wait", "peak_memory_mb", "eta_s"}
    assert wanted <= lines[-1].keys()
    assert lines[-1]["views"] == 48
    assert lines[-1]["eta_s"] == 0


def test_a_preset_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="glide-shapes: no stage 'top' with a training recipe; have: base"):
        training.train("glide-shapes", "top", str(tmp_path / "run"))


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    path = train(tmp_path)
    before = (path / "weights.safetensors").stat().st_mtime_ns
    assert train(tmp_path) == path
    assert (path / "weights.safetensors").stat().st_mtime_ns == before


def test_a_run_that_was_stopped_by_time_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    first = train(tmp_path / "parts", max_minutes=0)
    assert 1 <= int(first.name.removeprefix("step-")) <= 2
    train(tmp_path / "parts", workers=0)
    train(tmp_path / "whole")
    parts, whole = (read_log(tmp_path / name / "log.jsonl") for name in ("parts", "whole"))
    assert [line["loss"] for line in parts] == [line["loss"] for line in whole]


class Interrupting(Stripes):
    """Sends this process a signal when a view is read."""

    def __init__(self, number: signal.Signals, view: int) -> None:
        self.number, self.at = number, view

    def view(self, k: int, side: int, seed: int) -> View:
        if k == self.at:
            os.kill(os.getpid(), self.number)
        return super().view(k, side, seed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_interrupts(tmp_path: Path, number: signal.Signals) -> None:
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, source=Interrupting(number, 24), steps=10_000)
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert saved.step == read_log(tmp_path / "log.jsonl")[-1]["step"]


def test_a_second_trainer_in_the_same_folder_is_turned_away(tmp_path: Path) -> None:
    class Nested(Stripes):
        def held_out(self, side: int) -> list[View]:
            return []

        def captions(self) -> list[str]:
            with pytest.raises(TrainingError, match="another process trains in this folder"):
                train(tmp_path)
            return super().captions()

    assert train(tmp_path, source=Nested()).is_dir()


def test_a_run_is_not_overwritten_when_resuming_is_off(tmp_path: Path) -> None:
    train(tmp_path, max_minutes=0)
    with pytest.raises(TrainingError, match="holds a run already"):
        train(tmp_path, resume=False)


def test_a_longer_run_must_be_allowed_by_name(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(TrainingError, match=r"training\.steps was 12 when this run began and is 16 now"):
        train(tmp_path, steps=16)
    assert train(tmp_path, steps=16, changed=["training.steps"]).name == "step-00000016"
    assert train(tmp_path, steps=16).name == "step-00000016"


def test_grids_of_the_recipes_prompts_are_kept(tmp_path: Path) -> None:
    train(tmp_path, sample_every=6)
    grids = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in grids] == ["step-00000006.png", "step-00000012.png"]
    with Image.open(grids[0]) as picture:
        assert picture.width >= 16


def test_an_upsamplers_grid_shows_before_drawn_and_true(tmp_path: Path) -> None:
    train(tmp_path, "upsampler", sample_every=12)
    with Image.open(tmp_path / "samples" / "step-00000012.png") as picture:
        assert picture.width >= 3 * 32
        assert picture.height >= 3 * 32


@pytest.mark.parametrize(("stage", "side"), [("base", 8), ("upsampler", 32)])
def test_the_grid_of_a_network_that_inpaints_shows_erased_filled_and_true(tmp_path: Path, stage: str, side: int) -> None:
    train(tmp_path, stage, inpaint=True, sample_every=12, prompts=())
    with Image.open(tmp_path / "samples" / "step-00000012.png") as picture:
        assert picture.width >= 3 * side
        assert picture.height >= 3 * side


def test_drawing_grids_leaves_the_numbers_of_the_run_alone(tmp_path: Path) -> None:
    train(tmp_path / "plain", dropout=0.1)
    train(tmp_path / "shown", dropout=0.1, sample_every=3)
    plain, shown = (read_log(tmp_path / name / "log.jsonl") for name in ("plain", "shown"))
    assert [line["loss"] for line in plain] == [line["loss"] for line in shown]


def test_the_vocabulary_is_kept_through_resumes(tmp_path: Path) -> None:
    train(tmp_path, max_minutes=0)
    before = (tmp_path / "words.json").read_bytes()

    class Mute(Stripes):
        def captions(self) -> list[str]:
            raise AssertionError("the vocabulary is there already")

    train(tmp_path, source=Mute())
    assert (tmp_path / "words.json").read_bytes() == before


def test_a_vocabulary_larger_than_the_network_is_refused(tmp_path: Path) -> None:
    settings = preset()
    text = settings.model.stages[0].network.text
    assert text is not None
    tree = settings.model_dump(mode="json")
    tree["model"]["stages"][0]["network"]["text"] |= {"vocabulary": "gpt2"}
    with pytest.raises(ConfigError, match=r"'gpt2' has 50257 entries, the network has text\.rows = 280"):
        training.train(type(settings).model_validate(tree), "base", tmp_path, data=Stripes(), device="cpu")


def test_an_unknown_stage_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stage 'prior' with a training recipe; have: base, upsampler"):
        train(tmp_path, "prior")


def test_an_unknown_source_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stripes"):
        training.train(preset(), "base", tmp_path, device="cpu")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be made"):
        train(tmp_path / "file" / "run")


def test_the_number_of_threads_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, calls = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    train(tmp_path, max_minutes=0)
    assert calls == [1, before]


def test_a_broken_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: .*(is inf|is nan|is not finite)") as error:
        train(tmp_path, lr=1e30, warmup=1, save_every=1, clip_norm=1e30, steps=50)
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert str(saved.path) in str(error.value)
    weights = dict(checkpoints.tensors(saved, "weights.safetensors"))
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


@pytest.mark.parametrize("seed", [0])
def test_five_kills_at_random_moments_leave_no_trace_in_the_numbers(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.training.killing", str(tmp_path / "killed"), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed after step") == DEATHS
    before = torch.get_num_threads()
    train_to_the_end(tmp_path / "whole")
    torch.set_num_threads(before)
    killed, whole = (tmp_path / name for name in ("killed", "whole"))
    figures = [
        [(line["step"], line["loss"], line["grad_norm"]) for line in read_log(run / "log.jsonl")] for run in (killed, whole)
    ]
    assert figures[0] == figures[1]
    for file in ("weights", "adamw", "ema-0.9", "ema-0.99", "levels"):
        name = f"step-00000040/{file}.safetensors"
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
