"""Checkpoint folders appear whole, load strictly, and say in one line what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from limner import weights
from limner.config import StageSettings, SystemSettings, UNetSettings
from limner.errors import CheckpointError, ConfigError, LimnerError

SETTINGS = SystemSettings(
    name="tiny", stages=tuple(StageSettings(name=n, network=UNetSettings(side=8, multipliers=(1,))) for n in ("base", "up"))
)


def net() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[1].num_batches_tracked.fill_(2**40 + 1)  # an integer that bfloat16 could not hold
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    states = {"base": net().state_dict(), "up": nn.Linear(2, 2).state_dict()}
    return weights.save_folder(tmp_path / "runs" / "tiny", SETTINGS, states, "# Tiny\n", {"words.json": b"{}"})


def test_a_saved_folder_is_read_back(folder: Path) -> None:
    read = weights.read_folder(folder)
    assert read.settings == SETTINGS
    assert set(read.hashes) == {"base", "up"}
    assert read.hashes["base"] == hashlib.sha256((folder / "base.safetensors").read_bytes()).hexdigest()
    assert (folder / "CARD.md").read_text() == "# Tiny\n"
    assert (folder / "words.json").read_bytes() == b"{}"


def test_nothing_but_the_checkpoint_is_left_beside_it(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert len(modes) == 1


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_the_sums_can_be_checked_by_sha256sum(folder: Path) -> None:
    subprocess.run(["sha256sum", "-c", weights.SUMS], cwd=folder, check=True, capture_output=True)


def test_floats_are_stored_in_half_the_space_and_integers_as_they_are(folder: Path) -> None:
    stored = load_file(folder / "base.safetensors")
    assert stored["0.weight"].dtype == torch.bfloat16
    assert int(stored["1.num_batches_tracked"]) == 2**40 + 1
    assert torch.equal(stored["0.weight"], net().state_dict()["0.weight"].bfloat16())


def test_weights_can_be_stored_in_full(tmp_path: Path) -> None:
    states = {"base": net().state_dict(), "up": {}}
    weights.save_folder(tmp_path / "full", SETTINGS, states, "", dtype=torch.float32)
    assert torch.equal(load_file(tmp_path / "full" / "base.safetensors")["0.weight"], net().state_dict()["0.weight"])


def test_weights_that_share_memory_are_stored_each(tmp_path: Path) -> None:
    shared = torch.arange(6.0).view(2, 3)
    states = {"base": {"a": shared, "b": shared, "c": shared.T}, "up": {}}
    weights.save_folder(tmp_path / "tied", SETTINGS, states, "", dtype=torch.float32)
    stored = load_file(tmp_path / "tied" / "base.safetensors")
    assert torch.equal(stored["b"], shared)
    assert torch.equal(stored["c"], shared.T)


def test_an_older_checkpoint_is_replaced(folder: Path) -> None:
    states = {"base": {"w": torch.ones(2)}, "up": {"w": torch.ones(2)}}
    weights.save_folder(folder, SETTINGS, states, "# New\n")
    assert list(weights.read_folder(folder).hashes) == ["base", "up"]
    assert not (folder / "words.json").exists()
    assert list(load_file(folder / "base.safetensors")) == ["w"]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(CheckpointError, match="photos: exists and is not a checkpoint folder"):
        weights.save_folder(tmp_path / "photos", SETTINGS, {"base": {}, "up": {}}, "")
    assert (tmp_path / "photos" / "a.png").exists()


def test_what_somebody_keeps_in_a_checkpoint_is_not_deleted_with_it(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    states = {"base": {"w": torch.ones(2)}, "up": {"w": torch.ones(2)}}
    with pytest.raises(CheckpointError, match=r"tiny: notes\.txt in it was put there by somebody else and would be lost"):
        weights.save_folder(folder, SETTINGS, states, "# New\n")
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "CARD.md").read_text() == "# Tiny\n"


def test_every_stage_must_come_with_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the system has stages base, up, but weights came for base, other"):
        weights.save_folder(tmp_path / "x", SETTINGS, {"base": {}, "other": {}}, "")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a\0b"])
def test_files_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be a file of a checkpoint"):
        weights.save_folder(tmp_path / "x", SETTINGS, {"base": {}, "up": {}}, "", {name: b""})


@pytest.mark.parametrize("limit", [100, 3000])
def test_a_full_disk_is_one_line_and_the_older_checkpoint_stays(folder: Path, limit: int) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    states = {"base": {"w": torch.ones(999)}, "up": {"w": torch.ones(9999)}}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # as on a full disk, the write stops half-way
    try:
        with pytest.raises(LimnerError, match=r"tiny: cannot write the checkpoint \(.*\); nothing was left behind") as caught:
            weights.save_folder(folder, SETTINGS, states, "")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_the_older_checkpoint_comes_back_when_the_new_one_cannot_be_moved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(LimnerError, match="No space left on device"):
        weights.save_folder(folder, SETTINGS, {"base": {}, "up": {}}, "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_loading_fills_a_network_with_what_was_stored(folder: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    place = module[0].weight
    weights.load_state(module, folder / "base.safetensors")
    assert module[0].weight is place
    assert torch.equal(module[0].weight, net().state_dict()["0.weight"].bfloat16().float())
    assert int(module[1].num_batches_tracked) == 2**40 + 1


def test_loading_fills_a_network_that_holds_no_memory_yet(folder: Path) -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weights.load_state(module, folder / "base.safetensors")
    assert not any(value.is_meta for value in module.state_dict().values())
    assert module[0].weight.requires_grad
    assert module[0].weight.dtype == torch.float32
    assert module(torch.ones(2, 3)).shape == (2, 4)


@pytest.mark.parametrize(("dtype", "found"), [(None, torch.bfloat16), (torch.float64, torch.float64)])
def test_the_type_of_loaded_weights_can_be_chosen(folder: Path, dtype: torch.dtype | None, found: torch.dtype) -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weights.load_state(module, folder / "base.safetensors", dtype=dtype)
    assert module[0].weight.dtype == found
    assert module[1].num_batches_tracked.dtype == torch.int64


def test_missing_extra_and_misshapen_weights_are_told_apart(folder: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    wanted = (
        r"base\.safetensors: does not fit the network: 3 extra: 1\.num_batches_tracked, 1\.running_mean, 1\.running_var; "
        r"4 misshapen: 0\.weight \[4, 3\] \(the network has \[5, 3\]\), 0\.bias \[4\] \(the network has \[5\]\), "
    )
    with pytest.raises(CheckpointError, match=wanted):
        weights.load_state(module, folder / "base.safetensors")


def test_at_most_ten_wrong_weights_are_listed_with_their_count(folder: Path) -> None:
    module = nn.ModuleDict({f"layer{k:02}": nn.Linear(1, 1, bias=False) for k in range(40)})
    with pytest.raises(CheckpointError, match=r"40 missing: .*layer09\.weight, and 30 more; 7 extra") as caught:
        weights.load_state(module, folder / "base.safetensors")
    assert "layer10" not in str(caught.value)


def test_a_network_that_was_refused_keeps_its_weights(folder: Path) -> None:
    module = nn.Linear(3, 5)
    before = module.weight.clone()
    with pytest.raises(CheckpointError):
        weights.load_state(module, folder / "base.safetensors")
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(folder: Path, share: float) -> None:
    file = folder / "base.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"base\.safetensors: not a whole safetensors file"):
        weights.load_state(net(), file)
    with pytest.raises(CheckpointError, match=r"base\.safetensors: sha256 is .*: damaged or changed"):
        weights.read_folder(folder)


@pytest.mark.parametrize("data", [b"PK\x03\x04 a torch file", b"\xff" * 64, b"{}" * 40])
def test_another_kind_of_file_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="not a whole safetensors file") as caught:
        weights.load_state(net(), tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.safetensors: no such weights file"):
        weights.load_state(net(), tmp_path / "a.safetensors")


def test_one_changed_byte_is_found(folder: Path) -> None:
    file = folder / "up.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"up\.safetensors: sha256 is"):
        weights.read_folder(folder)


@pytest.mark.parametrize("name", ["base.safetensors", "up.safetensors", "words.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing from the checkpoint"):
        weights.read_folder(folder)


def test_a_folder_without_sums_is_read_without_comparing(folder: Path) -> None:
    (folder / weights.SUMS).unlink()
    save_file({"w": torch.ones(1)}, folder / "base.safetensors")
    assert weights.read_folder(folder).hashes["base"] == weights.sha256(folder / "base.safetensors")


def test_sums_that_are_none_are_refused(folder: Path) -> None:
    (folder / weights.SUMS).write_text("../x\n")
    with pytest.raises(CheckpointError, match="is not a line of sha256sum"):
        weights.read_folder(folder)


def test_a_missing_folder_or_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such checkpoint folder"):
        weights.read_folder(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config\.json: missing; a checkpoint folder holds"):
        weights.read_folder(tmp_path)


@pytest.mark.parametrize(("text", "kind"), [("{", CheckpointError), ("\udcff", CheckpointError), ("[]", ConfigError)])
def test_a_configuration_that_cannot_be_read_is_named(folder: Path, text: str, kind: type[LimnerError]) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(kind, match=r"config\.json"):
        weights.read_folder(folder)


def test_a_wrong_setting_is_named_by_its_path_with_the_right_one(folder: Path) -> None:
    tree = json.loads((folder / "config.json").read_text())
    tree["stages"][1]["sampling"]["step"] = "27"
    (folder / "config.json").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=r"stages\[1\]\.sampling\.step: no such setting; did you mean 'steps'\?"):
        weights.read_folder(folder)


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(100_000))
    assert weights.sha256(tmp_path / "a") == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


def test_a_file_written_piece_by_piece_is_the_one_the_library_writes(tmp_path: Path) -> None:
    state = {
        "b.weight": torch.randn(3, 5),
        "a.weight": torch.randn(2, 3).half(),
        "steps": torch.tensor(7),
        "z": torch.randn(4).bfloat16(),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 2),
        "turned": torch.randn(4, 2).t(),
        "ü": torch.arange(3, dtype=torch.int32),
        "d": torch.ones(1, dtype=torch.float64),
        "byte": torch.arange(5, dtype=torch.uint8),
    }
    weights.write_tensors(tmp_path / "ours", state, metadata={"stage": "base"})
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "theirs", metadata={"stage": "base"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_numbers_that_no_file_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x: torch\.complex64 cannot be stored"):
        weights.write_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(1, dtype=torch.complex64)})
