from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from limner.data import compose
from limner.errors import ConfigError, InputError, LimnerError
from limner.evaluation import gallery, gallery_page, shapes
from limner.evaluation.gallery import Prompt, Prompts
from tests.evaluation import tiny

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "gallery_prompts.json"


def test_the_committed_prompts_are_48_of_the_three_kinds() -> None:
    prompts = gallery.read(COMMITTED)
    assert Counter(prompt.kind for prompt in prompts.icons) == {"seen": 24, "unseen style": 12, "novel": 12}
    assert len({prompt.text for prompt in prompts.icons}) == 48


def test_prompts_are_drawn_by_lot_from_the_parts_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny.emoji(tmp_path / "emoji", concepts=300)
    monkeypatch.setattr(gallery, "NOVEL", frozenset((f"thing {k}", "pink") for k in range(60)))
    prompts = gallery.choose(source)
    assert prompts == gallery.choose(source)
    words = {kind: [p.text for p in prompts.icons if p.kind == kind] for kind in gallery.COUNTS}
    style = {f"a {p.concept.label}, {p.style} style": tiny.split(p.concept.key, p.style) for p in source.pictures}
    assert {style[text] for text in words["seen"]} == {"train"}
    assert {style[text] for text in words["unseen style"]} == {"pair"}
    assert all(text.startswith("a pink thing ") for text in words["novel"])


def test_novel_colours_are_those_kept_out_of_training() -> None:
    assert gallery.NOVEL is compose.NOVEL


def test_too_small_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs 12 prompts of the kind"):
        gallery.choose(tiny.emoji(tmp_path / "emoji"))


def test_a_file_that_holds_no_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        gallery.read(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match="data"):
        gallery.read(tmp_path / "other.json")


def few() -> Prompts:
    return Prompts(data="d", icons=tuple(Prompt(text=f"{kind} {k}", kind=kind) for kind in gallery.COUNTS for k in range(2)))


def test_the_page_shows_every_kind_and_every_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "SCENES", 3)
    page = gallery_page.make(tiny.system(2), tiny.system(), few(), tmp_path / "docs", notes="Foxes work.", command="make it")
    text = page.read_text()
    for caption in shapes.captions(3):
        assert caption in text
    for word in (
        "Foxes work.",
        "make it",
        "0 of these 3 are right",
        "wrong (unreadable)",
        "untrained",
        "dpmpp2m 2, guidance 3",
    ):
        assert word in text
    for file in (*gallery_page.FILES.values(), gallery_page.SCENES_FILE):
        assert f"({file})" in text
        with Image.open(tmp_path / "docs" / file) as grid:
            assert grid.width > 2 * gallery_page.CELL


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "SCENES", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(LimnerError, match="cannot be written"):
        gallery_page.make(tiny.system(), tiny.system(), few(), tmp_path / "file" / "docs")
