"""The KL autoencoder in the layout of latent diffusion."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from limner.config import LatentVAESettings
from limner.official.latent_vae import COMPVIS
from tests.golden.case import Case
from tests.golden.runners.autoencoder_kl_diffusers import outputs


def run(case: Case) -> dict[str, Tensor]:
    return outputs(case, settings(case.config["ddconfig"], case.config["embed_dim"]), COMPVIS)


def settings(config: dict[str, Any], latent: int) -> LatentVAESettings:
    """limner's settings for `ddconfig` and `embed_dim`."""
    widths = tuple(factor * config["ch"] for factor in config["ch_mult"])
    middle = config.get("attn_type", "vanilla") != "none"
    sides = [config["resolution"] // 2**n for n in range(len(widths))]
    return LatentVAESettings(
        channels=config["in_channels"],
        channels_out=None if config["out_ch"] == config["in_channels"] else config["out_ch"],
        widths=widths,
        stem=None if config["ch"] == widths[0] else config["ch"],
        blocks=config["num_res_blocks"],
        attention=tuple(2**n for n, side in enumerate(sides) if side in config["attn_resolutions"] and middle),
        middle_attention=middle,
        conv_resample=config.get("resamp_with_conv", True),
        latent=latent,
        inner=None if config["z_channels"] == latent else config["z_channels"],
    )
