"""Finds the cases: every folder with a case.json under the folders given with --golden, else the committed ones."""

from __future__ import annotations

from pathlib import Path

import pytest

VECTORS = Path(__file__).parent / "vectors"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "folder" not in metafunc.fixturenames:
        return
    roots = [Path(given) for given in metafunc.config.getoption("golden") or [VECTORS]]
    folders, names = [], []
    for root in roots:
        found = sorted(file.parent for file in root.rglob("case.json"))
        if not found:
            raise pytest.UsageError(f"--golden {root}: no case.json in it")
        folders += found
        names += [root.name if folder == root else folder.relative_to(root).as_posix() for folder in found]
    metafunc.parametrize("folder", folders, ids=names)
