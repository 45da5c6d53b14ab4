"""`limner reconstruct` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests import tiny_dvae
from tests.cli.conftest import Limner, opened


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(tiny_dvae.save(tmp_path / "tiny-dvae"))


@pytest.fixture
def photo() -> str:
    Image.effect_mandelbrot((48, 40), (-2, -1, 1, 1), 50).convert("RGB").save("photo.png")
    return "photo.png"


def test_a_picture_comes_back_from_its_codes(limner: Limner, model: str, photo: str) -> None:
    said = limner("reconstruct", photo, "-m", model, "-o", "back.png", "--side", "40", "--json")
    assert said.code == 0, said.err
    assert opened("back.png").size == (40, 40)
    fact = said.objects[0]
    assert (fact["path"], fact["source"], fact["codes"]) == ("back.png", photo, 25)
    assert 1 <= fact["distinct"] <= 25
    assert "1 picture of 40x40, each from 25 codes" in said.err


def test_several_pictures_go_into_a_folder(limner: Limner, model: str, photo: str) -> None:
    opened(photo).save("other.png")
    said = limner("reconstruct", photo, "other.png", "-m", model, "-o", "out", "--side", "32")
    assert said.code == 0, said.err
    assert sorted(path.name for path in Path("out").iterdir()) == ["other.png", "photo.png"]
    assert limner("reconstruct", photo, "other.png", "-m", model, "-o", "one.png").code == 2


def test_nothing_is_overwritten_or_begun_for_nothing(limner: Limner, model: str, photo: str) -> None:
    before = Path(photo).read_bytes()
    said = limner("reconstruct", photo, "-m", model, "-o", photo, "--side", "32")
    assert "exists already" in said.err
    assert Path(photo).read_bytes() == before
    assert "are written as" in limner("reconstruct", photo, "-m", model, "-o", "back.txt").err
    assert "same name" in limner("reconstruct", photo, photo, "-m", model, "-o", "out").err
    assert not Path("out").exists()


def test_a_model_without_codes_and_a_picture_too_small_are_refused(limner: Limner, model: str, photo: str) -> None:
    said = limner("reconstruct", photo, "-m", "tiny", "-o", "back.png")
    assert "is a glide model" in said.err
    said = limner("reconstruct", photo, "-m", model, "-o", "back.png")
    assert said.code != 0
    assert "the picture is 48x40" in said.err
    assert not Path("back.png").exists()
