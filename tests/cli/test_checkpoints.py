"""docs/checkpoints.md says what the catalog holds today."""

from __future__ import annotations

from pathlib import Path

from limner import released
from limner.cli import checkpoints


def test_the_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "checkpoints.md"
    assert page.read_text(encoding="utf-8") == checkpoints.markdown(), "run: make docs"


def test_it_names_every_file_with_its_licence_and_how_to_get_it() -> None:
    page = checkpoints.markdown()
    for model in released.models().values():
        assert f"`limner models pull {model.name}`" in page
        assert model.licence in page
        assert model.can in page
        for file in model.files:
            assert file.local in page
