"""The presets that ship: each one parses, and the published sizes are met to the parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.config import load_preset, presets
from limner.networks.unet import UNet

PUBLISHED = {
    ("glide", "base"): 385_030_726,
    ("glide", "upsampler"): 398_361_286,
    ("glide-inpaint", "base"): 385_037_638,
    ("glide-inpaint", "upsampler"): 398_368_198,
    ("glide-paper", "base"): 3_554_414_086,
    ("glide-paper", "upsampler"): 1_641_702_790,
}


@pytest.mark.parametrize(("preset", "stage"), PUBLISHED)
def test_a_published_network_has_its_published_parameters(preset: str, stage: str) -> None:
    settings = next(each for each in load_preset(preset).model.stages if each.name == stage)
    with torch.device("meta"):
        net = UNet(settings.network)
    assert sum(parameter.numel() for parameter in net.parameters()) == PUBLISHED[preset, stage]


@pytest.mark.parametrize("preset", presets())
def test_every_preset_builds_and_its_stages_fit_each_other(preset: str) -> None:
    model = load_preset(preset).model
    assert model.name == preset
    for before, after in zip(model.stages, model.stages[1:], strict=False):
        assert after.low_side == before.network.side
        assert after.network.low_res
    for stage in model.stages:
        ranged = stage.diffusion.variance in ("learned", "learned_range")
        assert ranged == stage.network.ranged


def test_the_recipe_of_a_preset_names_stages_that_exist() -> None:
    for preset in presets():
        loaded = load_preset(preset)
        names = {stage.name for stage in loaded.model.stages}
        assert {recipe.stage for recipe in loaded.training} <= names


def test_a_preset_that_extends_others_changes_only_the_stages_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'extends = ["adm-64", "adm-upsample-256"]\n[model]\nname = "mine"\n'
        '[[model.stages]]\nname = "upsampler"\n[model.stages.sampling]\nsteps = "ddim25"\n'
    )
    mine, small, large = (load_preset(each).model for each in (file, "adm-64", "adm-upsample-256"))
    assert mine.stages[0] == small.stages[0]
    assert mine.parts == small.parts
    assert mine.stages[1].network == large.stages[0].network
    assert mine.stages[1].sampling == large.stages[0].sampling.model_copy(update={"steps": "ddim25"})


def test_a_head_width_of_zero_stands_for_a_number_of_heads() -> None:
    network = load_preset("adm-128").model.stages[0].network
    assert (network.heads, network.head_width) == (4, None)
