"""Failures in two lines and a code; messages and results each in their place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli import app
from limner.cli.terminal import printable
from limner.errors import LimnerError
from limner.systems import drawing
from tests.cli.conftest import Limner


def raising(error: BaseException) -> object:
    def load(*args: object, **more: object) -> None:
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 5, "too little memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"), 5, "too little memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 5, "too little memory"),
        (OSError(5, "Input/output error", "a.png"), 1, "a.png: Input/output error"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_every_failure_has_a_line_and_a_code(
    limner: Limner, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(drawing, "load_pipe", raising(error))
    ended = limner("draw", "fox")
    assert ended.code == code
    assert ended.err.startswith(f"limner: error: {said}")
    assert "Traceback" not in ended.err


def test_debug_shows_the_traceback(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "load_pipe", raising(ZeroDivisionError("division by zero")))
    assert "Traceback" in limner("draw", "fox", "--debug").err
    monkeypatch.setenv("LIMNER_DEBUG", "1")
    assert "Traceback" in limner("draw", "fox").err


def test_errors_can_be_json(limner: Limner) -> None:
    assert limner("draw", "fox", "-m", "none", "--log-format", "json").err.startswith('{"level": "error", "message": "')


def test_text_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2J\x9b fox\n") == "a\\x1b[2J\\x9b fox\n"


def test_warnings_of_other_libraries_are_only_for_the_curious(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object, **more: object) -> None:
        import warnings

        warnings.warn("old", DeprecationWarning, stacklevel=1)
        raise LimnerError("enough")

    monkeypatch.setattr(drawing, "load_pipe", load)
    assert "DeprecationWarning" not in limner("draw", "fox").err
    assert "DeprecationWarning: old" in limner("draw", "fox", "-v").err


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "limner", "completion", "bash"], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "")


def test_ctrl_c_ends_with_130_and_whole_pictures_only(tiny: Path) -> None:
    command = [sys.executable, "-m", "limner", "draw", "fox", "-n", "9999", "--batch", "1", "--model", str(tiny)]

    def attentive() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background inherit that it is ignored

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=attentive) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert Path(first.strip()).is_file()
    assert "limner: error: interrupted" in err
    assert {path.suffix for path in Path().iterdir()} == {".png"}


@pytest.mark.parametrize("words", ["--version", "draw --help", "models list", "completion bash"])
def test_a_full_disk_under_stdout_is_one_line(words: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "limner", *words.split()]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("limner: error: No space left on device")
    assert "Traceback" not in ended.stderr


def test_closed_streams_are_no_accident(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as Python starts where they are closed
    assert app.run(["draw", "a fox", "-m", "tiny", "-s", "0", "-n", "2"]) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["0-a-fox-000.png", "0-a-fox-001.png"]
    assert app.run(["--version"]) == 0
    assert app.run(["draw", "--prompt-file", "-", "-m", "tiny"]) == 2


def test_an_interruption_before_a_verb_begins_is_one_line(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "app", raising(KeyboardInterrupt()))
    said = limner("draw", "fox")
    assert (said.code, said.err) == (130, "limner: error: interrupted\n")
