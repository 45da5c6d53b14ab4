"""Loading a model by name, and what may be asked of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import limner
from limner.errors import CheckpointError, ConfigError, InputError


def test_a_model_in_the_models_folder_is_loaded_by_name(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny, tmp_path / "fox-8")
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path))
    assert limner.load("fox-8").name == "fox-8"


def test_an_unknown_model_is_said_with_those_there_are() -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        limner.load("no-such-model")


def test_sampling_of_any_stage_can_be_set(tiny: Path) -> None:
    pipe = limner.load(tiny, settings=["stages.1.sampling.steps=2", "stages.0.sampling.sampler=ddpm"])
    made = pipe("a red fox", seed=0)[0].recipe
    assert [(stage.sampler, stage.steps) for stage in made.stages] == [("ddpm", "4"), ("ddpm", "2")]


def test_setting_sampling_does_not_change_the_hash_of_the_model(tiny: Path) -> None:
    assert limner.load(tiny, settings=["stages.1.sampling.steps=2"]).config_hash == limner.load(tiny).config_hash


@pytest.mark.parametrize("setting", ["stages.0.network.width=16", "name=other", "stages.0.diffusion.schedule=linear"])
def test_what_the_weights_were_trained_with_cannot_be_set(tiny: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=r"only stages\.N\.sampling"):
        limner.load(tiny, settings=[setting])


def test_a_wrong_setting_is_said_with_the_nearest_right_one(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"stages\[0\]\.sampling\.step: no such setting; did you mean 'steps'"):
        limner.load(tiny, settings=["stages.0.sampling.step=2"])


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"n": 0}, "draw: n: "),
        ({"steps": "many"}, "steps: 'many'"),
        ({"steps": 1000}, "steps: '1000'"),
        ({"guidance": -1.0}, "draw: guidance: "),
        ({"guidance": float("nan")}, "draw: guidance: "),
        ({"sampler": "plms"}, "draw: sampler: "),
        ({"seed": "a"}, "draw: seed: "),
        ({"sead": 3}, "did you mean 'seed'"),
    ],
)
def test_a_wish_that_does_not_fit_is_refused_before_the_first_step(tiny: Path, wishes: dict[str, object], said: str) -> None:
    pipe = limner.load(tiny)
    with pytest.raises(ConfigError) as caught:
        pipe.stream("a red fox", **wishes)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_side_it_cannot_draw_is_refused_before_the_weights_are_read(tiny: Path) -> None:
    with pytest.raises(InputError, match="draws 8x8 or 16x16; it cannot draw 512x512"):
        limner.load(tiny, side=512)


def test_a_side_of_an_earlier_stage_stops_there(tiny: Path) -> None:
    image = limner.load(tiny, side=8)("a red fox", seed=0)[0]
    assert image.picture.size == (8, 8)
    assert [stage.name for stage in image.recipe.stages] == ["base"]


def test_a_seed_may_be_any_integer(tiny: Path) -> None:
    pipe = limner.load(tiny, side=8)
    assert pipe("a", seed=-1)[0].recipe.seed == -1
    assert pipe("a", seed=2**70)[0].recipe.seed == 2**70


def test_a_device_that_is_not_here_is_said(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="device 'quantum' is not usable here"):
        limner.load(tiny, device="quantum")


def test_a_recipe_says_under_which_licence_the_weights_are(tiny: Path) -> None:
    pipe = limner.load(tiny)
    assert pipe("a red fox", seed=0)[0].recipe.licence == pipe.settings.licence != ""
