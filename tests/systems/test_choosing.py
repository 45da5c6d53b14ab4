"""Which of two siblings repaints: by name, beside the folder, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from limner.errors import CheckpointError, UnsupportedError
from limner.systems.choosing import painter


@pytest.fixture
def models(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of named models that holds `tiny`."""
    root = tmp_path / "models"
    shutil.copytree(tiny, root / "tiny")
    monkeypatch.setenv("LIMNER_MODELS", str(root))
    return root


def sibling(models: Path, name: str = "tiny-inpaint", *, inpaints: bool = True) -> Path:
    """A model that says it was trained to inpaint; only its settings are looked at here."""
    folder = models / name
    shutil.copytree(models / "tiny", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for stage in config["stages"]:
        stage["network"]["inpaint"] = inpaints
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_sibling_trained_to_inpaint_is_taken(models: Path) -> None:
    trained = sibling(models)
    assert painter("tiny") == trained
    assert painter("tiny", "trained") == trained
    assert painter(models / "tiny") == trained
    assert painter("tiny-inpaint") == trained


def test_replacement_is_the_generators(models: Path) -> None:
    sibling(models)
    assert painter("tiny", "replacement") == models / "tiny"
    assert painter("tiny-inpaint", "replacement") == models / "tiny"


def test_without_a_sibling_the_generator_repaints(models: Path) -> None:
    assert painter("tiny") == models / "tiny"
    with pytest.raises(UnsupportedError, match="no model 'tiny-inpaint' trained to inpaint"):
        painter("tiny", "trained")


def test_a_sibling_that_cannot_be_used_is_passed_over(models: Path) -> None:
    sibling(models, inpaints=False)
    assert painter("tiny") == models / "tiny"
    shutil.rmtree(models / "tiny-inpaint")
    (sibling(models) / "base.safetensors").unlink()
    assert painter("tiny") == models / "tiny"


def test_a_painter_without_a_generator_cannot_replace(models: Path) -> None:
    alone = sibling(models, "lonely-inpaint")
    with pytest.raises(UnsupportedError, match="no model 'lonely' that draws without a mask"):
        painter(alone, "replacement")


def test_a_model_that_is_not_there_is_refused(models: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        painter("nobody")
    (models / "tiny" / "config.json").write_text("{", encoding="utf-8")
    assert painter("tiny") == models / "tiny"  # whoever loads it says what is wrong
