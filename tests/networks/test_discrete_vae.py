"""DALL-E's dVAE beside its golden vectors: sizes, codes looked up, mixed precision, refusals."""

from __future__ import annotations

import pytest
import torch

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings
from limner.errors import InputError, ShapeError
from limner.networks.discrete_vae import DiscreteDecoder, DiscreteEncoder, map_pixels, unmap_pixels


@pytest.fixture
def encoder() -> DiscreteEncoder:
    torch.manual_seed(0)
    return DiscreteEncoder(DiscreteEncoderSettings(width=8, blocks=1, codes=20)).eval().requires_grad_(False)


@pytest.fixture
def decoder() -> DiscreteDecoder:
    torch.manual_seed(1)
    return DiscreteDecoder(DiscreteDecoderSettings(stem=6, width=8, blocks=1, codes=20)).eval().requires_grad_(False)


def test_a_picture_becomes_an_eighth_as_many_codes_each_way_and_comes_back(
    encoder: DiscreteEncoder, decoder: DiscreteDecoder
) -> None:
    codes = encoder.codes(map_pixels(torch.rand(2, 3, 16, 24)))
    assert codes.shape == (2, 2, 3)
    assert codes.dtype == torch.int64
    pixels = decoder.pixels(codes)
    assert pixels.shape == (2, 3, 16, 24)
    assert bool(((pixels >= 0) & (pixels <= 1)).all())


def test_codes_are_those_of_the_largest_logits(encoder: DiscreteEncoder) -> None:
    x = map_pixels(torch.rand(1, 3, 16, 16))
    assert torch.equal(encoder(x).argmax(1), encoder.codes(x))


def test_looking_a_code_up_equals_multiplying_its_one_hot_vector(decoder: DiscreteDecoder) -> None:
    codes = torch.arange(20).view(1, 4, 5)
    one_hot = torch.nn.functional.one_hot(codes, 20).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(decoder.of_codes(codes), decoder(one_hot))


def test_the_official_mixed_precision_keeps_what_touches_the_codes_in_float32(
    encoder: DiscreteEncoder, decoder: DiscreteDecoder
) -> None:
    x, codes = map_pixels(torch.rand(1, 3, 16, 16)), torch.arange(4).view(1, 2, 2)
    logits, pixels = encoder(x), decoder.pixels(codes)
    encoder.cast(torch.bfloat16)
    decoder.cast(torch.bfloat16)
    assert encoder.head.weight.dtype == decoder.stem.weight.dtype == torch.float32
    assert encoder.stem.weight.dtype == decoder.head.weight.dtype == torch.bfloat16
    assert encoder(x).dtype == decoder.pixels(codes).dtype == torch.float32
    assert 0 < float((encoder(x) - logits).abs().max()) < 0.05
    torch.testing.assert_close(decoder.pixels(codes), pixels, atol=0.02, rtol=0)


def test_pixels_are_mapped_into_the_open_interval_and_back() -> None:
    x = torch.linspace(0, 1, 11)
    assert float(map_pixels(x).min()) == pytest.approx(0.1)
    assert float(map_pixels(x).max()) == pytest.approx(0.9)
    torch.testing.assert_close(unmap_pixels(map_pixels(x)), x)
    assert unmap_pixels(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_what_does_not_fit_is_refused_with_what_would(encoder: DiscreteEncoder, decoder: DiscreteDecoder) -> None:
    with pytest.raises(ShapeError, match=r"\[B, 3, H, W\]; got \[1, 1, 8, 8\]"):
        encoder(torch.rand(1, 1, 8, 8))
    with pytest.raises(ShapeError, match=r"\[B, 20, h, w\]"):
        decoder(torch.rand(1, 3, 8, 8))
    with pytest.raises(ShapeError, match="of integers"):
        decoder.of_codes(torch.rand(1, 2, 2))
    with pytest.raises(InputError, match=r"0\.\.19; got 0\.\.20"):
        decoder.of_codes(torch.tensor([[[0, 20]]]))
