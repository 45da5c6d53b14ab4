"""AutoencoderKL of diffusers: moments, a posterior sample, its KL, and a decoded latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.config import LatentVAESettings
from limner.networks.latent_vae import LatentVAE
from limner.official import latent_vae
from limner.official.latent_vae import Dialect
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    return outputs(case, settings(case.config), latent_vae.dialect_of(case.spec["weights"]["keys"], ""))


def outputs(case: Case, own: LatentVAESettings, dialect: Dialect) -> dict[str, Tensor]:
    """What every layout of the autoencoder gives."""
    net = loaded(LatentVAE(own), latent_vae.keys(own, dialect), case.weights(), case)
    with torch.no_grad():
        posterior = net.encode(case.input("image"))
        return {
            "moments": torch.cat([posterior.mean, posterior.log_variance], dim=1),
            "mode": posterior.mean,
            "sample": posterior.sample(case.input("eps")),
            "kl": posterior.kl(),
            "decoded": net.decode(case.input("latent")),
        }


def settings(config: dict[str, Any]) -> LatentVAESettings:
    """limner's settings for the arguments of the official class; what they leave out is official default."""
    assert config.get("act_fn", "silu") == "silu"
    down = config.get("down_block_types", ("DownEncoderBlock2D",))
    widths = tuple(config.get("block_out_channels", (64,)))
    channels, channels_out = config.get("in_channels", 3), config.get("out_channels", 3)
    return LatentVAESettings(
        channels=channels,
        channels_out=None if channels_out == channels else channels_out,
        widths=widths,
        blocks=config.get("layers_per_block", 1),
        attention=tuple(2**n for n, kind in enumerate(down) if kind.startswith("Attn")),
        middle_attention=config.get("mid_block_add_attention", True),
        groups=config.get("norm_num_groups", 32),
        latent=config.get("latent_channels", 4),
        moments_conv=config.get("use_quant_conv", True),
        latent_conv=config.get("use_post_quant_conv", True),
        scale=config.get("scaling_factor", 0.18215),
    )
