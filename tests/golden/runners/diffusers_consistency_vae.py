"""ConsistencyDecoderVAE of diffusers: the encoder's moments, and two looks that are not clamped."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import consistency
from limner.networks.building import build
from limner.networks.latent_vae import LatentVAE
from limner.official import consistency_decoder
from tests.golden.case import Case
from tests.golden.runners.consistency_decoder_native import decoded, network
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    weights = case.weights()
    pieces = consistency_decoder.recognise_diffusers({key: tuple(value.shape) for key, value in weights.items()})
    assert pieces is not None
    assert {key for piece in pieces for key in piece.keys} == set(weights)
    assert all(case.config.get(f"{half}_norm_num_groups", 32) == 32 for half in ("encoder", "decoder"))
    draw, (_, look) = network(case, pieces[0], weights), pieces
    encoder = build(look.settings.network)
    assert isinstance(encoder, LatentVAE)
    loaded(encoder, look.keys, {key: weights[key] for key in look.keys}, case)
    larger = 2 ** (len(encoder.settings.widths) - 1)
    with torch.no_grad():
        posterior = encoder.encode(case.input("image"))
        z = consistency.normalised_latent(case.input("latent"))
        looks = decoded(case, draw, z, consistency.decoder_levels(), clip=None, larger=larger)
    return {"mean": posterior.mean, "logvar": posterior.log_variance, "decoded": looks[-1]}
