"""The names limner gives away, and that importing it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import limner


@pytest.mark.parametrize("name", limner.__all__)
def test_every_public_name_is_there_and_has_a_docstring(name: str) -> None:
    found = getattr(limner, name)
    assert name == "__version__" or found.__doc__


def test_the_names_are_sorted_and_unique() -> None:
    assert list(limner.__all__) == sorted(set(limner.__all__))
    assert dir(limner) == sorted(limner.__all__)


def test_type_checkers_see_the_same_names_at_the_same_homes() -> None:
    tree = ast.parse(Path(limner.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    seen = {
        alias.name: node.module.removeprefix("limner.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == limner._HOMES
    assert {*seen, "__version__"} == set(limner.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'limner' has no attribute 'lode'"):
        _ = limner.lode  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", ["limner", "limner.cli", "limner.errors", "limner.config", "limner.catalog"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
