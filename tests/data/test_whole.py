"""Folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.data.whole import whole
from limner.errors import DataError


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with whole(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert (out / "a").read_text() == "1"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("keep", [False, True])
def test_what_an_interruption_leaves_is_thrown_away_or_kept(tmp_path: Path, keep: bool) -> None:
    out = tmp_path / "out"

    def begin() -> None:
        with whole(out, keep=keep) as folder:
            (folder / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert not out.exists()
    with whole(out, keep=keep) as folder:
        assert (folder / "a").exists() == keep
    assert list(tmp_path.iterdir()) == [out]


def test_a_taken_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("1")
    with pytest.raises(DataError, match="is in the way"), whole(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "1"


def test_what_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written.*nothing was left behind"), whole(tmp_path / "file" / "out"):
        pass
