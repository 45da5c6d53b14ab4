"""Every kind of file that was ever released gives its tensors under the names a state dict has for them."""

from __future__ import annotations

import collections
import json
import sys
import types
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.errors import CheckpointError
from limner.official import reading
from tests.official.reading import forged


class Net(nn.Module):
    """Stands in for the modules that were pickled whole."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.ones(2, 2)  # neither a parameter nor a buffer
        self.w = nn.Parameter(torch.randn(3))
        self.register_buffer("scratch", torch.ones(1), persistent=False)
        blocks = collections.OrderedDict(input=nn.Linear(3, 4).half(), norm=nn.BatchNorm1d(4))
        self.blocks = nn.Sequential(blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) + self.mask.sum() + self.w.sum()


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    wide = torch.randn(4, 6)
    return collections.OrderedDict(
        weight=wide,
        half=torch.randn(5).half(),
        brain=torch.randn(2, 2).bfloat16(),
        steps=torch.tensor(7),
        turned=wide.t()[1:],
        none=torch.zeros(0, 3),
    )


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    torch.manual_seed(0)
    module = types.ModuleType("dall_e.encoder")
    module.Net = Net  # type: ignore[attr-defined]
    monkeypatch.setattr(Net, "__module__", "dall_e.encoder")
    monkeypatch.setitem(sys.modules, "dall_e", types.ModuleType("dall_e"))
    monkeypatch.setitem(sys.modules, "dall_e.encoder", module)
    return Net().eval()


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return set(found) == set(wanted) and all(
        torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in wanted.items()
    )


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_what_torch_saved_is_read_bit_for_bit(state: dict[str, Tensor], tmp_path: Path, new: bool) -> None:
    torch.save(state, tmp_path / "x", _use_new_zipfile_serialization=new)
    assert same(reading.read(tmp_path / "x").tensors, state)


def test_safetensors_are_read_whatever_the_file_is_called(state: dict[str, Tensor], tmp_path: Path) -> None:
    plain = {key: value.contiguous().clone() for key, value in state.items()}
    save_file(plain, tmp_path / "weights.pt", metadata={"format": "pt"})
    found = reading.read(tmp_path / "weights.pt")
    assert found.kind == "safetensors"
    assert same(found.tensors, plain)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_module_pickled_whole_gives_its_parameters_and_buffers(net: Net, tmp_path: Path, new: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch cannot find the source of a class that is made up
        torch.save(net, tmp_path / "x.pkl", _use_new_zipfile_serialization=new)
    found = reading.read(tmp_path / "x.pkl")
    assert found.kind == "pickled module"
    assert same(found.tensors, net.state_dict())


@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_gives_parameters_and_buffers_but_no_plain_attributes(tmp_path: Path, way: str) -> None:
    net = Net().float().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch discourage TorchScript
        scripted = torch.jit.script(net) if way == "script" else torch.jit.trace(net, torch.zeros(1, 3))
        torch.jit.save(scripted, tmp_path / "x.pt")
    found = reading.read(tmp_path / "x.pt")
    assert found.kind == "TorchScript"
    known = net.state_dict() | {"scratch": net.scratch}  # TorchScript knows no buffer that is not kept
    assert same(found.tensors, known)


def test_the_wrapper_of_a_trainers_file_is_taken_off_and_remembered(state: dict[str, Tensor], tmp_path: Path) -> None:
    extra = {"epoch": 3, "optimizer_states": [{"m": torch.zeros(2)}], "hyper": collections.defaultdict(list)}
    torch.save({"state_dict": state, **extra}, tmp_path / "x.ckpt")
    found = reading.read(tmp_path / "x.ckpt")
    assert found.wrapper == "state_dict"
    assert same(found.tensors, state)


def test_tensors_beside_the_weights_of_a_trainers_file_do_not_hide_them(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(2)}, "loss": torch.tensor(1.0)}, tmp_path / "x.ckpt")
    assert reading.read(tmp_path / "x.ckpt").shapes == {"w": (2,)}


def test_a_pair_of_tensors_is_named_by_number(tmp_path: Path) -> None:
    torch.save((torch.zeros(3), torch.ones(3)), tmp_path / "stats.th")
    assert reading.read(tmp_path / "stats.th").shapes == {"0": (3,), "1": (3,)}


def test_tensors_of_a_mapped_file_can_be_changed_without_changing_the_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pt")
    before = (tmp_path / "x.pt").read_bytes()
    reading.read(tmp_path / "x.pt").tensors["weight"].zero_()
    assert (tmp_path / "x.pt").read_bytes() == before


def test_numbers_that_lie_at_odd_places_are_read_too(tmp_path: Path) -> None:
    data = torch.arange(6, dtype=torch.float32)
    forged.safetensors(tmp_path / "odd", '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}} ', data.numpy().tobytes())
    assert (8 + 61) % 4
    assert torch.equal(reading.read(tmp_path / "odd").tensors["a"], data.view(2, 3))


def test_a_file_in_parts_is_read_as_one(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "m-1.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "m-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}))
    assert reading.read(index).shapes == {"a": (2,), "b": (3,)}
    assert reading.files(tmp_path) == [index]


def test_a_folder_of_diffusers_stands_for_the_weights_in_it(tmp_path: Path) -> None:
    for name in ("prior", "decoder"):
        (tmp_path / name).mkdir()
        save_file({"a": torch.zeros(2)}, tmp_path / name / "diffusion_pytorch_model.safetensors")
    (tmp_path / "scheduler").mkdir()
    assert [path.parent.name for path in reading.files(tmp_path)] == ["decoder", "prior"]


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        reading.files(tmp_path)


def test_forged_files_are_good_before_they_are_made_bad(tmp_path: Path) -> None:
    numbers = torch.arange(6, dtype=torch.float32).numpy().tobytes()
    good = forged.state({"w": forged.tensor()})
    for path in (
        forged.archive(tmp_path / "zip", good, {"0": numbers}),
        forged.legacy(tmp_path / "old", forged.state({"w": forged.tensor().replace(b"tQ", b"NtQ")}), [("0", 6, numbers)]),
    ):
        assert reading.read(path).tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_an_archive_of_more_than_four_gigabytes_is_read_by_its_wide_fields(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pt")
    forged.wide(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as file:  # the forgery is a good archive
        assert file.testzip() is None
    assert same(reading.read(tmp_path / "x.pt").tensors, state)


def test_wide_fields_that_are_damaged_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pt")
    data = forged.wide(tmp_path / "x.pt").read_bytes()
    for mark in (b"PK\x06\x06", b"PK\x06\x07"):
        (tmp_path / "x.pt").write_bytes(data.replace(mark, b"PK\x00\x00"))
        with pytest.raises(CheckpointError, match="its end is damaged"):
            reading.read(tmp_path / "x.pt")
