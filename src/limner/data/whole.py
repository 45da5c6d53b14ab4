"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from limner.errors import DataError


def free(out: Path) -> None:
    """Refuse a place that is taken. Raises: DataError."""
    if out.exists():
        raise DataError(f"{out}: is in the way; remove it or choose another folder")


def beside(out: Path) -> Path:
    """Where a folder is made before it is moved to its place."""
    return out.with_name(f".{out.name}.partial")


@contextlib.contextmanager
def whole(out: Path, *, keep: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `out` at the end of the block.

    What was made before an error or an interruption is thrown away; with `keep` it waits for the next attempt, which gets it.
    Raises: DataError when `out` is taken, or when something cannot be written.
    """
    free(out)
    partial = beside(out)
    if not keep:
        shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        left = "the same command goes on from what is done" if keep else "nothing was left behind"
        raise DataError(f"{out}: cannot be written ({error.strerror or error}); {left}") from None
    finally:
        if not keep:
            shutil.rmtree(partial, ignore_errors=True)
