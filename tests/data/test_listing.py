import os
from pathlib import Path

import pytest
from PIL import Image

from limner.data import listing
from limner.data.listing import Listing, Place, Record, Skipped, cached, decode_captions, open_record, read_bytes, read_captions


def _record(path: Path) -> Record:
    return Record(path.name, Place(str(path)), ("a",))


def test_a_good_picture_opens(paint) -> None:
    picture = open_record(_record(paint("a.png")))
    assert isinstance(picture, Image.Image)
    assert (picture.size, picture.mode) == ((24, 16), "RGB")


def _bomb(path: Path) -> None:
    Image.new("1", (9000, 9000)).save(path)


def _truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-700])


def _long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(listing.LARGEST_FILE + 1)  # sparse: takes no room


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_bomb, listing.HUGE),
        (_truncated, listing.BROKEN),
        (_long, listing.HUGE_FILE),
        (lambda path: Image.new("RGB", (8, 8)).save(path, "JPEG"), listing.WRONG_SUFFIX),
        (lambda path: path.write_bytes(b""), listing.EMPTY),
        (lambda path: path.write_text("<html>not found</html>"), listing.NO_PICTURE),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), listing.NO_PICTURE),
        (lambda path: path.mkdir(), listing.IRREGULAR),
        (os.mkfifo, listing.IRREGULAR),
        (lambda path: None, listing.MISSING),
    ],
)
def test_a_file_that_cannot_be_used_has_a_named_reason(tmp_path: Path, spoil, reason: str) -> None:
    path = tmp_path / "a.png"
    spoil(path)
    assert open_record(_record(path)) == reason


def test_an_unreadable_name_is_a_reason_too() -> None:
    assert read_bytes(Place("a\0b.png")) == listing.UNREADABLE


def test_a_part_that_reaches_past_its_file_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(Place(str(tmp_path / "x"), 1, 3)) == b"234"
    assert read_bytes(Place(str(tmp_path / "x"), 3)) == b"45"
    assert read_bytes(Place(str(tmp_path / "x"), 3, 9)) == listing.CUT_SHARD


def test_transparency_is_laid_on_white_and_rotation_applied(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "b.jpg", exif=exif)
    clear, turned = open_record(_record(tmp_path / "a.png")), open_record(_record(tmp_path / "b.jpg"))
    assert isinstance(clear, Image.Image)
    assert isinstance(turned, Image.Image)
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    assert turned.size == (4, 8)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"one\n\n two  words \n", ("one", "two words")),
        ("\ufeffmarked".encode(), ("marked",)),
        (b" \n ", listing.BLANK_CAPTION),
        (b"\xff\xfe", listing.NOT_TEXT),
        (b"a" * 5000, listing.LONG_CAPTION),
    ],
)
def test_captions_are_tidied_or_refused_by_name(data: bytes, found: object) -> None:
    assert decode_captions(data) == found


def test_what_is_no_text_is_no_caption() -> None:
    assert read_captions([None, 3]) == listing.NO_CAPTION


def test_skipped_things_are_counted_and_a_few_named() -> None:
    skipped = Skipped()
    for name in "abcde":
        skipped.add("too red", name)
    assert str(skipped) == "5 too red (a, b, c)"


def test_an_index_is_made_once_and_survives_a_broken_cache(cache: Path) -> None:
    calls = []

    def make() -> Listing:
        calls.append(1)
        skipped = Skipped()
        skipped.add("odd", "x")
        return Listing([Record("a", Place("p", 3, 4), ("one", "two"))], skipped)

    first, second = cached(["k"], make), cached(["k"], make)
    assert first.records == second.records
    assert str(second.skipped) == "1 odd (x)"
    assert len(calls) == 1
    next((cache / "index").iterdir()).write_text("[1, 2")
    assert cached(["k"], make).records == first.records
    next((cache / "index").iterdir()).write_text("[1, 2, 3]")
    assert cached(["k"], make).records == first.records
    assert len(calls) == 3
    cached(["other"], make)
    assert len(calls) == 4


def test_a_cache_that_cannot_be_written_does_not_matter(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("in the way")
    monkeypatch.setenv("LIMNER_CACHE", str(cache / "file"))
    assert cached(["k"], lambda: Listing([], Skipped())).records == []
