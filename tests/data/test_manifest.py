import importlib
import json
from pathlib import Path

import pytest

from limner.data import listing
from limner.data.manifest import list_manifest
from limner.errors import DataError

pyarrow = pytest.importorskip("pyarrow")


def _jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(row + "\n" if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_csv_names_pictures_relative_to_itself(paint, tmp_path: Path) -> None:
    paint("pictures/a.png", None)
    table = tmp_path / "t.csv"
    table.write_text('\ufefffile_name,other,caption\npictures/a.png,1,"red, small"\n', encoding="utf-8")
    (record,) = list_manifest(table).records
    assert record.captions == ("red, small",)
    assert Path(record.place.path).is_file()


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("path\ttext\na.png\tone, two\n")
    assert list_manifest(tmp_path / "t.tsv").records[0].captions == ("one, two",)


def test_jsonl_may_give_several_captions_and_bad_lines_are_counted(tmp_path: Path) -> None:
    table = _jsonl(
        tmp_path / "t.jsonl",
        {"image": "a.png", "captions": ["one", "two"]},
        "{broken",
        "[" * 100_000,
        "[1]",
        "",
        {"image": "https://example.org/b.png", "captions": "x"},
        {"image": "c.png", "captions": None},
        {"image": None, "captions": "x"},
        {"image": {"path": "d.png"}, "captions": "x"},
        {"image": 5, "captions": "x"},
    )
    found = list_manifest(table)
    assert [(r.name, r.captions) for r in found.records] == [("a.png", ("one", "two"))]
    assert found.skipped.counts == {
        listing.BAD_LINE: 3,
        listing.ADDRESS: 1,
        listing.NO_CAPTION: 1,
        listing.NO_PICTURE: 3,
    }


def test_csv_lines_with_too_many_cells_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption\na.png,one\nb.png,two,three\nc.png\n")
    found = list_manifest(tmp_path / "t.csv")
    assert [r.name for r in found.records] == ["a.png"]
    assert found.skipped.counts == {listing.BAD_LINE: 1, listing.NO_CAPTION: 1}


def test_parquet_reads_like_the_others(tmp_path: Path) -> None:
    from pyarrow import parquet

    table = pyarrow.table({"path": ["a.png", "b.png"], "text": ["one", None], "width": [1, 2]})
    parquet.write_table(table, tmp_path / "t.parquet")
    found = list_manifest(tmp_path / "t.parquet")
    assert [(r.name, r.captions) for r in found.records] == [("a.png", ("one",))]
    assert found.skipped.counts == {listing.NO_CAPTION: 1}


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_may_hold_the_pictures(paint, tmp_path: Path, kind: str) -> None:
    from pyarrow import parquet

    data = [paint(f"{n}.png", None, seed=n).read_bytes() for n in range(5)] + [b"junk", None]
    cells = [{"bytes": d, "path": None} for d in data] if kind == "struct" else data
    table = pyarrow.table({"image": cells, "text": [f"c{n}" for n in range(7)]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    found = list_manifest(tmp_path / "t.parquet")
    assert [listing.read_bytes(r.place) for r in found.records] == [*data[:6], listing.EMPTY]
    assert [r.captions[0] for r in found.records] == [f"c{n}" for n in range(7)]
    assert listing.open_record(found.records[5]) == listing.NO_PICTURE
    assert found.records[3].name == "t.parquet/3"
    beyond = found.records[0].place._replace(offset=99)
    assert listing.read_bytes(beyond) == listing.UNREADABLE


def test_parquet_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"url": ["a"], "words": ["b"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column with a picture; it has url, words"):
        list_manifest(tmp_path / "t.parquet")


def test_parquet_that_is_gone_is_a_reason(tmp_path: Path) -> None:
    place = listing.Place(str(tmp_path / "gone.parquet"), 0, None, "image")
    assert listing.read_bytes(place) == listing.MISSING


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *rest: object) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match=r"install limner\[train\]"):
        list_manifest(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n", "no column with a picture; it has a, b, it needs one of image"),
        ("t.csv", b"path,b\n1,2\n", "no column with a caption"),
        ("t.csv", b"", "the table is empty"),
        ("t.csv", b"image,caption\n\xff\xfe,2\n", "not a text file in UTF-8"),
        ("t.csv", b"image,caption\na," + b"x" * 200_000 + b"\n", "not a readable table"),
        ("t.jsonl", b"\xff\n", "not a text file in UTF-8"),
        ("t.parquet", b"PAR1", "not a readable Parquet file"),
        ("t.json", b"{", "not valid JSON"),
        ("t.json", b"\xff", "not a text file in UTF-8"),
        ("t.json", b"[1]", "not a COCO captions file"),
        ("t.json", b'{"images": [], "annotations": 3}', "not a COCO captions file"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list_manifest(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list_manifest(tmp_path / "t.jsonl")


def _coco(tmp_path: Path, name: str) -> Path:
    tree = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"file_name": "c.png"}, {"id": 4}, 7],
        "annotations": [
            {"image_id": 1, "caption": "one"},
            {"image_id": 1, "caption": "two"},
            {"image_id": 4, "caption": "x"},
            {"caption": "of nothing"},
            5,
        ],
    }
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize("folder", [".", "images", "train"])
def test_coco_gathers_all_captions_of_a_picture_and_finds_the_folder(paint, tmp_path: Path, folder: str) -> None:
    paint(f"{folder}/a.png", None)
    found = list_manifest(_coco(tmp_path, "captions_train.json"))
    assert [(r.name, r.captions) for r in found.records] == [("a.png", ("one", "two"))]
    assert Path(found.records[0].place.path).is_file()
    assert found.skipped.counts == {listing.NO_CAPTION: 1, listing.NO_PICTURE: 1, listing.BAD_LINE: 2}


def test_coco_as_released_keeps_pictures_beside_the_annotations(paint, tmp_path: Path) -> None:
    paint("train2017/a.png", None)
    found = list_manifest(_coco(tmp_path, "annotations/captions_train2017.json"))
    assert Path(found.records[0].place.path).is_file()


def test_the_folder_of_the_pictures_may_be_said(tmp_path: Path) -> None:
    found = list_manifest(_coco(tmp_path, "c.json"), tmp_path / "there")
    assert found.records[0].place.path == str(tmp_path / "there" / "a.png")
    assert list_manifest(_jsonl(tmp_path / "t.jsonl", {"path": "a.png", "text": "x"}), tmp_path / "there").records == [
        listing.Record("a.png", listing.Place(str(tmp_path / "there" / "a.png")), ("x",))
    ]
