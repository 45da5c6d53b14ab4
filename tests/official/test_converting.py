"""Released files become checkpoint folders whatever they are called, number for number, or are refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner import weights
from limner.config import StageSettings
from limner.errors import CheckpointError
from limner.networks.building import build, hollow
from limner.official import converting, dvae, families, layout
from limner.official.converting import Source
from limner.official.reading import Foreign
from tests.official import small
from tests.official.released import released


def test_renamed_files_become_one_system_number_for_number(tmp_path: Path) -> None:
    files = [small.save(tmp_path / "holiday.jpg", small.DECODER), small.save(tmp_path / "x", small.ENCODER, seed=1)]
    path = limner.convert(files, tmp_path / "out")
    folder = weights.read_folder(path)
    assert folder.settings.system == "dvae"
    assert folder.settings.networks() == {"decoder": small.DECODER, "encoder": small.ENCODER}
    wanted = layout.to_limner(small.official(small.ENCODER, seed=1), dvae.keys(small.ENCODER), where="x")
    found = load_file(path / "encoder.safetensors")
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in wanted.items())
    net = hollow(build, small.ENCODER)
    weights.load_state(net, folder.weights("encoder"))


def test_the_folder_remembers_its_files_and_shows_their_hashes(tmp_path: Path) -> None:
    path = converting.convert(small.save(tmp_path / "x.pkl"), tmp_path / "out")
    told = json.loads((path / converting.RECORD).read_text())["files"][0]
    assert told["file"] == "x.pkl"
    assert told["sha256"] == weights.sha256(tmp_path / "x.pkl")
    assert told["tensors"]["blocks.input.w"] == ["float16", [4, 3, 7, 7]]
    assert told["sha256"] in (path / "CARD.md").read_text()


def test_a_name_of_the_catalog_brings_licence_and_limits(tmp_path: Path) -> None:
    path = converting.convert(small.save(tmp_path / "x"), tmp_path / "out", name="dalle-dvae")
    settings = weights.read_folder(path).settings
    assert settings.licence == "modified MIT"
    assert "encode / decode only" in (path / "CARD.md").read_text()


def listed(name: str) -> Source:
    """A released file of which only names and shapes are known."""
    shapes = released(name).shapes
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return Source(Foreign(Path(f"{name}.pt"), "torch", tensors), *families.recognise(shapes))


@pytest.mark.parametrize(
    ("name", "file", "schedule", "levels", "dropout"),
    [
        ("iddpm-lsun-bs64", "improved_lsun_uncond_100M_2400K_bs64", "linear", 1000, 0.0),
        ("adm-lsun-cat", "adm_256x256_diffusion_uncond", "linear", 1000, 0.1),
        ("adm-256-uncond", "adm_256x256_diffusion_uncond", "linear", 1000, 0.0),
    ],
)
def test_the_name_decides_what_shapes_do_not_show(name: str, file: str, schedule: str, levels: int, dropout: float) -> None:
    stage = converting.settings_of([listed(file)], system=None, name=name).stages[0]
    assert (stage.diffusion.schedule, stage.diffusion.levels, stage.network.dropout) == (schedule, levels, dropout)


def test_a_name_does_not_change_a_network_of_other_shapes() -> None:
    source = listed("adm_64x64_diffusion")
    stage = converting.settings_of([source], system=None, name="adm-256").stages[0]
    assert stage.network.side == 64


def test_stages_stand_from_small_pictures_to_large_ones() -> None:
    sources = [listed("glide_upsample"), listed("glide_base")]
    settings = converting.settings_of(sources, system=None, name="mine")
    assert [stage.network.side for stage in settings.stages] == [64, 256]


def test_sizes_that_were_never_released_are_described_by_a_preset(tmp_path: Path) -> None:
    preset = tmp_path / "tiny.toml"
    preset.write_text(
        '[model]\nsystem = "adm"\nname = "tiny"\n[[model.stages]]\nname = "base"\n[model.stages.network]\n'
        "side = 8\nwidth = 32\nmultipliers = [1]\nblocks = 1\nattention = []\nhead_width = 16\n"
    )
    stage = limner.load_preset(preset).model.stages[0]
    torch.manual_seed(0)
    state = build(stage.network).state_dict()
    keys = next(family.maps(stage.network) for family in families.FAMILIES if family.name == "adm" and family.maps)
    assert keys is not None
    torch.save(layout.to_official(state, keys, where="x"), tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        converting.convert(tmp_path / "x.pt", tmp_path / "out")
    path = converting.convert(tmp_path / "x.pt", tmp_path / "out", preset=preset)
    settings = weights.read_folder(path).settings
    assert isinstance(settings.stages[0], StageSettings)
    assert settings.stages[0] == stage
    small.save(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"not those of any network of the preset \(base\)"):
        converting.convert(tmp_path / "other.pt", tmp_path / "out2", preset=preset)


def changed(path: Path, change: dict[str, Tensor | None]) -> Path:
    state = small.official(small.ENCODER) | {key: value for key, value in change.items() if value is not None}
    torch.save({key: value for key, value in state.items() if change.get(key, value) is not None}, path)
    return path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"blocks.output.conv.b": torch.full((8,), float("nan"))},
            r"blocks\.output\.conv\.b holds numbers that are not finite",
        ),
        ({"blocks.output.conv.b": torch.full((8,), float("inf"))}, "not finite"),
        ({"blocks.output.conv.b": torch.zeros(8, dtype=torch.int64)}, "is stored as int64; weights are float32, float16"),
        ({"blocks.output.conv.b": None}, r"looks like dvae, but does not fit: 1 missing: blocks\.output\.conv\.b"),
        ({"surprise": torch.zeros(1)}, "1 extra: surprise"),
        ({"blocks.output.conv.b": torch.zeros(9)}, r"1 misshapen: blocks\.output\.conv\.b \[9\] \(expected \[8\]\)"),
    ],
    ids=["nan", "infinity", "whole numbers", "missing", "extra", "misshapen"],
)
def test_weights_that_are_wrong_are_refused_and_nothing_is_left(
    change: dict[str, Tensor | None], match: str, tmp_path: Path
) -> None:
    file = changed(tmp_path / "x.pt", change)
    with pytest.raises(CheckpointError, match=match) as caught:
        converting.convert(file, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_weights_of_no_family_are_refused_with_what_is_known(tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"its 1 keys \(some\.weight\) are of no family; have: .*dvae"):
        converting.convert(tmp_path / "x.safetensors", tmp_path / "out")


def test_another_system_than_the_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="of no family that a glide system can be made of"):
        converting.convert(small.save(tmp_path / "x"), tmp_path / "out", system="glide")
    with pytest.raises(CheckpointError, match=r"belongs to system 'dall-e'; have: .*dvae"):
        converting.convert(small.save(tmp_path / "x"), tmp_path / "out", system="dall-e")


def test_the_same_network_twice_is_refused(tmp_path: Path) -> None:
    files = [small.save(tmp_path / "a"), small.save(tmp_path / "b")]
    with pytest.raises(CheckpointError, match=r"is the encoder network, and so is .*; convert them apart"):
        converting.convert(files, tmp_path / "out")


def test_files_of_different_systems_are_refused() -> None:
    with pytest.raises(CheckpointError, match="these are of different systems"):
        converting.settings_of([listed("glide_base"), listed("dalle_dvae_encoder")], system=None, name="x")


def test_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="name at least one file"):
        converting.convert([], tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process")
def test_converting_and_loading_hold_the_weights_no_more_than_once(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from limner import weights\n"
        "from limner.networks.building import build, hollow\n"
        "from limner.official import converting\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024\n"
        "converting.convert(Path(sys.argv[1]) / 'small', Path(sys.argv[1]) / 'first')\n"
        "before = peak()\n"
        "path = converting.convert(Path(sys.argv[1]) / 'large', Path(sys.argv[1]) / 'out')\n"
        "net = hollow(build, weights.read_folder(path).settings.parts[0].network)\n"
        "weights.load_state(net, path / 'encoder.safetensors')\n"
        "print(peak() - before)\n"
    )
    settings = small.ENCODER.model_copy(update={"width": 192, "codes": 2048})
    small.save(tmp_path / "small")
    small.save(tmp_path / "large", settings)
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, cwd=root)
    size = (tmp_path / "large").stat().st_size
    assert size > 2**25
    assert int(ended.stdout) < 1.3 * size
