"""What a released U-Net or classifier is, told from the keys and shapes of its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.config import ClassifierSettings, PartSettings, StageSettings, UNetSettings, load_preset
from limner.errors import CheckpointError
from limner.networks.building import build, hollow
from limner.official import families, layout, unets
from tests.official import test_adm as flags

PRESETS = {
    "glide_base": ("glide", "base"),
    "glide_upsample": ("glide", "upsampler"),
    "glide_base_inpaint": ("glide-inpaint", "base"),
    "glide_upsample_inpaint": ("glide-inpaint", "upsampler"),
    "glide_paper_base_3.5b": ("glide-paper", "base"),
    "glide_paper_upsampler_1.5b": ("glide-paper", "upsampler"),
    "adm_64x64_diffusion": ("adm-64", "base"),
    "adm_64x64_classifier": ("adm-64", "classifier"),
    "adm_128x128_diffusion": ("adm-128", "base"),
    "adm_128x128_classifier": ("adm-128", "classifier"),
    "adm_256x256_diffusion": ("adm-256", "base"),
    "adm_256x256_diffusion_uncond": ("adm-256-uncond", "base"),
    "adm_256x256_classifier": ("adm-256", "classifier"),
    "adm_512x512_diffusion": ("adm-512", "base"),
    "adm_512x512_classifier": ("adm-512", "classifier"),
    "adm_64_256_upsampler": ("adm-upsample-256", "upsampler"),
    "adm_128_512_upsampler": ("adm-upsample-512", "upsampler"),
    "adm_lsun_bedroom": ("adm-lsun-bedroom", "base"),
    "adm_lsun_cat": ("adm-lsun-cat", "base"),
    "adm_lsun_horse": ("adm-lsun-horse", "base"),
    "adm_lsun_horse_nodropout": ("adm-lsun-horse-nodropout", "base"),
    "improved_cifar10_uncond_50M_500K": ("iddpm-cifar10", "base"),
    "improved_cifar10_uncond_vlb_50M_500K": ("iddpm-cifar10-vlb", "base"),
    "improved_imagenet64_uncond_100M_1500K": ("iddpm-imagenet64", "base"),
    "improved_imagenet64_uncond_vlb_100M_1500K": ("iddpm-imagenet64-vlb", "base"),
    "improved_imagenet64_cond_270M_250K": ("iddpm-imagenet64-cond", "base"),
    "improved_lsun_uncond_100M_1200K_bs128": ("iddpm-lsun", "base"),
    "improved_lsun_uncond_100M_2400K_bs64": ("iddpm-lsun", "base"),
    "improved_upsample_cond_500K": ("iddpm-upsample-256", "upsampler"),
}
TWINS = {"adm-lsun-bedroom", "adm-lsun-cat", "adm-lsun-horse", "adm-lsun-horse-nodropout"}  # of adm-256-uncond
SCHEDULES = {"squaredcos_cap_v2": "cosine"}


def shapes_of(settings: UNetSettings | ClassifierSettings, **order: bool) -> dict[str, tuple[int, ...]]:
    """The official shapes of a network."""
    keys = unets.adm.keys(settings, **order) if isinstance(settings, UNetSettings) else unets.adm.classifier_keys(settings)
    state = layout.to_official(hollow(build, settings).state_dict(), keys, where="x")
    return {key: tuple(value.shape) for key, value in state.items()}


def only(shapes: dict[str, tuple[int, ...]]) -> Any:
    """The settings of the one piece that a file with these shapes holds, found among all families."""
    _, (piece,) = families.recognise(shapes)
    return piece.settings


def manifest(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text())
    told["shapes"] = {key: tuple(shape) for key, shape in told["state_dict"].items()}
    return told


@pytest.mark.parametrize("path", flags.ALL, ids=lambda path: path.stem)
def test_every_released_file_is_recognised_as_its_preset_from_its_shapes_alone(path: Path) -> None:
    preset, network = PRESETS[path.stem]
    family, (piece,) = families.recognise(manifest(path)["shapes"])
    model = load_preset(preset).model
    entry = piece.keys["middle_block.1.qkv.weight"]
    assert isinstance(entry, layout.Entry)
    assert entry.head_major == (path.stem != "adm_64x64_diffusion")
    wanted = next(each for each in (*model.stages, *model.parts) if each.name == network)
    found = piece.settings
    assert family.system == model.system
    if preset not in TWINS and not preset.endswith("-vlb"):
        assert found == wanted
    assert found.network.model_copy(update={"dropout": 0.0}) == wanted.network.model_copy(update={"dropout": 0.0})


@pytest.mark.parametrize("path", flags.MANIFESTS, ids=lambda path: path.stem)
def test_the_preset_of_a_released_unet_has_its_published_flags(path: Path) -> None:
    told = manifest(path)
    preset, name = PRESETS[path.stem]
    stage = next(each for each in load_preset(preset).model.stages if each.name == name)
    said = told["config"]
    wanted = flags.settings(told)
    assert stage.network == wanted.model_copy(update={"heads": stage.network.heads} if wanted.head_width else {})
    assert stage.diffusion.levels == said["diffusion_steps"]
    assert stage.diffusion.schedule == SCHEDULES.get(said["noise_schedule"], said["noise_schedule"])
    assert stage.diffusion.rescale_t == said.get("rescale_timesteps", False)
    assert (stage.diffusion.target, stage.diffusion.variance) == ("eps", "learned_range")
    assert stage.low_side == said.get("small_size", 64 if stage.network.low_res else None)


@pytest.mark.parametrize(("preset", "head_major"), [("adm-64", False), ("adm-128", True), ("iddpm-cifar10", True)])
def test_only_the_64_pixel_model_of_adm_has_the_new_order_of_attention_rows(preset: str, head_major: bool) -> None:
    network = load_preset(preset).model.stages[0].network
    exported = unets.maps(network)
    assert exported is not None
    entry = exported["middle_block.1.qkv.weight"]
    assert isinstance(entry, layout.Entry)
    assert entry.head_major == head_major


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"residual_resample": False, "heads": 4, "head_width": None},
        {"residual_resample": False, "conv_resample": False, "heads": 4, "head_width": None},
        {"scale_shift": False, "ranged": False},
        {"low_res": True},
        {"inpaint": True, "classes": 7},
        {"inpaint": True, "low_res": True},
        {"multipliers": (0.5, 1, 1, 2, 2, 4, 4), "side": 512, "attention": (16, 32), "blocks": 1},
        {"channels": 1},
    ],
)
def test_a_network_that_was_never_released_is_read_from_its_shapes(changes: dict[str, Any]) -> None:
    plain = {"side": 64, "width": 128, "blocks": 2, "attention": (4, 8), "multipliers": (1, 2, 3, 4), "head_width": 64}
    settings = UNetSettings(**plain | changes)
    found = only(shapes_of(settings))
    assert isinstance(found, StageSettings)
    assert found.network == settings
    assert found.diffusion.variance == ("learned_range" if settings.ranged else "fixed_large")
    assert found.diffusion.rescale_t == (not settings.residual_resample)
    assert found.low_side == (settings.side // 4 if settings.low_res else None)


@pytest.mark.parametrize("pool", ["attention", "adaptive", "spatial", "spatial_v2"])
def test_a_classifier_that_was_never_released_is_read_from_its_shapes(pool: Any) -> None:
    settings = ClassifierSettings(
        side=64, width=64, multipliers=(1, 2, 3, 4), blocks=3, attention=(4, 8), pool=pool, classes=10, hidden=2048
    )
    found = only(shapes_of(settings))
    assert isinstance(found, PartSettings)
    assert found.network == settings


def test_the_attention_pool_tells_a_classifiers_side() -> None:
    settings = ClassifierSettings(side=48, width=64, multipliers=(1, 3, 5), blocks=2, attention=(2, 4), classes=10)
    assert only(shapes_of(settings)).network.side == 48


def test_twins_are_named_together() -> None:
    network = load_preset("adm-lsun-cat").model.stages[0].network
    assert set(unets.same_shapes(network)) == TWINS | {"adm-256-uncond"}
    assert unets.same_shapes(UNetSettings(width=64)) == ()


def test_a_network_of_unpublished_multipliers_is_refused_because_its_side_is_unknown() -> None:
    with pytest.raises(CheckpointError, match=r"multipliers 1, 2 are of no published size.*preset \(side\)"):
        unets.recognise(shapes_of(UNetSettings(side=16, width=64, multipliers=(1, 2), blocks=1, attention=(2,))))


def test_a_network_whose_heads_cannot_be_guessed_is_refused() -> None:
    odd = UNetSettings(side=64, width=160, multipliers=(1, 2, 3, 4), blocks=1, attention=(1,), head_width=32)
    with pytest.raises(CheckpointError, match="160 channels cannot be cut into heads of 64"):
        unets.recognise(shapes_of(odd))


def test_a_classifier_whose_levels_cannot_be_counted_is_refused() -> None:
    flat = ClassifierSettings(side=32, width=64, multipliers=(1, 1, 1), blocks=3, attention=(), pool="adaptive", head_width=64)
    with pytest.raises(CheckpointError, match="11 encoder blocks can be 5 different numbers of levels"):
        unets.recognise(shapes_of(flat))


def test_channels_that_are_no_picture_are_refused() -> None:
    shapes = shapes_of(UNetSettings(side=64, width=64, blocks=1, attention=()))
    with pytest.raises(CheckpointError, match="5 channels in and 6 out"):
        unets.recognise(shapes | {"input_blocks.0.0.weight": (64, 5, 3, 3)})


def test_files_of_other_families_are_left_alone() -> None:
    assert unets.recognise({"visual.conv1.weight": (1, 3, 2, 2)}) is None
    assert unets.glide({"visual.conv1.weight": (1, 3, 2, 2)}) is None


def test_a_unet_with_patches_has_no_official_keys() -> None:
    assert unets.maps(UNetSettings(patch=2)) is None
    assert unets.glide_maps(UNetSettings()) is None
    with torch.device("meta"):
        assert unets.glide_maps(load_preset("glide").model.stages[0].network) is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "holds no residual block"),
        ({"input_blocks.1.0.strange.weight": (8,)}, r"input_blocks\.1 is neither a residual block nor a resampling"),
        ({"input_blocks.1.0.in_layers.2.weight": (8,)}, r"out\.\* is none of the pools"),
        ({"input_blocks.1.0.in_layers.2.weight": (8,), "time_embed.0.weight": (8,)}, r"contradict each other \(IndexError\)"),
        ({"input_blocks.1.0.in_layers.2.weight": (8,), "time_embed.0.weight": (8, 0)}, r"contradict each other \(ZeroDivision"),
        (
            {"input_blocks.1.0.in_layers.2.weight": (8,), "input_blocks.999999999.0.in_layers.2.weight": (8,)},
            r"input_blocks\.3 is neither",
        ),
    ],
)
def test_a_file_whose_shapes_are_nonsense_is_refused_in_a_line(changes: dict[str, tuple[int, ...]], said: str) -> None:
    shapes = {"input_blocks.0.0.weight": (8, 3, 3, 3), "time_embed.0.weight": (32, 8), "out.9.weight": (1,)}
    with pytest.raises(CheckpointError, match=said) as caught:
        unets.recognise(shapes | changes)
    assert "\n" not in str(caught.value)
