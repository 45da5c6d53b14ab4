"""Links to pictures: good for a while, good for nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.serving import links
from limner.serving.links import Link, Links

MADE = Links(b"k" * 32, 3600)
NAME = "0123456789abcdef"


def parts(url: str) -> tuple[str, dict[str, str]]:
    """Name and query of a link."""
    split = urlsplit(url)
    return split.path.rpartition("/")[2], dict(parse_qsl(split.query))


@pytest.mark.parametrize(("ending", "quality"), [("png", None), ("jpeg", 0), ("webp", 90)])
def test_a_link_leads_to_what_it_was_made_for(ending: str, quality: int | None) -> None:
    url = MADE.make("https://draw.example.org", NAME, ending, quality)
    assert url.startswith(f"https://draw.example.org/files/{NAME}.{ending}?")
    assert MADE.open(*parts(url)) == Link(NAME, ending, quality)


def test_a_link_ends() -> None:
    name, query = parts(MADE.make("", NAME, "png", now=1000))
    assert MADE.open(name, query, now=4600) is not None
    assert MADE.open(name, query, now=4601) is None


@given(st.text(), st.dictionaries(st.sampled_from("eqs"), st.text()))
def test_nothing_that_was_made_up_is_opened(name: str, query: dict[str, str]) -> None:
    assert MADE.open(name, query) is None


@pytest.mark.parametrize("change", [{"e": "9999999999"}, {"q": "1"}, {"s": "0" * 64}, {"s": "\u20ac"}])
def test_a_link_that_was_changed_is_not_opened(change: dict[str, str]) -> None:
    name, query = parts(MADE.make("", NAME, "png"))
    assert MADE.open(name, query | change) is None


def test_another_server_does_not_open_it() -> None:
    assert Links(b"x" * 32, 3600).open(*parts(MADE.make("", NAME, "png"))) is None


def test_a_link_outlives_a_restart(tmp_path: Path) -> None:
    url = links.of_folder(tmp_path / "data", 60).make("", NAME, "png")
    assert links.of_folder(tmp_path / "data", 60).open(*parts(url)) is not None
    assert (tmp_path / "data" / links.FILE).stat().st_mode & 0o077 == 0


def test_a_secret_that_was_cut_short_is_said(tmp_path: Path) -> None:
    (tmp_path / links.FILE).write_bytes(b"short")
    with pytest.raises(LimnerError, match="holds 5 bytes instead of 32"):
        links.of_folder(tmp_path, 60)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LimnerError, match="give another --data"):
        links.of_folder(tmp_path / "file", 60)
