import shutil
from pathlib import Path

import pytest

from limner.data import listing
from limner.data.check import check, checking, spread, stats
from limner.errors import DataError


def test_a_check_opens_everything_and_counts_by_reason(paint, tmp_path: Path) -> None:
    first = paint("a.png", "one")
    shutil.copy(first, tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("two")
    paint("c.png", None)
    paint("d.png").write_bytes(b"junk")
    shutil.copy(paint("e.png", seed=4), tmp_path / "f.jpg")
    (tmp_path / "f.txt").write_text("a PNG that says JPEG")
    found = check(str(tmp_path))
    assert (found.total, found.done, found.usable, found.duplicates) == (6, 6, 3, 1)
    assert found.skipped == {listing.NO_CAPTION: 1, listing.NO_PICTURE: 1, listing.WRONG_SUFFIX: 1}
    assert found.examples[listing.WRONG_SUFFIX] == ["f.jpg"]


def test_a_check_can_be_followed_and_earlier_results_do_not_change(paint, tmp_path: Path) -> None:
    paint("a.png")
    paint("b.png").write_bytes(b"junk")
    steps = list(checking(str(tmp_path)))
    assert [(step.done, step.total, step.usable, step.skipped) for step in steps] == [
        (1, 2, 1, {}),
        (2, 2, 1, {listing.NO_PICTURE: 1}),
    ]


def test_an_endless_source_is_checked_by_its_views() -> None:
    found = check("shapes")
    assert (found.usable, found.skipped) == (found.total, {})


def test_figures_of_a_folder(paint, tmp_path: Path) -> None:
    paint("a.png", "a red fox\nFox!", size=(10, 20))
    paint("b.jpg", "two", size=(30, 40))
    paint("c.png", "gone").write_bytes(b"junk")
    found = stats(str(tmp_path))
    assert (found.pictures, found.held_out, found.captions, found.distinct, found.vocabulary) == (3, 0, 4, 4, 5)
    assert found.frequent[0] == ("fox", 2)
    assert found.words == (1, 1, 1.5, 3, 3)
    assert found.widths is not None
    assert (found.widths.least, found.widths.most) == (10, 30)
    assert found.formats == {"PNG": 1, "JPEG": 1}


def test_figures_of_the_endless_shapes() -> None:
    found = stats("shapes")
    assert (found.pictures, found.held_out, found.widths) == (None, 500, None)
    assert found.vocabulary < 60


def test_nothing_to_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture with a caption"):
        check(str(tmp_path))


def test_a_spread_of_one_value_is_that_value() -> None:
    assert spread([3]) == (3, 3, 3, 3, 3)
