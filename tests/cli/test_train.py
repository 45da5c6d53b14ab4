"""`limner train`: what it says on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Limner, Said
from tests.cli.test_inpainting import PRESET


def train(limner: Limner, *flags: str, out: str = "run") -> Said:
    Path("mine.toml").write_text(PRESET, encoding="utf-8")
    return limner("train", "mine.toml", "--stage", "base", "--out", out, "--device", "cpu", "--threads", "1", *flags)


def test_quiet_training_says_nothing_but_where_the_checkpoint_is(limner: Limner) -> None:
    assert train(limner, "--quiet") == Said(0, "run/step-00000002\n", "")


def test_training_speaks_json_where_that_is_asked_for(limner: Limner) -> None:
    said = [json.loads(line) for line in train(limner, "--log-format", "json").err.splitlines()]
    assert {line["level"] for line in said} == {"info"}
    assert said[0]["message"].startswith("run: a new run from tiny of 2")


@pytest.mark.parametrize(("flags", "shown"), [((), True), (("--no-progress",), False)])
def test_training_has_a_bar_unless_none_is_wanted(
    limner: Limner, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], shown: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = train(limner, *flags, out="run[red]")
    assert ("2/2" in said.err) is shown
    assert "run[red]: a new run" in said.err


def test_a_run_that_is_stopped_says_what_was_saved_and_how_to_go_on(limner: Limner) -> None:
    said = train(limner, "--set", "training.0.steps=100", "--max-minutes", "0")
    step = int(said.out.strip().removeprefix("run/step-"))
    assert said.err.splitlines()[-1] == f"run: saved after step {step}; the same command goes on from there"


def test_training_says_which_pictures_it_leaves_out(limner: Limner) -> None:
    assert limner("data", "build", "shapes", "--out", "mine", "-n", "3", "--side", "16").code == 0
    Path("mine/000001.png").write_bytes(b"")
    Path("mine/000002.txt").unlink()
    said = train(limner, "--data", "mine", "--set", "training.0.steps=4")
    assert "mine: left out 1 no caption (000002.png); 1 file is empty (000001.png)" in said.err.splitlines()
