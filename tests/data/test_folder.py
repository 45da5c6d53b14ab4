from pathlib import Path

from limner.data import listing
from limner.data.folder import list_folder


def test_pictures_are_listed_by_name_with_every_line_as_a_caption(paint, tmp_path: Path) -> None:
    paint("b.png", "two\nzwei")
    paint("sub/a.jpg", "one")
    paint("sub/C.JPG", "three")
    found = list_folder(tmp_path)
    assert [(r.name, r.captions) for r in found.records] == [
        ("b.png", ("two", "zwei")),
        ("sub/C.JPG", ("three",)),
        ("sub/a.jpg", ("one",)),
    ]
    assert not found.skipped.counts


def test_what_lacks_a_caption_is_counted_and_other_files_are_ignored(paint, tmp_path: Path) -> None:
    paint("a.png", None)
    paint("b.png", "")
    paint("c.png", "  \n")
    paint("d.png").with_suffix(".txt").write_bytes(b"\xff\xff")
    paint(".hidden/e.png")
    paint(".f.png")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    found = list_folder(tmp_path)
    assert found.records == []
    assert found.skipped.counts == {listing.NO_CAPTION: 2, listing.BLANK_CAPTION: 1, listing.NOT_TEXT: 1}


def test_a_changed_caption_is_seen_despite_the_cache(paint, tmp_path: Path) -> None:
    paint("a.png", "before")
    assert list_folder(tmp_path).records[0].captions == ("before",)
    assert list_folder(tmp_path).records[0].captions == ("before",)
    (tmp_path / "a.txt").write_text("after all")
    assert list_folder(tmp_path).records[0].captions == ("after all",)


def test_links_in_a_circle_do_not_hang(paint, tmp_path: Path) -> None:
    paint("sub/a.png")
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    assert len(list_folder(tmp_path).records) == 1
