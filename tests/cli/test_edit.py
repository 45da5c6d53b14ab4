"""`limner edit`, `sketch`, `outpaint`, `upscale`: a picture in, a picture out, the rest untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.cli.conftest import Limner, opened


def old() -> PIL.Image.Image:
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    picture.save("old.png")
    return picture


def test_a_box_is_repainted(limner: Limner) -> None:
    before = np.asarray(old())
    said = limner("edit", "old.png", "a red fox", "--mask", "0,0,8,20", "-m", "tiny", "-s", "0", "-o", "new.png")
    assert said.lines == ["new.png"]
    after = np.asarray(opened("new.png"))
    assert (after[:, 8:] == before[:, 8:]).all()
    assert (after[:, :8] != before[:, :8]).any()


def test_a_sketch_becomes_a_picture(limner: Limner) -> None:
    old()
    said = limner("sketch", "old.png", "a fox", "--strength", "0.5", "-m", "tiny", "-s", "0", "-n", "2")
    assert said.lines == ["0-a-fox-000.png", "0-a-fox-001.png"]


def test_a_picture_goes_on_beyond_its_border(limner: Limner) -> None:
    old()
    assert limner("outpaint", "old.png", "a fox", "--left", "6", "-m", "tiny", "-s", "0", "-o", "wide.png").code == 0
    assert opened("wide.png").size == (30, 20)


def test_a_small_picture_is_enlarged(limner: Limner) -> None:
    old()
    assert limner("upscale", "old.png", "-m", "tiny", "-s", "0", "-o", "large.png").code == 0
    assert opened("large.png").size == (16, 16)


def test_a_box_outside_the_picture_is_a_usage_error(limner: Limner) -> None:
    old()
    said = limner("edit", "old.png", "a fox", "--mask", "0,0,80,20", "-m", "tiny")
    assert said.code == 2
    assert "leaves the picture of 24x20" in said.err
    assert not list(Path().glob("*fox*"))


@pytest.mark.parametrize(
    "verb",
    [
        ("edit", "old.png", "a fox", "--mask", "0,0,8,20"),
        ("sketch", "old.png", "a fox"),
        ("outpaint", "old.png", "a fox", "--left", "6"),
        ("upscale", "old.png", "a fox"),
    ],
)
def test_a_folder_that_is_not_there_yet_is_made(limner: Limner, verb: tuple[str, ...]) -> None:
    old()
    said = limner(*verb, "-m", "tiny", "-s", "0", "-o", "new/")
    assert said.lines == ["new/0-a-fox-000.png"]
    again = limner("reproduce", "new/0-a-fox-000.png", "--parent", ".", "-o", "again/")
    assert (again.code, again.lines) == (0, ["identical new/0-a-fox-000.png"])
    assert Path("again/0-a-fox-000.png").is_file()


@pytest.mark.parametrize("out", ["a.tif", "{sed}.png", "old.png/a.png"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_drawn(limner: Limner, out: str) -> None:
    old()
    said = limner("edit", "old.png", "a fox", "--mask", "0,0,8,20", "-m", "tiny", "-s", "0", "-o", out)
    assert said.code in (1, 2)
    assert "on cpu, seed" not in said.err
    assert limner("reproduce", "old.png", "-o", out).err.splitlines()[0] == said.err.splitlines()[0]
