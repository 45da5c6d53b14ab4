"""Every system limner has, and every model in the box, passes the one suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import limner
from tests.conformance import CHECKS, System, check_system, open_system


@pytest.fixture(scope="module")
def system(tiny: Path) -> System:
    return open_system(tiny)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_glide_cascade(check: Callable[[System, Path], None], system: System, tmp_path: Path) -> None:
    check(system, tmp_path)


@pytest.mark.parametrize("name", [entry.name for entry in limner.models() if entry.bundled and not entry.problem])
def test_a_bundled_model(name: str, tmp_path: Path) -> None:
    entry = next(entry for entry in limner.models() if entry.name == name)
    stages = limner.load(entry.path).settings.stages
    check_system(entry.path, tmp_path, tuple(f"stages.{k}.sampling.steps=2" for k, _ in enumerate(stages)))
