import json
from pathlib import Path

import pytest

from limner.data.pictures import Pictures
from limner.data.shapes import Shapes
from limner.data.shards import build
from limner.data.source import moved, open_source
from limner.errors import DataError


def test_shapes_open_by_name() -> None:
    assert isinstance(open_source("shapes"), Shapes)


@pytest.mark.parametrize(
    ("spec", "there"),
    [
        ("shapes", "shapes"),
        ("shapes?unplaced=3", "shapes?unplaced=3"),
        ("emoji:a/b?styles=flat", "emoji:/there/a/b?styles=flat"),
        ("redrawn:r", "redrawn:/there/r"),
        ("photos", "/there/photos"),
        ("t.csv?images=pictures&flip=yes", "/there/t.csv?images=/there/pictures&flip=yes"),
        ("a-{00..10}.tar", "/there/a-{00..10}.tar"),
    ],
)
def test_the_paths_in_a_name_can_be_moved(spec: str, there: str) -> None:
    assert moved(spec, lambda path: f"/there/{path}") == there


@pytest.mark.parametrize("spec", ["", "nowhere", "emoji:nowhere", "photo.png", "x.tar", "missing.csv"])
def test_what_is_no_source_is_refused_in_one_line(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_source(spec)
    assert "\n" not in str(caught.value)


def test_the_forms_there_are_are_listed() -> None:
    with pytest.raises(
        DataError, match=r"no such data source; it can be \"shapes\" or .*, \"emoji:FOLDER\", \"redrawn:FOLDER\", a folder"
    ):
        open_source("nowhere")


def test_every_form_of_files_opens_to_the_same_pictures(paint, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for number in range(3):
        paint(f"photos/{number}.png", f"number {number}", seed=number)
    rows = [{"file_name": f"{n}.png", "text": f"number {n}"} for n in range(3)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.csv").write_text("image,caption\n" + "".join(f"{n}.png,number {n}\n" for n in range(3)))
    plain = open_source(str(folder))
    assert isinstance(plain, Pictures)
    list(build(plain.listed.records, tmp_path / "shards", per_shard=2))
    specs = [
        folder / "t.jsonl",
        f"{tmp_path / 't.csv'}?images={folder}",
        tmp_path / "shards",
        tmp_path / "shards" / "{00000..00001}.tar",
    ]
    for spec in specs:
        source = open_source(str(spec))
        for k in range(6):
            assert source.view(k, 8, 2).caption == plain.view(k, 8, 2).caption
            assert (source.view(k, 8, 2).image == plain.view(k, 8, 2).image).all()


def test_a_table_called_metadata_speaks_for_its_folder(paint, tmp_path: Path) -> None:
    paint("a.png", "beside it")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,in the table\n")
    assert list(open_source(str(tmp_path)).captions()) == ["in the table"]
