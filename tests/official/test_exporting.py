"""A converted folder gives its files back bit for bit; other models are written with the keys of their family."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import limner
from limner import weights
from limner.config import (
    ClipSettings,
    PartSettings,
    StageSettings,
    SystemSettings,
    TextTowerSettings,
    UNetSettings,
    VitSettings,
)
from limner.errors import CheckpointError, UnsupportedError
from limner.networks.building import build
from limner.official import clip, converting, exporting, layout
from tests.official import small


def back(file: Path, folder: Path, **more: str) -> list[Path]:
    path = converting.convert(file, folder / "converted")
    return exporting.export(weights.read_folder(path), folder / "back", **more)


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(found) == list(wanted) and all(
        torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in wanted.items()
    )


@pytest.mark.parametrize("wrapper", ["", "state_dict"])
@pytest.mark.parametrize("name", ["encoder.pt", "encoder.ckpt", "holiday.jpg"])
def test_what_torch_saved_comes_back_bit_for_bit(name: str, wrapper: str, tmp_path: Path) -> None:
    state = small.official(small.ENCODER)
    torch.save({wrapper: state, "epoch": 1} if wrapper else state, tmp_path / name)
    (file,) = back(tmp_path / name, tmp_path)
    found = torch.load(file, weights_only=True)
    assert same(found[wrapper] if wrapper else found, state)
    assert file.name == (name if not name.endswith("jpg") else "holiday.pt")


def test_safetensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    state = small.official(small.DECODER)
    save_file(state, tmp_path / "decoder.safetensors")
    (file,) = back(tmp_path / "decoder.safetensors", tmp_path)
    found = load_file(file)
    assert same({key: found[key] for key in state}, state)


def tree(state: dict[str, Tensor]) -> nn.Module:
    """Modules within modules whose parameters have these names."""
    root = nn.Module()
    for key, value in state.items():
        *path, name = key.split(".")
        place = root
        for each in path:
            if each not in dict(place.named_children()):
                place.add_module(each, nn.Module())
            place = place.get_submodule(each)
        place.register_parameter(name, nn.Parameter(value))
    return root


class Encoder(nn.Module):
    """Stands in for the pickled module of the dVAE: its parameters under the official names."""


def test_a_pickled_module_comes_back_as_a_plain_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = small.official(small.ENCODER)
    net = tree(state)
    module = types.ModuleType("dall_e.encoder")
    module.Encoder = Encoder  # type: ignore[attr-defined]
    monkeypatch.setattr(Encoder, "__module__", "dall_e.encoder")
    monkeypatch.setitem(sys.modules, "dall_e", types.ModuleType("dall_e"))
    monkeypatch.setitem(sys.modules, "dall_e.encoder", module)
    net.__class__ = Encoder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(net, tmp_path / "encoder.pkl")
    (file,) = back(tmp_path / "encoder.pkl", tmp_path)
    assert file.name == "encoder.pt"
    found = torch.load(file, weights_only=True)
    assert set(found) == set(state)
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_torchscript_archive_of_clip_loads_and_comes_back(tmp_path: Path) -> None:
    image = VitSettings(side=32, patch=32, width=64, depth=1, heads=1)
    settings = ClipSettings(embed=8, image=image, text=TextTowerSettings(width=64, depth=1, heads=1))
    torch.manual_seed(0)
    keys = clip.maps(settings)
    assert keys is not None
    made = layout.to_official(build(settings).state_dict(), keys, where="x")
    state = {key: (value.half() if value.ndim > 1 else value).detach().clone() for key, value in made.items()}
    net = tree(state)
    facts = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    for name, fact in facts.items():
        net.register_buffer(name, torch.tensor(fact))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch discourage TorchScript
        torch.jit.save(torch.jit.script(net), tmp_path / "renamed.pt")
    (file,) = back(tmp_path / "renamed.pt", tmp_path)
    found = torch.load(file, weights_only=True)
    assert {name: found.pop(name).item() for name in facts} == facts
    assert set(found) == set(state)
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in state.items())
    assert limner.load(tmp_path / "converted").settings.system == "clip"


def test_a_model_from_elsewhere_gets_the_keys_of_its_family(tmp_path: Path) -> None:
    settings = SystemSettings(system="dvae", name="mine", parts=(PartSettings(name="encoder", network=small.ENCODER),))
    torch.manual_seed(0)
    state = build(small.ENCODER).state_dict()
    path = weights.save_folder(tmp_path / "mine", settings, {"encoder": state}, "# mine\n", dtype=None)
    written = limner.export(path, tmp_path / "files", layout="official")
    assert written == tmp_path / "files"
    found = torch.load(written / "encoder.pt", weights_only=True)
    assert set(found) == set(small.official(small.ENCODER))
    again = weights.read_folder(converting.convert(written / "encoder.pt", tmp_path / "again"))
    assert all(torch.equal(value, state[key]) for key, value in load_file(again.weights("encoder")).items())


def test_a_network_without_such_a_layout_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    net = UNetSettings(side=8, width=32, multipliers=(1,), blocks=1, attention=(), patch=2)
    settings = SystemSettings(system="adm", name="own", stages=(StageSettings(name="base", network=net),))
    path = weights.save_folder(tmp_path / "own", settings, {"base": build(net).state_dict()}, "")
    with pytest.raises(UnsupportedError, match=r"own: its network 'base' \(unet\) has no official layout"):
        exporting.export(weights.read_folder(path), tmp_path / "files")
    assert [each.name for each in tmp_path.iterdir()] == ["own"]


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    path = converting.convert(small.save(tmp_path / "x"), tmp_path / "out")
    folder = weights.read_folder(path)
    with pytest.raises(CheckpointError, match="is in the way"):
        exporting.export(folder, path)
    with pytest.raises(CheckpointError, match="no layout 'keras'; have: official, diffusers"):
        exporting.export(folder, tmp_path / "files", layout="keras")
    with pytest.raises(CheckpointError, match="name one model for the official layout; got 2"):
        limner.export([path, path], tmp_path / "files", layout="official")
    with pytest.raises(UnsupportedError, match="has no diffusers layout"):
        exporting.export(folder, tmp_path / "files", layout="diffusers")


@pytest.mark.parametrize("text", ["no json", "{}", '{"files": [{"layout": "official"}]}', '{"files": 3}'])
def test_a_record_that_was_damaged_is_said(text: str, tmp_path: Path) -> None:
    path = converting.convert(small.save(tmp_path / "x"), tmp_path / "out")
    folder = weights.read_folder(path)
    (path / converting.RECORD).write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        exporting.export(folder, tmp_path / "files")


def test_a_name_in_a_record_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    path = converting.convert(small.save(tmp_path / "x"), tmp_path / "out")
    folder = weights.read_folder(path)
    record = path / converting.RECORD
    record.write_text(record.read_text().replace('"file": "x"', '"file": "../../../escaped/../../x.pt"'))
    (file,) = exporting.export(folder, tmp_path / "files")
    assert file == tmp_path / "files" / "x.pt"
