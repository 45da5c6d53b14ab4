"""What is written where: results to stdout, everything else to stderr; failures in two lines and with a code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from limner.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DownloadError,
    InputError,
    LimnerError,
    MemoryLimitError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from rich.progress import Progress

INTERRUPTED = 130
FAILED = 1
OUT_OF_MEMORY = 5

# How to go on, by kind of failure; the first that fits is said.
_HINTS: tuple[tuple[type[LimnerError], str], ...] = (
    (UnsupportedError, "see `limner models list` for what each model can do"),
    (DownloadError, "check the network and the free space, then run the same command again"),
    (CheckpointError, "see `limner models list` for the models there are"),
    (DataError, "see `limner data check SOURCE` for what can be read"),
    (MemoryLimitError, "draw fewer pictures at a time (--batch 1), or use --dtype bfloat16"),
    (ConfigError, "see `limner VERB --help` for what fits"),
    (InputError, "see `limner VERB --help` for what fits"),
    (LimnerError, "run it again with --debug for the traceback"),
)
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # torch says it in these ways

Tell = Callable[[str, int, int], None]  # what is being done, how much is done, of how much


@dataclass
class Terminal:
    """How one run of the command speaks; made from the flags that every verb has."""

    json: bool = False  # results as one object a line
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    log_json: bool = False  # messages as one object a line
    debug: bool = False
    _bar: Progress | None = field(default=None, repr=False)

    def result(self, text: str, **facts: Any) -> None:
        """A result: one line on stdout, or with --json its facts as one object."""
        with self._aside():
            _write(sys.stdout, json.dumps(facts, ensure_ascii=False, default=str) if self.json else printable(text))

    def say(self, text: str) -> None:
        """A message for a person, on stderr."""
        if not self.quiet:
            self._message("info", text)

    def detail(self, text: str) -> None:
        """A message that only --verbose asks for."""
        if self.verbose and not self.quiet:
            self._message("debug", text)

    def warn(self, text: str) -> None:
        """Something the person should know though the work goes on; said even when quiet."""
        self._message("warning", text)

    def error(self, text: str, hint: str = "") -> None:
        """Why the work stopped, and how to go on."""
        self._message("error", text, hint)

    def _message(self, level: str, text: str, hint: str = "") -> None:
        with self._aside():
            if self.log_json:
                facts = {"level": level, "message": text} | ({"hint": hint} if hint else {})
                _write(sys.stderr, json.dumps(facts, ensure_ascii=False))
                return
            mark = f"limner: {level}: " if level in ("warning", "error") else ""
            _write(sys.stderr, mark + printable(text) + (f"\n  {printable(hint)}" if hint else ""))

    @property
    def bars(self) -> bool:
        """Whether there may be a bar, where a person can see it."""
        return self.progress and not self.quiet and not self.log_json

    @contextlib.contextmanager
    def bar(self) -> Iterator[Tell]:
        """A progress bar on stderr while something runs, where a person can see it; gives what moves it."""
        if not self.bars or sys.stderr is None or not sys.stderr.isatty():
            yield lambda text, done, of: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        # Results must stay on stdout, which rich would otherwise take over.
        bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
        task = bar.add_task("", total=None)
        with bar:
            self._bar = bar
            try:
                yield lambda text, done, of: bar.update(task, completed=done, total=of, description=text)
            finally:
                self._bar = None

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Lift the bar while a line is written."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    @contextlib.contextmanager
    def warnings_said(self) -> Iterator[None]:
        """Say warnings of limner as messages while this is open; others only when verbose."""

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category.__module__.startswith("limner."):
                self.warn(str(message))
            else:
                self.detail(f"{category.__name__}: {message}")

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield

    def failed(self, error: BaseException) -> int:
        """Say what went wrong; the exit code that belongs to it."""
        if self.debug:
            _write(sys.stderr, "".join(traceback.format_exception(error)).rstrip())
        match error:
            case KeyboardInterrupt():
                self.error("interrupted")
                return INTERRUPTED
            case BrokenPipeError():  # whoever read the results has seen enough
                _drop_stdout()
                return FAILED
            case LimnerError():
                hint = next(hint for kind, hint in _HINTS if isinstance(error, kind))
                self.error(str(error), hint)
                return error.exit_code
            case MemoryError():
                return self.failed(MemoryLimitError("too little memory for this"))
            case RuntimeError() if any(words in str(error).lower() for words in _NO_MEMORY):
                return self.failed(MemoryLimitError(f"too little memory for this ({_first_line(error)})"))
            case OSError():
                where = f"{error.filename}: " if error.filename else ""
                self.error(f"{where}{error.strerror or _first_line(error)}", "run it again with --debug for the traceback")
                return FAILED
        self.error(f"unexpected {type(error).__name__}: {_first_line(error)}", "run it again with --debug for the traceback")
        return FAILED


def printable(text: str) -> str:
    """The text without characters that would command the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _write(stream: Any, line: str) -> None:
    if stream is None:  # closed before the start, as by `limner ... >&-`
        return
    try:
        stream.write(line + "\n")
    except UnicodeEncodeError:
        stream.write(line.encode("ascii", "backslashreplace").decode() + "\n")
    stream.flush()


def _drop_stdout() -> None:
    """Let what is still to be flushed go nowhere, or the interpreter complains at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
