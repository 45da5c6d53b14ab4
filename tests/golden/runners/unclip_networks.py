"""unCLIP's networks of a case: official options -> settings, weights through the key maps and proven to map back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from limner.config import NetworkSettings, PriorSettings, TextProjectionSettings, UNetSettings
from limner.networks.building import build
from limner.official import layout
from tests.golden.case import Case

M = TypeVar("M", bound=nn.Module)


def filled(case: Case, kind: type[M], settings: NetworkSettings, weights: Mapping[str, Tensor], keys: layout.KeyMap) -> M:
    """The network in the case's dtype, with those of the weights that its keys name."""
    mine = {name: weights[name] for name in keys}
    state = layout.to_limner(mine, keys, where=case.component)
    back = layout.to_official(state, keys, where=case.component)
    assert set(back) == set(mine)
    assert all(torch.equal(back[name], value) for name, value in mine.items())
    net = build(settings)
    assert isinstance(net, kind)
    net.eval().to(case.dtype).load_state_dict(state)
    return net


def karlo_prior(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> PriorSettings:
    """Settings for the options of Karlo's PriorTransformer; some cases leave the prefix `xf_` away."""
    option = {key.removeprefix("xf_"): value for key, value in config.items()}
    return PriorSettings(
        clip=option["clip_dim"],
        words=weights["text_enc_proj.weight"].shape[1],
        context=option["text_ctx"],
        width=option["width"],
        depth=option["layers"],
        heads=option["heads"],
        final_norm=option["final_ln"],
        learned_padding="padding_embedding" in weights,
    )


def diffusers_prior(config: Mapping[str, Any]) -> PriorSettings:
    """Settings for the options of diffusers' PriorTransformer."""
    assert config.get("time_embed_act_fn", "silu") == "silu"
    heads, clip = config.get("num_attention_heads", 32), config.get("embedding_dim", 768)
    text = config.get("encoder_hid_proj_type", "linear") is not None
    return PriorSettings(
        clip=clip,
        answer=config.get("clip_embed_dim"),
        pooled=config.get("embedding_proj_dim"),
        words=clip if text else None,
        context=config.get("num_embeddings", 77) if text else 0,
        width=heads * config.get("attention_head_dim", 64),
        depth=config.get("num_layers", 20),
        heads=heads,
        time_width=config.get("time_embed_dim"),
        answer_token=config.get("added_emb_type", "prd") is not None,
        pooled_norm=config.get("embedding_proj_norm_type") is not None,
        first_norm=config.get("norm_in_type") is not None,
    )


def karlo_unet(config: Mapping[str, Any], *, side: int, low_res: bool = False) -> UNetSettings:
    """Settings for the options of Karlo's UNetModel and what is built on it, with their defaults."""
    return UNetSettings(
        side=side,
        channels=config["in_channels"],
        width=config["model_channels"],
        multipliers=tuple(config.get("channel_mult", (1, 2, 4, 8))),
        blocks=config["num_res_blocks"],
        attention=tuple(config["attention_resolutions"]),
        middle_attention=config.get("use_middle_attention", True),
        heads=max(config.get("num_heads", 1), 1),
        heads_up=_unless_minus_one(config.get("num_heads_upsample", -1)),
        head_width=_unless_minus_one(config.get("num_head_channels", -1)),
        dropout=config.get("dropout", 0),
        scale_shift=config.get("use_scale_shift_norm", False),
        residual_resample=config.get("resblock_updown", False),
        conv_resample=config.get("conv_resample", True),
        ranged=config["out_channels"] == 2 * config["in_channels"],
        words=config.get("xf_width"),
        low_res=low_res,
    )


def karlo_text_projection(config: Mapping[str, Any]) -> TextProjectionSettings:
    """Settings for what Karlo's PLMImUNet has beside the U-Net."""
    return TextProjectionSettings(
        clip=config["clip_dim"],
        tokens=config.get("clip_emb_mult") or 0,
        width=config["xf_width"],
        embed=4 * config["model_channels"],
        null=config.get("clip_emb_drop", 0.0) > 0,
    )


def diffusers_unet(config: Mapping[str, Any], *, low_res: bool) -> UNetSettings:
    """Settings for the options of diffusers' UNet2DConditionModel and UNet2DModel that unCLIP uses."""
    assert config.get("norm_eps", 1e-5) == 1e-5
    widths, kinds = config["block_out_channels"], config["down_block_types"]
    channels = config["in_channels"] // (2 if low_res else 1)
    return UNetSettings(
        side=config["sample_size"],
        channels=channels,
        width=widths[0],
        multipliers=tuple(width / widths[0] for width in widths),
        blocks=config["layers_per_block"],
        attention=tuple(2**level for level, kind in enumerate(kinds) if "Attn" in kind),
        middle_attention=config.get("add_attention", True),
        head_width=config.get("attention_head_dim", 8),
        dropout=config.get("dropout", 0.0),
        scale_shift=config.get("resnet_time_scale_shift", "default") == "scale_shift",
        residual_resample=kinds[0].startswith(("Resnet", "SimpleCross")) or config.get("downsample_type") == "resnet",
        groups=config.get("norm_num_groups", 32),
        ranged=config["out_channels"] == 2 * channels,
        words=config.get("cross_attention_dim"),
        low_res=low_res,
    )


def diffusers_text_projection(config: Mapping[str, Any]) -> TextProjectionSettings:
    """Settings for the options of diffusers' UnCLIPTextProjModel, with their defaults."""
    return TextProjectionSettings(
        clip=config.get("clip_embeddings_dim", 768),
        tokens=config.get("clip_extra_context_tokens", 4),
        width=config["cross_attention_dim"],
        embed=config["time_embed_dim"],
    )


def _unless_minus_one(value: int) -> int | None:
    return None if value == -1 else value
