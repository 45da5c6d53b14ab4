"""DALL-E's dVAE: pixels, logits, codes, statistics, reconstruction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings
from limner.networks.discrete_vae import DiscreteDecoder, DiscreteEncoder, map_pixels
from limner.official import dvae
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    encoder, decoder = settings(case.config)
    look = loaded(DiscreteEncoder(encoder), dvae.keys(encoder), case.weights("encoder"), case)
    draw = loaded(DiscreteDecoder(decoder), dvae.keys(decoder), case.weights("decoder"), case)
    x, codes = map_pixels(case.input("pixels01")), case.input("codes")
    with torch.no_grad():
        stats = draw.of_codes(codes)
        relaxed = draw(torch.nn.functional.one_hot(codes, decoder.codes).movedim(-1, 1).to(case.dtype))
        assert torch.allclose(stats, relaxed, rtol=1e-4, atol=1e-5)
        return {
            "map_pixels": x,
            "encoder_logits": look(x),
            "argmax": look.codes(x),
            "decoder_stats": stats,
            "reconstruction01": draw.pixels(codes),
        }


def settings(config: dict[str, Any]) -> tuple[DiscreteEncoderSettings, DiscreteDecoderSettings]:
    """limner's settings for the arguments of the official classes; what they leave out is official default."""
    names = {"n_init": "stem", "n_hid": "width", "n_blk_per_group": "blocks", "vocab_size": "codes"}
    encoder, decoder = (
        {names.get(name, "channels"): value for name, value in config[which].items() if name != "group_count"}
        for which in ("encoder", "decoder")
    )
    return DiscreteEncoderSettings(**encoder), DiscreteDecoderSettings(**decoder)
