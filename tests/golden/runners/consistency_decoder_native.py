"""DALL-E 3's consistency decoder in OpenAI's layout: one look of the network, and the decoding loop."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import consistency, schedules
from limner.diffusion.targets import Clip, clip_unit
from limner.networks.building import build
from limner.networks.unet import UNet
from limner.official import consistency_decoder
from limner.official.piece import Piece
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    weights, alpha_bar = case.weights(), schedules.cosine(1024)
    pieces = consistency_decoder.recognise({key: tuple(value.shape) for key, value in weights.items()})
    assert pieces is not None
    net = network(case, pieces[0], weights)
    z = consistency.normalised_latent(case.input("latent"))
    t, x = case.config["t_single"], case.input("x_single")
    into = consistency.level_scalings(alpha_bar[t]).into.to(x.dtype)
    with torch.no_grad():
        looks = decoded(case, net, z, tuple(case.config["timesteps"]), clip=clip_unit)
        return {
            "normalised_latent": z,
            "unet_single": net(into * x, torch.tensor([t]), {"latent": z}),
            "decoded_first_step": looks[0],
            "decoded": looks[-1],
        }


def network(case: Case, piece: Piece, weights: dict[str, Tensor]) -> UNet:
    """The decoder of a case with its official weights."""
    net = build(piece.settings.network)
    assert isinstance(net, UNet)
    return loaded(net, piece.keys, {key: weights[key] for key in piece.keys}, case)


def decoded(case: Case, net: UNet, z: Tensor, levels: tuple[int, ...], *, clip: Clip | None, larger: int = 8) -> list[Tensor]:
    """The picture after every look."""
    alpha_bar = schedules.cosine(1024)
    shape = (len(z), net.settings.channels, larger * z.shape[2], larger * z.shape[3])
    denoise = consistency.level_denoiser(lambda x, t: net(x, t, {"latent": z}), alpha_bar, clip=clip)
    steps = consistency.decode(denoise, alpha_bar, lambda k: case.drawn(f"noise.step.{k}", shape), levels)
    return [step.x0 for step in steps]
