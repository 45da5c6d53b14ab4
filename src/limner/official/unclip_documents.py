"""The JSON files without which diffusers does not open its folder of unCLIP: settings of every network and sampler."""

from __future__ import annotations

from limner.config import (
    ClipSettings,
    NetworkSettings,
    PriorSettings,
    StageSettings,
    SystemSettings,
    TextProjectionSettings,
    UNetSettings,
)
from limner.official import unclip

Document = dict[str, object]
_CLASSES = {
    unclip.PRIOR: ("diffusers", "PriorTransformer"),
    unclip.TEXT_PROJECTION: ("unclip", "UnCLIPTextProjModel"),
    unclip.DECODER: ("diffusers", "UNet2DConditionModel"),
    unclip.FIRST: ("diffusers", "UNet2DModel"),
    unclip.LAST: ("diffusers", "UNet2DModel"),
    "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
}
_SCHEDULERS = {
    unclip.PRIOR: "prior_scheduler",
    unclip.DECODER: "decoder_scheduler",
    unclip.FIRST: "super_res_scheduler",
}
_PRIOR_EDGE = 5.0  # between which diffusers clips the prior's normalised embeddings; Karlo's own code has 10


def documents(system: SystemSettings) -> dict[str, Document]:
    """Path below the folder -> content, for those of the networks that are there."""
    networks = system.networks()
    known = {name: network for name, network in networks.items() if name in _CLASSES}
    out = {f"{name}/config.json": {"_class_name": _CLASSES[name][1], **described(network)} for name, network in known.items()}
    index: Document = {"_class_name": "UnCLIPPipeline"}
    index |= {name: list(_CLASSES[name]) for name in known}
    for name in known:
        if name in _SCHEDULERS:
            stage = next((stage for stage in system.stages if stage.name == name), None)
            out[f"{_SCHEDULERS[name]}/scheduler_config.json"] = scheduler(stage)
            index[_SCHEDULERS[name]] = ["diffusers", "UnCLIPScheduler"]
    if known:
        out["model_index.json"] = index
    return out


def described(network: NetworkSettings) -> Document:
    """A network's options in diffusers' words; those of networks that are none of unCLIP's are empty."""
    match network:
        case PriorSettings():
            return _prior(network)
        case TextProjectionSettings():
            return {
                "clip_embeddings_dim": network.clip,
                "clip_extra_context_tokens": network.tokens,
                "cross_attention_dim": network.width,
                "time_embed_dim": network.embed,
            }
        case UNetSettings():
            return _unet(network)
        case ClipSettings() if network.text is not None:
            text = network.text
            return {
                "architectures": ["CLIPTextModelWithProjection"],
                "model_type": "clip_text_model",
                "hidden_act": "quick_gelu",
                "hidden_size": text.width,
                "intermediate_size": 4 * text.width,
                "max_position_embeddings": text.context,
                "num_attention_heads": text.heads,
                "num_hidden_layers": text.depth,
                "projection_dim": network.embed,
                "vocab_size": text.rows,
            }
        case _:
            return {}


def scheduler(stage: StageSettings | None) -> Document:
    """The options of UnCLIPScheduler for a stage; for the prior without one."""
    if stage is None:
        options: Document = {"clip_sample_range": _PRIOR_EDGE, "prediction_type": "sample", "variance_type": "fixed_small_log"}
        levels = 1000
    else:
        ranged, levels = stage.network.ranged, stage.diffusion.levels
        variance = "learned_range" if ranged else "fixed_small_log"
        options = {"clip_sample_range": 1.0, "prediction_type": "epsilon", "variance_type": variance}
    return {"_class_name": "UnCLIPScheduler", "clip_sample": True, "num_train_timesteps": levels, **options}


def _prior(network: PriorSettings) -> Document:
    own: Document = {
        "num_attention_heads": network.heads,
        "attention_head_dim": network.width // network.heads,
        "num_layers": network.depth,
        "embedding_dim": network.clip,
        "num_embeddings": network.context,
        "additional_embeddings": network.length - network.context,
        "dropout": 0.0,
    }
    options: Document = {
        "clip_embed_dim": network.answer,
        "embedding_proj_dim": network.pooled,
        "time_embed_dim": network.time_width,
        "embedding_proj_norm_type": "layer" if network.pooled_norm else None,
        "norm_in_type": "layer" if network.first_norm else None,
    }
    own |= {name: value for name, value in options.items() if value is not None}
    if network.words is None:
        own["encoder_hid_proj_type"] = None
    if not network.answer_token:
        own["added_emb_type"] = None
    return own


def _unet(network: UNetSettings) -> Document:
    attended = [2**level in network.attention for level in range(len(network.multipliers))]
    down, up = ("ResnetDownsample", "ResnetUpsample") if network.residual_resample else ("Down", "Up")
    cross = "SimpleCrossAttn" if network.words is not None else "Attn"
    own: Document = {
        "sample_size": network.side,
        "layers_per_block": network.blocks,
        "block_out_channels": [int(each * network.width) for each in network.multipliers],
        "down_block_types": [f"{f'{cross}Down' if yes else down}Block2D" for yes in attended],
        "up_block_types": [f"{f'{cross}Up' if yes else up}Block2D" for yes in reversed(attended)],
        "in_channels": network.channels * (2 if network.low_res else 1),
        "out_channels": network.channels * (2 if network.ranged else 1),
        "norm_num_groups": network.groups,
        "resnet_time_scale_shift": "scale_shift" if network.scale_shift else "default",
    }
    if network.words is None:
        return own | {"add_attention": network.middle_attention}
    return own | {
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "class_embed_type": "identity",
        "cross_attention_dim": network.words,
        "attention_head_dim": network.head_width,
    }
