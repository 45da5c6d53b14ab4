"""A checkpoint that holds the changes to another model's weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from limner import weights
from limner.config import StageSettings, SystemSettings, UNetSettings
from limner.errors import CheckpointError

SETTINGS = SystemSettings(name="tiny", stages=(StageSettings(name="base", network=UNetSettings(side=8, multipliers=(1,))),))


def net(seed: int, moved: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 5))
    with torch.no_grad():
        module[0].weight += moved * torch.randn(40, 30)
        module[0].bias += moved
    return module


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A generator, and beside it a fine-tune that holds changes to it."""
    maker = weights.save_folder(tmp_path / "maker", SETTINGS, {"base": net(0).state_dict()}, "# Maker\n")
    base = weights.Base("maker", "base", weights.read_folder(maker).hashes["base"])
    weights.save_folder(tmp_path / "tuned", SETTINGS, {"base": net(0, 0.01).state_dict()}, "# Tuned\n", bases={"base": base})
    return tmp_path


def loaded(folder: Path) -> nn.Module:
    module = net(1)
    weights.load_state(module, weights.read_folder(folder).weights("base"))
    return module


def test_a_fine_tune_comes_back_from_its_changes(models: Path) -> None:
    got, wanted, before = loaded(models / "tuned"), net(0, 0.01), loaded(models / "maker")
    for key, value in wanted.state_dict().items():
        assert torch.allclose(got.state_dict()[key], value, atol=2e-3), key
    assert not torch.equal(got[0].weight, before[0].weight)
    assert torch.equal(got[1].weight, before[1].weight)


def test_what_did_not_change_takes_no_room(models: Path) -> None:
    stored = load_file(models / "tuned" / "base.safetensors")
    assert set(stored) == {"0.weight.change", "0.weight.scale", "0.bias"}
    assert stored["0.weight.change"].dtype == torch.int8


def test_a_network_without_a_single_change_is_that_of_its_base(models: Path) -> None:
    base = weights.Base("maker", "base", weights.read_folder(models / "maker").hashes["base"])
    same = dict(weights.read_tensors(models / "maker" / "base.safetensors"))
    out = weights.save_folder(models / "same", SETTINGS, {"base": same}, "# Same\n", bases={"base": base})
    assert (out / "base.safetensors").stat().st_size < 1000
    for key, value in loaded(models / "maker").state_dict().items():
        assert torch.equal(loaded(out).state_dict()[key], value)


def test_changes_to_changes_are_followed(models: Path) -> None:
    base = weights.Base("tuned", "base", weights.read_folder(models / "tuned").hashes["base"])
    out = weights.save_folder(models / "twice", SETTINGS, {"base": net(0, 0.02).state_dict()}, "# 2\n", bases={"base": base})
    assert torch.allclose(loaded(out)[0].weight, net(0, 0.02)[0].weight, atol=2e-3)


def test_a_base_among_the_named_models_is_found(
    models: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = shutil.move(models / "tuned", tmp_path_factory.mktemp("away") / "tuned")
    with pytest.raises(CheckpointError, match="holds changes to the 'base' of maker, which is not here; fetch both again"):
        loaded(Path(away))
    monkeypatch.setenv("LIMNER_MODELS", str(models))
    assert torch.allclose(loaded(Path(away))[0].weight, net(0, 0.01)[0].weight, atol=2e-3)


def test_a_base_with_other_weights_is_refused(models: Path) -> None:
    weights.save_folder(models / "maker", SETTINGS, {"base": net(3).state_dict()}, "# Maker\n")
    with pytest.raises(CheckpointError, match=r"which has other weights now \(sha256 \w{12}\.\.\., wanted \w{12}"):
        loaded(models / "tuned")


@pytest.mark.parametrize(
    ("metadata", "changed", "named"),
    [
        ({"base_model": "../../maker"}, {}, "says that it holds changes, but not to what"),
        ({"base_sha256": "xyz"}, {}, "says that it holds changes, but not to what"),
        ({"base_network": ""}, {}, "says that it holds changes, but not to what"),
        ({}, {"0.weight.change": torch.zeros(2, 30, dtype=torch.int8)}, r"its change of 0\.weight \[2, 30\] does not fit"),
        ({}, {"0.weight.scale": torch.zeros(3)}, r"its change of 0\.weight \[40, 30\] does not fit"),
    ],
)
def test_changes_that_make_no_sense_are_refused(
    models: Path, metadata: dict[str, str], changed: dict[str, torch.Tensor], named: str
) -> None:
    file = models / "tuned" / "base.safetensors"
    base = weights.base_of(file)
    assert base is not None
    save_file({**load_file(file), **changed}, file, {**base.metadata(), **metadata})
    (models / "tuned" / weights.SUMS).unlink()
    with pytest.raises(CheckpointError, match=named):
        loaded(models / "tuned")
