import io
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data import art
from limner.errors import DataError


def npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for npm on the path."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_package_is_fetched_once_with_npm_and_then_read_from_the_cache(
    pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm(tmp_path, f'echo "$2" >> {tmp_path}/calls; cp {pinned}/*.tgz "$4"', monkeypatch)
    cache = tmp_path / "cache"
    assert "icons.json" in art.obtain(art.PACKS["flat"], cache)
    assert "icons.json" in art.obtain(art.PACKS["flat"], cache)
    assert (tmp_path / "calls").read_text().splitlines() == ["@iconify-json/fluent-emoji-flat@1.2.6"]


def test_a_damaged_file_in_the_cache_is_fetched_again(pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, f'cp {pinned}/*.tgz "$4"', monkeypatch)
    (tmp_path / art.PACKS["flat"].file_name).write_bytes(b"half a file")
    assert "icons.json" in art.obtain(art.PACKS["flat"], tmp_path)


def test_npm_that_fails_is_told_in_one_line_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, 'echo "npm error code ENOTFOUND" >&2; exit 1', monkeypatch)
    with pytest.raises(DataError, match=r"@iconify-json/noto@1\.2\.9: npm pack failed \(npm error code ENOTFOUND\)") as caught:
        art.obtain(art.PACKS["noto"], tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_without_npm_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"npm is not installed; install npm, or put .*\.tgz into a folder.*--packs-from"):
        art.obtain(art.PACKS["noto"], tmp_path / "cache")


def test_a_package_that_is_not_the_pinned_one_is_refused(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its hash is sha512-.*, not the pinned sha512-RY47"):
        art.obtain(art.PACKS["flat"], tmp_path, packs_from=packages)


def test_a_package_missing_from_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"twemoji-1\.2\.5\.tgz.*npm pack @iconify-json/twemoji@1\.2\.5"):
        art.obtain(art.PACKS["twemoji"], tmp_path, packs_from=tmp_path)


def test_an_archive_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="not a readable package"):
        art.unpack(b"no archive", "x.tgz")


def test_a_pack_of_another_form_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected an iconify icons\.json"):
        list(art.icons(art.PACKS["flat"], {"icons.json": b"[]"}))


def test_every_pack_is_pinned_by_version_and_hash_under_a_licence_that_allows_it() -> None:
    for pack in (art.WORDS, *art.PACKS.values()):
        assert pack.integrity.startswith("sha512-")
        assert pack.version.count(".") == 2
        assert pack.licence in {"MIT", "Apache-2.0", "CC-BY-4.0"}


def test_the_notice_credits_every_pack() -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    for pack in art.PACKS.values():
        assert f"{pack.package} {pack.version}" in " ".join(notice.split())


def test_a_tall_picture_is_fitted_into_the_middle_of_a_square() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (32, 64), (255, 0, 0, 255)).save(out, "PNG")
    drawn = art.from_raster(out.getvalue(), 16)
    assert drawn.shape == (16, 16, 4)
    assert (drawn[:, 4:12, 3] == 255).all()
    assert (drawn[:, :4, 3] == 0).all()


@pytest.mark.parametrize("body", ["<g>", "<"])
def test_a_broken_drawing_is_a_value_error(body: str) -> None:
    with pytest.raises(ValueError):
        art.from_svg(body, (8, 8), 16)


@pytest.mark.parametrize("box", [(8, 0), (0, 8), (1, 1_000_000)])
def test_a_drawing_whose_box_lies_is_refused_before_it_is_drawn(box: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="box"):
        art.from_svg("", box, 16)


@pytest.mark.parametrize("size", [(5000, 2), (14_000, 14_000)])
def test_a_huge_picture_is_refused_by_its_header(size: tuple[int, int]) -> None:
    out = io.BytesIO()
    Image.new("1", size).save(out, "PNG")
    with pytest.raises(ValueError, match="larger than 4096"):
        art.from_raster(out.getvalue(), 16)


def test_premultiplied_colours_never_exceed_their_alpha() -> None:
    every = np.random.default_rng(0).integers(0, 256, (64, 64, 4)).astype(np.uint8)
    done = art.premultiplied(every)
    assert (done[..., :3] <= done[..., 3:]).all()
    assert np.array_equal(done[..., 3], every[..., 3])
    opaque = every.copy()
    opaque[..., 3] = 255
    assert np.array_equal(art.premultiplied(opaque), opaque)


def test_averaging_keeps_the_mean_of_each_block() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:4, :4] = 200
    picture[:2, :2] = 100
    small = art.averaged(picture, 2)
    assert small[0, 0].tolist() == [175] * 4
    assert small[1, 1].tolist() == [0] * 4


def test_a_missing_renderer_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'limner\[data\]'"):
        art.need_renderer()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, "exit 0", monkeypatch)
    assert shutil.which("npm")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be read or written"):
        art.obtain(art.PACKS["flat"], tmp_path / "file")
