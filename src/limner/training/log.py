"""What a training run says while it runs: one JSON line every few steps, and a bar or a line for a person."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Line = dict[str, Any]


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Voice(NamedTuple):
    """How a run speaks to the person who started it."""

    say: Callable[[str], None] = _to_stderr  # one line; above the bar, as whatever goes to stderr while there is one
    bar: bool = True  # whether there may be a bar; there is none either when stderr is a file


class Log:
    """An open log: `write` appends one line of JSON and tells the person at the terminal. Closed by `close`."""

    def __init__(self, path: Path, *, step: int, steps: int, every: float = 60.0, voice: Voice | None = None) -> None:
        _cut(path, step)
        self.file: IO[str] = path.open("a", encoding="utf-8")
        self.every = every
        self.voice = voice or Voice()
        self.spoke = -every
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        console = Console(stderr=True)
        if self.voice.bar and console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self.bar = Progress(*columns, console=console)
            self.task = self.bar.add_task("training", total=steps, completed=step)
            self.bar.start()

    def write(self, line: Mapping[str, Any]) -> None:
        """Append the line and flush it."""
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=line["step"], description=spoken(line, short=True))
        elif time.monotonic() - self.spoke >= self.every:
            self.spoke = time.monotonic()
            self.say(spoken(line))

    def say(self, text: str) -> None:
        """One line to the person."""
        self.voice.say(text)

    def close(self) -> None:
        """End the bar and the file."""
        if self.bar is not None:
            self.bar.stop()
        self.file.close()


def spoken(line: Mapping[str, Any], *, short: bool = False) -> str:
    """A log line as people read it."""
    text = f"step {line['step']} loss {line['loss']:.4f} | {line['imgs_per_s']:.1f} imgs/s"
    if short:
        return text
    hours = line["eta_s"] / 3600
    return (
        f"{text} | grad norm {line['grad_norm']:.3f} | lr {line['lr']:.2e} | data wait {line['data_wait']:.1f} % | "
        f"{line['peak_memory_mb']:.0f} MB | {hours:.2f} h to go"
    )


def read_log(path: Path) -> list[Line]:
    """All whole lines of a log; a line cut short by a kill is left out."""
    lines: list[Line] = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return lines


def peak_memory_mb(device: torch.device) -> float:
    """The most memory this process has held so far: of the device, or of the machine for the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _cut(path: Path, step: int) -> None:
    """Forget what was logged after the checkpoint that is resumed: those steps are trained again."""
    lines = read_log(path)
    kept = [line for line in lines if line["step"] <= step]
    if path.is_file():
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)
