"""Views with small versions of their own, read back from a folder."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from limner.data.source import open_source
from limner.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    meta = {"format": 2, "source": "shapes", "seed": 3, "views": 5, "model": "m", "weights": "0", "strength": 0.5}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    low = np.zeros((5, 8, 8, 3), dtype=np.uint8)
    low[:] = np.arange(5)[:, None, None, None]
    np.save(tmp_path / "low.npy", low)
    return tmp_path


def test_every_view_comes_once_an_epoch_with_its_own_small_picture(folder: Path) -> None:
    source, shapes = open_source(f"redrawn:{folder}"), open_source("shapes")
    for epoch in range(2):
        numbers = []
        for k in range(5):
            view = source.view(5 * epoch + k, 32, 0)
            assert view.low is not None
            number = int(view.low[0, 0, 0])
            true = shapes.view(number, 32, 3)
            assert np.array_equal(view.image, true.image)
            assert view.caption == true.caption
            numbers.append(number)
        assert sorted(numbers) == [0, 1, 2, 3, 4]


def test_held_out_views_and_captions_are_those_of_the_other_source(folder: Path) -> None:
    source, shapes = open_source(f"redrawn:{folder}"), open_source("shapes")
    assert list(source.captions()) == list(shapes.captions())
    assert [view.caption for view in source.held_out(16)] == [view.caption for view in shapes.held_out(16)]
    assert all(view.low is None for view in source.held_out(16))


def test_it_travels_to_another_process_by_name(folder: Path) -> None:
    source = pickle.loads(pickle.dumps(open_source(f"redrawn:{folder}")))
    assert source.view(0, 16, 0).low.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("meta.json", b"{}", "views"),
        ("meta.json", b"[", "Expecting"),
        ("low.npy", b"", "No data left"),
        ("low.npy", b"none", "pickle"),
    ],
)
def test_a_damaged_folder_is_refused(folder: Path, file: str, content: bytes, says: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"not a folder made by `limner data redraw`[\s\S]*{says}"):
        open_source(f"redrawn:{folder}")


@pytest.mark.parametrize(("key", "value", "says"), [("format", 1, "format 1"), ("views", 6, "6 views")])
def test_a_folder_of_another_kind_is_refused(folder: Path, key: str, value: int, says: str) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, key: value}))
    with pytest.raises(DataError, match=says):
        open_source(f"redrawn:{folder}")


@pytest.mark.parametrize(
    "low",
    [np.uint8(1), np.zeros(5, np.uint8), np.zeros((5, 8, 8, 3)), np.zeros((5, 8, 4, 3), np.uint8)],
    ids=["a number", "a row", "floats", "not square"],
)
def test_small_pictures_of_another_form_are_refused(folder: Path, low: np.ndarray) -> None:
    np.save(folder / "low.npy", low)
    with pytest.raises(DataError, match=r"5 views, but low\.npy is"):
        open_source(f"redrawn:{folder}")


def test_a_folder_of_no_views_is_refused(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "views": 0}))
    np.save(folder / "low.npy", np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="greater than or equal to 1"):
        open_source(f"redrawn:{folder}")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder made by"):
        open_source(f"redrawn:{tmp_path / 'none'}")
