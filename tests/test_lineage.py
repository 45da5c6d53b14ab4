"""docs/lineage.md names functions that exist, and every paper of the lineage."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "lineage.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("| paper", "|---"))]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[-2])})


def found(name: str) -> object:
    """What a dotted name below `limner` means: the longest part of it that is a module, then attributes in that."""
    parts = ["limner", *name.split(".")]
    for cut in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            return functools.reduce(getattr, parts[cut:], importlib.import_module(".".join(parts[:cut])))
    raise AssertionError(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_of_the_table_exists_and_says_what_it_does(name: str) -> None:
    meant = found(name)
    assert callable(meant)
    assert meant.__doc__


def test_every_row_names_a_function() -> None:
    assert all(re.search(r"`\w+[.][\w.]+`", row.rsplit("|", 2)[-2]) for row in ROWS)


PAPERS = ("DDPM", "Improved DDPM", "DDIM", "ADM", "Classifier-free guidance", "GLIDE", "CLIP", "DALL-E", "unCLIP", "DALL-E 3")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_paper_of_the_lineage_has_a_table(paper: str) -> None:
    assert re.search(rf"^## {re.escape(paper)}\b", PAGE, re.MULTILINE)
