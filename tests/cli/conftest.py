"""The command line as a person meets it: words in, lines and an exit code out; an empty folder and no settings around it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image
import pytest

from limner.cli import app


class Said(NamedTuple):
    """What a run of the command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """The results of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def opened(path: str) -> PIL.Image.Image:
    """A picture, its file closed again."""
    with PIL.Image.open(path) as picture:
        picture.load()
        return picture


Limner = Callable[..., Said]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LIMNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LIMNER_MODELS", str(tiny.parent))
    monkeypatch.setenv("LIMNER_CONFIG", str(tmp_path / "none.toml"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def limner(capsys: pytest.CaptureFixture[str]) -> Limner:
    def run(*args: str) -> Said:
        capsys.readouterr()
        code = app.run(args)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def drawn(limner: Limner) -> Limner:
    """`limner draw -m tiny -s 0 --dtype float32` with more words."""
    return lambda *args: limner("draw", "--model", "tiny", "--seed", "0", "--dtype", "float32", *args)
