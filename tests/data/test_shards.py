import importlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from limner.data import listing
from limner.data.folder import list_folder
from limner.data.listing import open_record
from limner.data.shards import build, expand, list_shards
from limner.errors import DataError


def _png(side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(out, "PNG")
    return out.getvalue()


def _tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{008..010}.tar", ["a-008.tar", "a-009.tar", "a-010.tar"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_a_pattern_stands_for_numbered_shards(pattern: str, names: list[str]) -> None:
    assert expand(pattern) == names


def test_examples_are_members_of_one_stem_and_open_at_their_offset(tmp_path: Path) -> None:
    _tar(
        tmp_path / "a.tar",
        {
            "1.png": _png(),
            "1.txt": b"one\nuno",
            "d/2.json": json.dumps({"caption": "two"}).encode(),
            "d/2.PNG": _png(5),
            "3.png": _png(),
            "3.json": json.dumps({"captions": ["drei", "three"]}).encode(),
        },
    )
    found = list_shards(str(tmp_path / "*.tar"))
    assert [(r.name, r.captions) for r in found.records] == [
        ("a.tar/1.png", ("one", "uno")),
        ("a.tar/d/2.PNG", ("two",)),
        ("a.tar/3.png", ("drei", "three")),
    ]
    picture = open_record(found.records[1])
    assert isinstance(picture, Image.Image)
    assert picture.size == (5, 5)


def test_examples_that_lack_something_are_counted_by_reason(tmp_path: Path) -> None:
    shard = _tar(
        tmp_path / "a.tar",
        {
            "1.png": _png(),
            "2.txt": b"no picture",
            "3.png": _png(),
            "3.txt": b"",
            "4.png": _png(),
            "4.json": b"{",
            "5.png": _png(),
            "5.json": b"[]",
            "6.png": _png(),
            "6.txt": b"\xff",
        },
    )
    with tarfile.open(shard, "a") as tar:
        link = tarfile.TarInfo("7.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found = list_shards(str(shard))
    assert found.records == []
    assert found.skipped.counts == {
        listing.NO_CAPTION: 2,
        listing.NO_PARTNER: 1,
        listing.BAD_LINE: 2,
        listing.NOT_TEXT: 1,
    }


@pytest.mark.parametrize("keep", [1536 + 100, 2048 + 20, 3 * 512])
def test_a_cut_shard_gives_what_lies_before_the_cut(tmp_path: Path, keep: int) -> None:
    shard = _tar(tmp_path / "a.tar", {"1.png": _png(), "1.txt": b"one", "2.png": b"\0" * 3000, "2.txt": b"two"})
    shard.write_bytes(shard.read_bytes()[: keep + 512])
    found = list_shards(str(shard))
    assert [r.captions for r in found.records] == [("one",)]


def test_what_is_no_tar_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"this is no tar" * 100)
    assert list_shards(str(tmp_path / "a.tar")).skipped.counts == {listing.CUT_SHARD: 1}


def test_a_missing_or_compressed_shard_is_refused(tmp_path: Path) -> None:
    _tar(tmp_path / "a-0.tar", {"1.png": _png(), "1.txt": b"one"})
    with pytest.raises(DataError, match=r"no such shard .*a-1.tar, 1 of 2 missing"):
        list_shards(str(tmp_path / "a-{0..1}.tar"))
    with pytest.raises(DataError, match="no shard fits"):
        list_shards(str(tmp_path / "b*.tar"))
    _tar(tmp_path / "z.tar", {"1.png": _png()}, "w:gz")
    with pytest.raises(DataError, match="unpack it first"):
        list_shards(str(tmp_path / "z.tar"))


def test_packed_pictures_come_back_the_same_and_packing_repeats(paint, tmp_path: Path) -> None:
    for number in range(5):
        paint(f"in/{number}.png", f"caption {number}\nother {number}", seed=number)
    paint("in/broken.png").write_bytes(b"no picture at all")
    records = list_folder(tmp_path / "in").records
    *_, (packed, total, skipped) = build(records, tmp_path / "out", per_shard=2)
    list(build(records, tmp_path / "again", per_shard=2))
    assert (packed, total, skipped.counts) == (5, 6, {listing.NO_PICTURE: 1})
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["00000.tar", "00001.tar", "00002.tar"]
    assert all(p.read_bytes() == (tmp_path / "again" / p.name).read_bytes() for p in (tmp_path / "out").iterdir())
    found = list_shards(str(tmp_path / "out" / "{00000..00002}.tar")).records
    assert [r.captions for r in found] == [r.captions for r in records if r.name != "broken.png"]
    assert [listing.read_bytes(r.place) for r in found] == [(tmp_path / "in" / f"{n}.png").read_bytes() for n in range(5)]
    with pytest.raises(DataError, match="holds shards already"):
        list(build(records, tmp_path / "out"))


def test_packing_without_the_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match=r"install limner\[train\]"):
        list(build([], tmp_path))
