"""docs/cli.md says what the command line does today."""

from __future__ import annotations

from pathlib import Path

from limner.cli import reference


def test_the_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == reference.markdown(), "run: make docs"


def test_it_describes_every_verb_and_hides_no_flag() -> None:
    page = reference.markdown()
    for heading in ("## limner draw\n", "## limner data build emoji\n", "## limner eval shapes\n"):
        assert heading in page
    for flag in ("`--seed`, `-s`", "`--no-metadata`", "`--debug`"):
        assert flag in page
    assert "generate" not in page
