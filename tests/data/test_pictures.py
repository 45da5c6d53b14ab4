from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data import listing
from limner.data.listing import Listing, Place, Record, Skipped
from limner.data.pictures import Options, Pictures, parse_options, permutation, resized
from limner.data.source import open_source
from limner.errors import DataError


def test_each_epoch_shows_every_picture_once_in_another_order(paint, tmp_path: Path) -> None:
    for number in range(7):
        paint(f"{number}.png", f"number {number}", seed=number)
    source = open_source(str(tmp_path))
    epochs = [[source.view(7 * epoch + place, 8, 0).caption for place in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    assert [source.view(place, 8, 1).caption for place in range(7)] != epochs[0]


@pytest.mark.parametrize("options", ["", "?crop=random&flip=yes"])
def test_a_view_is_a_pure_function_of_its_number(paint, tmp_path: Path, options: str) -> None:
    for number in range(3):
        paint(f"{number}.png", "one\ntwo\nthree", seed=number)
    first, second = open_source(f"{tmp_path}{options}"), open_source(f"{tmp_path}{options}")
    forwards = [first.view(k, 8, 5) for k in range(12)]
    backwards = [second.view(k, 8, 5) for k in reversed(range(12))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert a.caption == b.caption
        assert np.array_equal(a.image, b.image)
    assert {view.caption for view in forwards} == {"one", "two", "three"}


def test_broken_files_are_counted_once_and_the_next_one_stands_in(paint, tmp_path: Path) -> None:
    for number in range(4):
        paint(f"{number}.png", f"number {number}", seed=number)
    paint("bad.png").write_bytes(b"junk")
    source = open_source(str(tmp_path))
    assert isinstance(source, Pictures)
    shown = {source.view(k, 8, 0).caption for k in range(15)}
    assert shown == {f"number {n}" for n in range(4)}
    assert source.skipped.counts == {listing.NO_PICTURE: 1}


def test_a_set_of_nothing_but_broken_files_is_refused(paint, tmp_path: Path) -> None:
    paint("bad.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"none of its 1 pictures can be used; skipped: 1 not a picture \(bad.png\)"):
        open_source(str(tmp_path)).view(0, 8, 0)


def test_a_set_without_captions_is_refused_with_the_count(paint, tmp_path: Path) -> None:
    paint("a.png", None)
    with pytest.raises(DataError, match=r"no picture with a caption in it; skipped: 1 no caption \(a.png\)"):
        open_source(str(tmp_path))


def test_the_centre_square_is_taken_and_turned_only_when_asked(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 10), "white")
    picture.paste("red", (10, 0, 15, 10))
    picture.paste("blue", (15, 0, 20, 10))
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("stripes")
    plain, turned = open_source(str(tmp_path)), open_source(f"{tmp_path}?flip=yes&filter=area")
    views = [plain.view(k, 10, 0).image for k in range(8)]
    assert all(tuple(view[5, 1]) == (255, 0, 0) and tuple(view[5, 8]) == (0, 0, 255) for view in views)
    assert {tuple(int(c) for c in turned.view(k, 10, 0).image[5, 1]) for k in range(16)} == {(255, 0, 0), (0, 0, 255)}


def test_random_crops_differ_and_views_may_be_written_on(paint, tmp_path: Path) -> None:
    paint("a.png", size=(40, 30))
    source = open_source(f"{tmp_path}?crop=random")
    assert not np.array_equal(source.view(0, 16, 0).image, source.view(1, 16, 0).image)
    plain = open_source(str(tmp_path))
    first = plain.view(0, 16, 0).image
    before = first.copy()
    first[:] = 0
    assert np.array_equal(plain.view(0, 16, 0).image, before)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (16, 16)])
def test_any_size_becomes_the_side_asked_for(size: tuple[int, int]) -> None:
    assert resized(Image.new("RGB", size, "red"), (0, 0, *size), 16, "bicubic").shape == (16, 16, 3)


def test_a_hundredth_of_a_large_set_is_kept_back(paint, tmp_path: Path) -> None:
    path = str(paint("a.png"))
    source = Pictures("many", Listing([Record(f"{n}.png", Place(path), (f"c{n}",)) for n in range(2000)], Skipped()))
    assert 5 < len(source.back) < 50
    assert len(source.held_out(8)) == len(source.back)
    assert source.held_out(8)[0].image.shape == (8, 8, 3)
    back = {record.captions[0] for record in source.back}
    assert back.isdisjoint(source.captions())
    assert len(list(source.captions())) + len(back) == 2000


def test_a_small_set_is_trained_on_whole(paint, tmp_path: Path) -> None:
    for number in range(20):
        paint(f"{number}.png")
    source = open_source(str(tmp_path))
    assert source.held_out(8) == []
    assert len(list(source.captions())) == 20


def test_a_permutation_is_one_and_far_seeds_differ() -> None:
    assert sorted(permutation(100, 3, 4)) == list(range(100))
    assert not np.array_equal(permutation(100, 3, 4), permutation(100, 4, 3))
    assert permutation(5, 0, 0).tolist() == permutation(5, 2**64, 0).tolist()


def test_options_are_read_and_wrong_ones_refused() -> None:
    assert parse_options("crop=random&images=x", "s") == Options(crop="random", images="x")
    for wrong in ("crop=left", "colour=red", "crop"):
        with pytest.raises(DataError, match=r"is no option; there are crop=centre\|random, flip=no\|yes"):
            parse_options(wrong, "s")
