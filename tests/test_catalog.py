"""Models are found by name or path, and a wrong name is answered with the near ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from limner import catalog
from limner.config import StageSettings, SystemSettings, UNetSettings, dump
from limner.errors import CheckpointError


def checkpoint(folder: Path, *, inpaint: bool = False, weights: bytes | None = b"12345") -> Path:
    stage = StageSettings(name="base", network=UNetSettings(side=8, multipliers=(1,), inpaint=inpaint))
    folder.mkdir(parents=True)
    settings = SystemSettings(name=folder.name, summary="small", licence="MIT", stages=(stage,))
    (folder / "config.json").write_text(dump(settings))
    if weights is not None:
        (folder / "base.safetensors").write_bytes(weights)
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with one model, and an empty box."""
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(catalog, "_bundled_root", lambda: tmp_path / "box")
    checkpoint(tmp_path / "models" / "glide-mine")
    return tmp_path


def test_a_model_of_the_models_folder_is_listed(root: Path) -> None:
    (entry,) = catalog.models()
    assert (entry.name, entry.summary, entry.licence) == ("glide-mine", "small", "MIT")
    assert entry.size == sum(file.stat().st_size for file in entry.path.iterdir())
    assert (entry.verbs, entry.bundled, entry.problem) == (("draw", "edit", "sketch", "outpaint"), False, "")


def test_a_bundled_model_comes_first_and_is_not_shadowed(root: Path) -> None:
    for place in ("box", "models"):
        checkpoint(root / place / "glide-box")
    assert [(entry.name, entry.bundled) for entry in catalog.models()] == [("glide-box", True), ("glide-mine", False)]
    assert catalog.find("glide-box") == root / "box" / "glide-box"
    assert catalog.describe(catalog.find("glide-box")).bundled


def test_models_are_found_by_name_and_by_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = checkpoint(root / "runs" / "one")
    monkeypatch.chdir(root / "runs")
    assert catalog.find("glide-mine") == root / "models" / "glide-mine"
    assert catalog.find(other) == catalog.find(str(other)) == other
    assert catalog.find("one").resolve() == catalog.find("./one").resolve() == other


def test_a_wrong_name_is_answered_with_the_near_ones() -> None:
    with pytest.raises(CheckpointError, match=r"'glide-mien': no such model.*did you mean 'glide-mine'\?.*have: glide-mine"):
        catalog.find("glide-mien")


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "~nobody/x", "../nowhere", "a\nb"])
def test_a_name_that_cannot_be_one_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such model or folder") as caught:
        catalog.find(name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_said_to_be_none(root: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        catalog.find(root)


def test_a_model_for_inpainting_can_also_edit(root: Path) -> None:
    assert catalog.describe(checkpoint(root / "models" / "inpaint", inpaint=True)).verbs[:2] == ("draw", "edit")


@pytest.mark.parametrize(
    ("text", "said"), [("{", "config.json cannot be used"), ('{"nam": 1}', "nam"), ("3", "cannot be used")]
)
def test_a_broken_model_is_listed_with_its_problem(root: Path, text: str, said: str) -> None:
    (root / "models" / "glide-mine" / "config.json").write_text(text)
    (entry,) = catalog.models()
    assert said in entry.problem
    assert "\n" not in entry.problem


def test_a_model_without_its_weights_is_listed_with_its_problem(root: Path) -> None:
    entry = catalog.describe(checkpoint(root / "models" / "empty", weights=None))
    assert entry.problem == "weights are missing: base"


def test_what_an_interrupted_writer_left_is_no_model(root: Path) -> None:
    checkpoint(root / "models" / ".glide-mine.1234.new")
    assert [entry.name for entry in catalog.models()] == ["glide-mine"]


def test_without_a_models_folder_there_are_no_models(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_MODELS", str(root / "nowhere"))
    assert catalog.models() == []


def test_the_platform_says_where_models_lie_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMNER_MODELS")
    assert catalog.models_root().parts[-2:] == ("limner", "models")


def test_listing_models_does_not_import_torch() -> None:
    code = "import sys, limner.catalog; limner.catalog.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
