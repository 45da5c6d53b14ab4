"""VQGAN's detokeniser: sizes, the codebook, refusals."""

from __future__ import annotations

import pytest
import torch

from limner.config import VqganSettings
from limner.errors import InputError, ShapeError
from limner.networks.vqgan import VqganDecoder


@pytest.fixture
def net() -> VqganDecoder:
    torch.manual_seed(0)
    settings = VqganSettings(widths=(8, 8, 12), blocks=1, attention=(4,), groups=4, codes=9, latent=6)
    return VqganDecoder(settings).eval().requires_grad_(False)


def test_codes_become_a_picture_with_pixels_in_the_unit_interval(net: VqganDecoder) -> None:
    pixels = net.pixels(torch.randint(0, 9, (2, 3, 5)))
    assert pixels.shape == (2, 3, 12, 20)
    assert bool(((pixels >= 0) & (pixels <= 1)).all())


def test_a_code_is_its_entry_of_the_codebook(net: VqganDecoder) -> None:
    codes = torch.arange(9).view(1, 3, 3)
    entries = net.codebook.weight.T.reshape(1, 6, 3, 3)
    torch.testing.assert_close(net(codes), net.decoder(net.latent(entries)))


def test_what_is_no_code_is_refused(net: VqganDecoder) -> None:
    with pytest.raises(ShapeError, match="of integers"):
        net(torch.rand(1, 2, 2))
    with pytest.raises(InputError, match=r"0\.\.8; got -1\.\.2"):
        net(torch.tensor([[[-1, 2]]]))
