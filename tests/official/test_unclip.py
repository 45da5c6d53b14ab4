"""Karlo's original files become a checkpoint folder, diffusers' folder, and themselves again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from limner import weights
from limner.config import (
    ClipSettings,
    NetworkSettings,
    PartSettings,
    PriorSettings,
    StageSettings,
    StatisticsSettings,
    SystemSettings,
    TextProjectionSettings,
    TextTowerSettings,
    UNetSettings,
)
from limner.errors import CheckpointError, UnsupportedError
from limner.networks.building import build
from limner.official import karlo, layout, unclip_documents
from limner.official.converting import convert
from limner.official.exporting import export
from limner.official.families import fitting
from limner.weights import Folder
from tests.official.released import MANIFESTS
from tests.official.test_karlo import FULL_DECODER, FULL_UPSAMPLER

PRIOR = PriorSettings(clip=6, words=6, context=3, width=64, depth=1, heads=1)
PROJECTION = TextProjectionSettings(clip=6, tokens=2, width=12, embed=256)
DECODER = UNetSettings(width=64, multipliers=(1, 1), blocks=1, attention=(2,), words=12)
UPSAMPLER = UNetSettings(
    side=256,
    width=32,
    multipliers=(1, 1),
    blocks=1,
    attention=(),
    middle_attention=False,
    scale_shift=False,
    ranged=False,
    low_res=True,
    enlarge="bicubic",
)


def native(settings: NetworkSettings, keys: layout.KeyMap, seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    state = {key: torch.randn(value.shape, generator=rng) for key, value in build(settings).state_dict().items()}
    return layout.to_official(state, keys, where="x")


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, Tensor]]:
    """What stands in Karlo's files, by the names that limner gives them."""
    return {
        "prior": native(PRIOR, karlo.prior_keys(PRIOR), 0),
        "decoder": native(DECODER, karlo.unet_keys(DECODER, karlo.MODEL), 1)
        | native(PROJECTION, karlo.text_projection_keys(PROJECTION), 2),
        "super_res": native(UPSAMPLER, karlo.unet_keys(UPSAMPLER, karlo.FIRST), 3)
        | native(UPSAMPLER, karlo.unet_keys(UPSAMPLER, karlo.LAST), 4),
        "statistics": native(StatisticsSettings(clip=6), karlo.statistics_keys(), 5),
    }


@pytest.fixture(scope="module")
def folder(files: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The files, saved as Karlo's are under names that say nothing, and converted."""
    place = tmp_path_factory.mktemp("karlo")
    for name, state in files.items():
        content = tuple(state.values()) if name == "statistics" else {"state_dict": state, "epoch": 3}
        torch.save(content, place / f"x-{name}.ckpt")
    return weights.read_folder(convert(sorted(place.iterdir()), place / "limner", name="tiny-karlo"))


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return set(found) == set(wanted) and all(torch.equal(found[key], value) for key, value in wanted.items())


def test_its_networks_are_told_from_their_keys(folder: Folder) -> None:
    networks = folder.settings.networks()
    assert folder.settings.system == "unclip"
    assert {name: networks[name] for name in ("prior", "text_proj", "decoder", "super_res_first", "super_res_last")} == {
        "prior": PRIOR,
        "text_proj": PROJECTION,
        "decoder": DECODER,
        "super_res_first": UPSAMPLER,
        "super_res_last": UPSAMPLER,
    }
    assert [stage.name for stage in folder.settings.stages] == ["decoder", "super_res_first"]


def test_the_original_files_come_back_bit_for_bit(folder: Folder, files: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    export(folder, tmp_path / "out")
    for name, wanted in files.items():
        content = torch.load(tmp_path / "out" / f"x-{name}.ckpt", weights_only=True)
        assert isinstance(content, tuple) == (name == "statistics")
        found = {str(n): value for n, value in enumerate(content)} if isinstance(content, tuple) else content["state_dict"]
        assert same(found, wanted), name


def test_by_way_of_diffusers_folder_nothing_is_lost(
    folder: Folder, files: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    written = export(folder, tmp_path / "diffusers", layout="diffusers")
    names = {file.relative_to(tmp_path / "diffusers").as_posix() for file in written if file.suffix == ".safetensors"}
    parts = ("prior", "text_proj", "decoder", "super_res_first", "super_res_last")
    assert names == {f"{part}/diffusion_pytorch_model.safetensors" for part in parts}
    back = weights.read_folder(convert(tmp_path / "diffusers", tmp_path / "back"))
    assert back.settings.networks() == folder.settings.networks()
    assert all(same(load_file(back.weights(name)), load_file(folder.weights(name))) for name in folder.settings.networks())
    export(back, tmp_path / "out")
    for name, wanted in files.items():
        content = torch.load(tmp_path / "out" / f"{name}.{'th' if name == 'statistics' else 'ckpt'}", weights_only=True)
        found = {str(n): value for n, value in enumerate(content)} if isinstance(content, tuple) else content["state_dict"]
        assert same(found, wanted), name


def test_the_two_upsamplers_are_told_apart_by_order_where_names_say_nothing(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "out", layout="diffusers")
    for n, name in enumerate(("super_res_first", "super_res_last")):
        (tmp_path / "out" / name / "diffusion_pytorch_model.safetensors").rename(tmp_path / f"{n}.safetensors")
    back = weights.read_folder(convert([tmp_path / "0.safetensors", tmp_path / "1.safetensors"], tmp_path / "back"))
    for name in ("super_res_first", "super_res_last"):
        assert same(load_file(back.weights(name)), load_file(folder.weights(name)))


def test_the_folder_of_diffusers_says_what_it_is_made_of(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path / "out", layout="diffusers")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["_class_name"] == "UnCLIPPipeline"
    for name, told in index.items():
        if isinstance(told, list):
            file = "scheduler_config.json" if name.endswith("scheduler") else "config.json"
            assert json.loads((tmp_path / "out" / name / file).read_text())["_class_name"] == told[1]
    assert {"prior_scheduler", "decoder_scheduler", "super_res_scheduler"} < set(index)
    decoder = json.loads((tmp_path / "out" / "decoder_scheduler" / "scheduler_config.json").read_text())
    assert (decoder["prediction_type"], decoder["variance_type"]) == ("epsilon", "learned_range")


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("diffusers_unclip_text_proj", TextProjectionSettings()),
        ("diffusers_unclip_decoder", FULL_DECODER),
        ("diffusers_unclip_super_res_first_and_last", FULL_UPSAMPLER),
    ],
)
def test_the_options_of_a_released_network_are_the_published_ones(name: str, network: NetworkSettings) -> None:
    published = json.loads((MANIFESTS / f"{name}.json").read_text())["config"]
    ours = unclip_documents.described(network)
    assert {option: ours[option] for option in published} == published


def test_the_options_of_a_prior_leave_out_what_is_default() -> None:
    assert unclip_documents.described(PriorSettings()) == {
        "num_attention_heads": 32,
        "attention_head_dim": 64,
        "num_layers": 20,
        "embedding_dim": 768,
        "num_embeddings": 77,
        "additional_embeddings": 4,
        "dropout": 0.0,
    }
    other = PriorSettings(words=None, context=0, answer_token=False, first_norm=True, time_width=8)
    told = unclip_documents.described(other)
    assert (told["encoder_hid_proj_type"], told["added_emb_type"], told["additional_embeddings"]) == (None, None, 3)
    assert (told["norm_in_type"], told["time_embed_dim"]) == ("layer", 8)


def test_a_text_tower_says_its_sizes_in_the_words_of_transformers() -> None:
    told = unclip_documents.described(ClipSettings(embed=768, image=None, text=TextTowerSettings(width=768, heads=12)))
    assert (told["hidden_size"], told["projection_dim"], told["intermediate_size"]) == (768, 768, 3072)
    assert unclip_documents.described(StatisticsSettings()) == {}


def test_sizes_that_were_never_released_are_read_with_a_preset(tmp_path: Path) -> None:
    decoder = DECODER.model_copy(update={"head_width": 32, "dropout": 0.1})
    system = SystemSettings(
        system="unclip",
        name="mine",
        stages=(StageSettings(name="decoder", network=decoder),),
        parts=(PartSettings(name="text_proj", network=PROJECTION),),
    )
    state = native(decoder, karlo.unet_keys(decoder, karlo.MODEL), 1)
    state |= native(PROJECTION, karlo.text_projection_keys(PROJECTION), 2)
    _, pieces = fitting({key: tuple(value.shape) for key, value in state.items()}, (*system.stages, *system.parts), where="x")
    assert [piece.settings for piece in pieces] == [*system.stages, *system.parts]
    with pytest.raises(CheckpointError, match=r"x: .* not those of any network of the preset \(text_proj\)"):
        fitting({key: tuple(value.shape) for key, value in state.items()}, system.parts, where="x")


def test_a_file_that_lacks_one_of_its_networks_is_not_written(folder: Folder) -> None:
    networks = folder.settings.networks()
    del networks["text_proj"]
    with pytest.raises(UnsupportedError, match=r"decoder\.ckpt holds decoder and text_proj together, and text_proj is not"):
        karlo.files(networks)
