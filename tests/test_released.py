"""The catalog of released files agrees with the manifests and presets, and can be fetched from as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from limner import released
from limner.config import load_preset, presets

MANIFESTS = sorted((Path(__file__).parent / "golden" / "manifests").glob("*.json"))
ADDRESSED = [path for path in MANIFESTS if json.loads(path.read_text(encoding="utf-8")).get("url")]


@pytest.mark.parametrize("path", ADDRESSED, ids=lambda path: path.stem)
def test_every_file_with_a_manifest_has_its_address_size_and_hash(path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    files = {file.address: file for model in released.models().values() for file in model.files}
    file = files[manifest["url"]]
    assert file.parameters == manifest["total_parameters"]
    assert file.sha256 == (manifest["sha256"] or "")


@pytest.mark.parametrize("name", released.models())
def test_a_model_says_all_a_person_must_know_before_using_it(name: str) -> None:
    model = released.models()[name]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    for said in (model.summary, model.licence, model.limits, model.can, model.source, model.system):
        assert said
    for file in model.files:
        assert bool(file.address) != bool(file.hub)
        assert file.address.startswith("https://") or file.hub.count("/") == 1
        assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
        assert ".." not in file.local
        assert not file.local.startswith("/")


def test_files_of_one_model_do_not_fall_on_each_other() -> None:
    for model in released.models().values():
        assert len({file.local for file in model.files}) == len(model.files)


def test_presets_of_released_models_are_in_the_catalog() -> None:
    trained_here = {"glide-emoji", "glide-emoji-inpaint", "glide-shapes", "glide-shapes-inpaint", "glide-paper"}
    known = {model.preset for model in released.models().values()}
    assert {name for name in presets() if name.startswith(("glide", "adm", "iddpm"))} - trained_here <= known


def test_a_preset_has_the_name_and_system_of_its_model() -> None:
    for model in released.models().values():
        if model.preset in presets():
            settings = load_preset(model.preset).model
            assert (settings.name, settings.system) == (model.preset, model.system)


def test_the_dvae_does_not_promise_to_draw() -> None:
    model = released.models()["dalle-dvae"]
    assert model.can == "encode / decode only"
    assert "never released" in model.cannot


def test_an_escaped_address_has_a_plain_name_on_disk() -> None:
    names = [file.local for file in released.models()["unclip-karlo"].files]
    assert names[0] == "prior-ckpt-step=01000000-of-01000000.ckpt"


def test_memory_is_that_of_the_weights_in_float32() -> None:
    model = released.models()["clip-vit-b-32"]
    assert model.memory == 4 * 151277313


def test_an_unknown_name_is_nothing() -> None:
    assert released.find("glide-emoji") is None
