"""The dVAE as a system: pictures to codes and back, preparation and rounding as in the notebook, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner import images, weights
from limner.errors import CheckpointError, InputError, ShapeError, UnsupportedError
from limner.networks.discrete_vae import map_pixels
from limner.systems import dvae
from limner.systems.dvae import Dvae
from tests import tiny_dvae


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dvae.save(tmp_path_factory.mktemp("models") / "tiny-dvae")


@pytest.fixture(scope="module")
def system(folder: Path) -> Dvae:
    return dvae.load(folder, device="cpu")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_pictures_become_codes_and_come_back_in_the_size_of_the_square(system: Dvae) -> None:
    codes = system.encode([picture(40, 33), picture(32, 50)], side=32)
    assert codes.shape == (2, 4, 4)
    assert codes.dtype == torch.int64
    assert [back.size for back in system.decode(codes)] == [(32, 32), (32, 32)]
    assert [back.size for back in system.reconstruct([picture(256, 300)])] == [(256, 256)]


def test_it_computes_what_its_networks_compute(system: Dvae) -> None:
    assert system.encoder is not None
    assert system.decoder is not None
    codes = system.encode([picture(32, 32)], side=32)
    square = images.dalle_square(picture(32, 32), 32)
    assert torch.equal(codes, system.encoder.codes(map_pixels(square[None])))
    expected = (system.decoder.pixels(codes)[0] * 255).permute(1, 2, 0).floor()
    found = np.asarray(system.decode(codes)[0], np.float32)
    assert float(np.abs(found - expected.numpy()).max()) <= 1  # one last bit of a float may tip a floor
    assert float((found != expected.numpy()).mean()) < 0.01


def test_half_of_a_model_does_its_half_and_says_what_it_lacks(tmp_path: Path) -> None:
    encoder = dvae.load(tiny_dvae.save(tmp_path / "half", parts=("encoder",)), device="cpu")
    codes = encoder.encode([picture(16, 16)], side=16)
    with pytest.raises(UnsupportedError, match="half: has no decoder; convert"):
        encoder.decode(codes)
    decoder = dvae.load(tiny_dvae.save(tmp_path / "other", parts=("decoder",)), device="cpu")
    assert len(decoder.decode(codes)) == 1
    with pytest.raises(UnsupportedError, match="other: has no encoder; convert"):
        decoder.encode([picture(16, 16)], side=16)


def test_a_narrow_type_gives_nearly_the_same_picture(folder: Path, system: Dvae) -> None:
    narrow = dvae.load(folder, device="cpu", dtype="bfloat16")
    assert narrow.decoder is not None
    assert narrow.decoder.groups[0][0].convs[0].weight.dtype == torch.bfloat16
    codes = system.encode([picture(32, 32)], side=32)
    a, b = (np.asarray(each.decode(codes)[0], np.int16) for each in (system, narrow))
    assert int(np.abs(a - b).max()) <= 4


def test_the_original_computes_in_float32_on_the_cpu_whatever_it_could(system: Dvae) -> None:
    assert system.encoder is not None
    assert {p.dtype for p in system.encoder.parameters()} == {torch.float32}


def test_what_cannot_be_coded_is_refused_with_what_could(system: Dvae, tiny: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="is 40x31, but its shorter side must have 32"):
        system.encode([picture(40, 31)], side=32)
    with pytest.raises(InputError, match="multiple of 8; got 30"):
        system.encode([picture(40, 40)], side=30)
    with pytest.raises(InputError, match="at least one picture"):
        system.encode([])
    with pytest.raises(ShapeError, match=r"expected \[B, h, w\]"):
        system.decode(torch.zeros(4, 4, dtype=torch.int64))
    with pytest.raises(UnsupportedError, match="is a glide model, which has no codes"):
        dvae.load(tiny)
    with pytest.raises(CheckpointError, match="no such model"):
        dvae.load("dalle-dvea")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = tiny_dvae.save(tmp_path / "broken")
    (folder / "SHA256SUMS").unlink()
    (folder / "encoder.safetensors").write_bytes((folder / "decoder.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="does not fit the network"):
        dvae.open_folder(weights.read_folder(folder), device="cpu")
