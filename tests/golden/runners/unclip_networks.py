"""unCLIP's networks of a case: official options -> settings, weights through the key maps and proven to map back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from limner.config import NetworkSettings, PriorSettings
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
        learned_padding=option.get("padding", False),
    )


def diffusers_prior(config: Mapping[str, Any]) -> PriorSettings:
    """Settings for the options of diffusers' PriorTransformer."""
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
