"""`limner.load` opens every kind of model, and says of networks without a system what can be done with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import limner
from limner.config import SystemSettings, load_preset
from limner.errors import ConfigError, UnsupportedError
from limner.official import converting, families
from limner.official.reading import Foreign
from limner.systems.adm import Adm
from limner.systems.drawing import Pipe, load_pipe
from limner.systems.dvae import Dvae
from limner.systems.glide import Glide
from tests import tiny_adm, tiny_dvae

MANIFESTS = Path(__file__).parents[1] / "golden" / "manifests"


def source(manifest: str) -> converting.Source:
    """A released file as it is recognised, without its numbers."""
    told = json.loads((MANIFESTS / f"{manifest}.json").read_text())
    shapes = {key: tuple(shape) for key, shape in told["state_dict"].items()}
    family, pieces = families.recognise(shapes)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return converting.Source(Foreign(Path(f"{manifest}.pt"), "weights", tensors), family, pieces)


def test_what_draws_is_a_pipe(tiny: Path, tmp_path: Path) -> None:
    words, classes = limner.load(tiny), limner.load(tiny_adm.save(tmp_path / "tiny-adm"))
    assert isinstance(words, Pipe)
    assert isinstance(words.system, Glide)
    assert isinstance(classes, Pipe)
    assert isinstance(classes.system, Adm)


def test_a_dvae_is_opened_as_one(tmp_path: Path) -> None:
    folder = tiny_dvae.save(tmp_path / "tiny-dvae")
    assert isinstance(limner.load(folder), Dvae)
    with pytest.raises(ConfigError, match="draws nothing"):
        limner.load(folder, side=8)
    with pytest.raises(UnsupportedError, match=r"a dvae model does not draw; it encodes and decodes"):
        load_pipe(folder)


@pytest.mark.parametrize("system", ["unclip", "latent-vae", "consistency-decoder", "coca", "min-dalle", "noised-clip"])
def test_networks_without_a_system_are_refused_with_what_can_be_done(system: str, tmp_path: Path) -> None:
    part = tiny_adm.settings().parts[0]
    settings = SystemSettings(system=system, name="networks", parts=(part,))  # type: ignore[arg-type]
    states = {part.name: limner.networks.building.build(part.network).state_dict()}
    folder = limner.weights.save_folder(tmp_path / "networks", settings, states, "# networks\n")
    with pytest.raises(UnsupportedError, match=rf"networks: a {system} model does not draw; .*limner export") as caught:
        limner.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "preset"),
    [
        (["glide_upsample", "glide_base"], "glide"),
        (["glide_base_inpaint", "glide_upsample_inpaint"], "glide-inpaint"),
        (["adm_64_256_upsampler", "adm_64x64_classifier", "adm_64x64_diffusion"], "adm-64-upsampled"),
        (["adm_128_512_upsampler", "adm_128x128_diffusion", "adm_128x128_classifier"], "adm-128-upsampled"),
        (["adm_256x256_classifier", "adm_256x256_diffusion"], "adm-256"),
        (["lsun"], "adm-lsun-cat"),
    ],
)
def test_released_files_in_any_order_become_one_system_with_the_published_defaults(files: list[str], preset: str) -> None:
    names = ["adm_lsun_cat"] if files == ["lsun"] else files
    found = converting.settings_of([source(file) for file in names], system=None, name=preset)
    wanted = load_preset(preset).model
    assert found.system == wanted.system
    assert found.stages == wanted.stages
    assert found.parts == wanted.parts


def test_the_defaults_of_the_glide_notebooks_are_those_of_the_presets() -> None:
    def said(preset: str) -> list[tuple[str, str, float, float]]:
        stages = load_preset(preset).model.stages
        return [(s.sampling.sampler, s.sampling.steps, s.sampling.guidance, s.sampling.temperature) for s in stages]

    assert said("glide") == [("ddpm", "100", 3.0, 1.0), ("ddim", "fast27", 1.0, 0.997)]
    assert said("glide-inpaint") == [("ddpm", "100", 5.0, 1.0), ("ddpm", "fast27", 1.0, 0.997)]
