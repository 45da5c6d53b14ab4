"""`make draw` hands the words over as they were typed, and begins an interrupted installation again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The Makefile with a stand-in for the environment: pip and limner only say how they were called."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "limner"):
        (tools / name).write_text(f'#!/bin/sh\necho {name} >> calls\nprintf "%s\\n" "$@" >> calls\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    return tmp_path


def make(house: Path, *words: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(["make", *words], cwd=house, env=clean, check=True, capture_output=True)
    calls = house / "calls"
    said = calls.read_text(encoding="utf-8").splitlines()
    calls.unlink()
    return said


@pytest.mark.parametrize(
    "prompt", ["a red fox", 'it\'s $5 "cash"', "`touch x` $(touch x) $(shell touch x)", "; touch x #", "-- -n 3"]
)
def test_no_prompt_is_code(house: Path, prompt: str) -> None:
    (house / ".venv" / "core").touch()
    assert make(house, "draw", f"PROMPT={prompt}") == ["limner", "draw", "--out", "pictures/", "--", prompt]
    assert not (house / "x").exists()


def test_the_environment_is_made_once_and_again_when_versions_change(house: Path) -> None:
    assert make(house, "draw")[:2] == ["python", "-m"]
    assert make(house, "draw")[0] == "limner"
    stamp = (house / ".venv" / "core").stat().st_mtime
    os.utime(house / "constraints.txt", (stamp + 10, stamp + 10))
    assert make(house, "draw")[0] == "python"


def test_an_installation_that_failed_is_begun_again(house: Path) -> None:
    python = house / ".venv" / "bin" / "python"
    working = python.read_text(encoding="utf-8")
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        make(house, "draw")
    python.write_text(working, encoding="utf-8")
    assert make(house, "draw")[0] == "python"
