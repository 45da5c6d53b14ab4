"""Small pictures drawn over by the model whose upsampler will see them."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from limner.data.redrawn import Meta
from limner.data.source import View, open_source
from limner.errors import DataError, InputError
from limner.systems.drawing import load_pipe
from limner.systems.glide import Glide
from limner.training import redrawing
from tests import tiny


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Glide:
    found = load_pipe(tiny.save(tmp_path_factory.mktemp("models") / "tiny"), dtype="float32").system
    assert isinstance(found, Glide)
    return found


def lows(folder: Path) -> np.ndarray:
    return np.load(folder / "low.npy").astype(int)


def test_views_are_drawn_over_and_read_back(system: Glide, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    made = redrawing.redraw(system, "shapes", tmp_path / "r", views=6, progress=lambda *now: told.append(now))
    assert (made.source, made.model, made.weights) == ("shapes", "tiny", system.hashes["base"])
    assert told[-1] == ("redrawn", 6, 6)
    source, low = open_source(f"redrawn:{tmp_path / 'r'}"), lows(tmp_path / "r")
    assert low.shape == (6, 8, 8, 3)
    true = np.stack([open_source("shapes").view(k, 8, 0).image for k in range(6)]).astype(int)
    assert (np.abs(low - true).max(axis=(1, 2, 3)) > 0).sum() >= 4
    assert source.view(0, 16, 0).image.shape == (16, 16, 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "r"]


def test_more_noise_changes_more_and_none_nothing(system: Glide, tmp_path: Path) -> None:
    true = np.stack([open_source("shapes").view(k, 8, 0).image for k in range(12)]).astype(int)
    far = {}
    for strength in (1e-9, 0.5, 1.0):
        redrawing.redraw(system, "shapes", tmp_path / f"{strength}", views=12, strength=strength)
        far[strength] = np.abs(lows(tmp_path / f"{strength}") - true).mean()
    assert far[1e-9] == 0
    assert 0 < far[0.5] < far[1.0]


def test_a_view_is_redrawn_alike_in_whatever_company(system: Glide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redrawing.redraw(system, "shapes", tmp_path / "together", views=7)
    monkeypatch.setattr(redrawing, "CHUNK", 3)
    monkeypatch.setattr(redrawing, "BATCH", 1)
    redrawing.redraw(system, "shapes", tmp_path / "alone", views=7)
    assert np.abs(lows(tmp_path / "together") - lows(tmp_path / "alone")).max() <= 1  # sums in another order
    redrawing.redraw(system, "shapes", tmp_path / "other", views=7, seed=1)
    assert np.abs(lows(tmp_path / "together") - lows(tmp_path / "other")).max() > 1


def test_what_cannot_be_is_refused(system: Glide, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is in the way"):
        redrawing.redraw(system, "shapes", tmp_path, views=1)
    with pytest.raises(InputError, match="no upsampler"):
        redrawing.redraw(system.of(system.stages[:1]), "shapes", tmp_path / "r", views=1)
    with pytest.raises(InputError, match="must be above 0"):
        redrawing.redraw(system, "shapes", tmp_path / "r", views=1, strength=0)
    with pytest.raises(DataError, match="no such data source"):
        redrawing.redraw(system, str(tmp_path / "nothing"), tmp_path / "r", views=1)


def test_a_full_disk_leaves_no_folder_and_no_obstacle(system: Glide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(redrawing.np, "save", full)
    with pytest.raises(DataError, match=r"No space left on device.*the same command goes on"):
        redrawing.redraw(system, "shapes", tmp_path / "r", views=1)
    assert not (tmp_path / "r").exists()
    monkeypatch.undo()
    redrawing.redraw(system, "shapes", tmp_path / "r", views=1)
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == ["low.npy", "meta.json"]


def test_an_interrupted_redrawing_goes_on_and_ends_the_same(
    system: Glide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrawing, "CHUNK", 2)

    def stop(what: str, done: int, of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redrawing.redraw(system, "shapes", tmp_path / "r", views=6, progress=stop)
    assert not (tmp_path / "r").exists()
    drawn: list[list[int]] = []
    plain = redrawing._redrawn

    def seen(system: Glide, views: Sequence[View], numbers: Sequence[int], made: Meta) -> np.ndarray:
        drawn.append(list(numbers))
        return plain(system, views, numbers, made)

    monkeypatch.setattr(redrawing, "_redrawn", seen)
    redrawing.redraw(system, "shapes", tmp_path / "r", views=6)
    assert drawn == [[4, 5]]
    redrawing.redraw(system, "shapes", tmp_path / "straight", views=6)
    assert (lows(tmp_path / "r") == lows(tmp_path / "straight")).all()


def test_what_was_begun_with_other_wishes_is_not_gone_on_with(
    system: Glide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrawing, "CHUNK", 2)

    def stop(what: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redrawing.redraw(system, "shapes", tmp_path / "r", views=4, seed=1, progress=stop)
    redrawing.redraw(system, "shapes", tmp_path / "r", views=4)
    redrawing.redraw(system, "shapes", tmp_path / "straight", views=4)
    assert (lows(tmp_path / "r") == lows(tmp_path / "straight")).all()


def test_the_folder_opens_from_anywhere_and_moves_with_its_source(
    system: Glide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "photos"
    home.mkdir(parents=True)
    PIL.Image.new("RGB", (16, 16), "red").save(home / "a.png")
    (home / "a.txt").write_text("a red card")
    monkeypatch.chdir(tmp_path)
    redrawing.redraw(system, "home/photos?crop=centre", Path("home/again"), views=1)
    (tmp_path / "home").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    assert open_source(f"redrawn:{tmp_path / 'moved' / 'again'}").view(0, 8, 0).caption == "a red card"
