"""A run folder on disk."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from limner.config import Preset
from limner.errors import CheckpointError, TrainingError
from limner.training import checkpoints
from tests.training.tiny import preset

FILES = {"weights.safetensors": {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}}


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 3, FILES, {"seconds": 1.5})
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert (saved.step, saved.facts["seconds"]) == (3, 1.5)
    back = dict(checkpoints.tensors(saved, "weights.safetensors"))
    assert back.keys() == {"a", "b"}
    assert all(torch.equal(back[key], FILES["weights.safetensors"][key]) for key in back)


def test_a_tensor_kept_last_channel_first_is_saved_by_value(tmp_path: Path) -> None:
    odd = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    saved = checkpoints.save(tmp_path, 1, {"weights.safetensors": {"a": odd}}, {})
    assert torch.equal(dict(checkpoints.tensors(saved, "weights.safetensors"))["a"], odd)


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10, 100_000_000):
        checkpoints.save(tmp_path, step, FILES, {})
    assert names(tmp_path) == ["step-00000010", "step-100000000"]
    newest = checkpoints.newest(tmp_path)
    assert newest is not None
    assert newest.step == 100_000_000


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None


def test_what_an_interrupted_save_left_is_swept_away(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, FILES, {})
    partial = tmp_path / ".step-00000002.partial"
    partial.mkdir()
    (partial / "weights.safetensors").write_bytes(b"half")
    newest = checkpoints.newest(tmp_path)
    assert newest is not None
    assert newest.step == 1
    assert names(tmp_path) == ["step-00000001"]


def test_a_full_disk_is_one_clear_line_and_the_checkpoint_before_stays(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, FILES, {})
    large = {"weights.safetensors": {"a": torch.zeros(100_000)}}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # writes beyond this fail, as on a full disk
    try:
        with pytest.raises(TrainingError) as error:
            checkpoints.save(tmp_path, 2, large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not save step 2" in str(error.value)
    assert "step-00000001 is whole" in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["step-00000001"]
    newest = checkpoints.newest(tmp_path)
    assert newest is not None
    assert newest.step == 1


def test_a_disk_that_is_full_from_the_start_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", refuse)
    with pytest.raises(TrainingError, match="step 2: No space left on device; there is no earlier checkpoint"):
        checkpoints.save(tmp_path, 2, FILES, {})


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    saved = checkpoints.save(tmp_path, 1, FILES, {})
    file = saved.path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"weights.safetensors: \d+ bytes where \d+ bytes were written"):
        checkpoints.newest(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: missing where"):
        checkpoints.newest(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_state_is_named(tmp_path: Path, text: str) -> None:
    saved = checkpoints.save(tmp_path, 1, FILES, {})
    (saved.path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="step-00000001: damaged"):
        checkpoints.newest(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    saved = checkpoints.save(tmp_path, 1, FILES, {})
    state = json.loads((saved.path / "state.json").read_text())
    (saved.path / "state.json").write_text(json.dumps({**state, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99, this limner reads 1"):
        checkpoints.newest(tmp_path)


def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path) -> None:
    saved = checkpoints.save(tmp_path, 1, FILES, {})
    (saved.path / "weights.safetensors").write_bytes(b"x" * 500)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be read"):
        dict(checkpoints.tensors(saved, "weights.safetensors"))


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (preset(lr=1e-2), "training.lr was 0.0003 when this run began and is 0.01 now"),
        (preset(ema=(0.9,)), "training.ema was"),
        (preset(dropout=0.1), "stage.network.dropout was 0.0 when"),
        (preset(diffusion={"levels": 50}), "stage.diffusion.levels was 100 when"),
        (preset(steps=99), "training.steps was 12 when"),
    ],
)
def test_a_run_is_not_continued_with_another_recipe(tmp_path: Path, now: Preset, named: str) -> None:
    checkpoints.begin(tmp_path, preset(), "base")
    with pytest.raises(TrainingError, match=named):
        checkpoints.same_run(tmp_path, now, "base")


def test_a_change_that_is_allowed_by_name_is_taken(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path, preset(), "base")
    checkpoints.same_run(tmp_path, preset(steps=99), "base", frozenset({"training.steps"}))


def test_what_does_not_touch_the_numbers_may_differ(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path, preset(), "base")
    checkpoints.same_run(tmp_path, preset(save_every=1, sample_every=7, prompts=("x",), accumulate=2), "base")


def test_a_run_of_another_stage_is_refused(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path, preset(), "base")
    with pytest.raises(TrainingError, match="trains stage 'base', not 'upsampler'"):
        checkpoints.same_run(tmp_path, preset(), "upsampler")


def test_a_preset_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path, preset(dropout=0.2), "base")
    assert checkpoints.read_preset(tmp_path) == (preset(dropout=0.2), "base")


@pytest.mark.parametrize("text", [None, "{", "{}", "[1]", '{"stage": "base", "preset": {"model": 3}}'])
def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "preset.json").write_text(text)
    with pytest.raises(CheckpointError, match="not a training run"):
        checkpoints.read_preset(tmp_path)
