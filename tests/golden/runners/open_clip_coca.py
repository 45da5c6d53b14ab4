"""CoCa of open_clip: features of length 1, scores of the caption's tokens, and the two losses it is trained with."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.config import CaptionerSettings, TextTowerSettings, VitSettings
from limner.networks.captioner import Captioner
from limner.official import coca
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded

CAPTION_WEIGHT = 2.0  # of the two losses in open_clip's recipe


def run(case: Case) -> dict[str, Tensor]:
    own = settings(case.config)
    net = loaded(Captioner(own), coca.keys(own), case.weights(), case)
    ids = case.input("text")
    with torch.no_grad():
        images, features = net.embed_image(case.input("image"))
        texts, states = net.embed_text(ids)
        scores, labels = net.decoder(states[:, :-1], features), ids[:, 1:]
        pairs, own_pair = net.logits(images, texts), torch.arange(len(ids))
        assert torch.allclose(net(case.input("image"), ids)[:, :-1], scores, atol=1e-5)
        caption = F.cross_entropy(scores.transpose(1, 2), labels, ignore_index=own.pad)
        return {
            "image_features": images,
            "text_features": texts,
            "logits": scores,
            "labels": labels,
            "logit_scale": net.scale.exp(),
            "contrastive_loss": (F.cross_entropy(pairs, own_pair) + F.cross_entropy(pairs.T, own_pair)) / 2,
            "caption_loss_weighted": CAPTION_WEIGHT * caption,
        }


def settings(config: dict[str, Any]) -> CaptionerSettings:
    """limner's settings for the options of open_clip's CoCa."""
    image, text, decoder = config["vision_cfg"], config["text_cfg"], config["multimodal_cfg"]
    return CaptionerSettings(
        embed=config["embed_dim"],
        image=VitSettings(
            side=image.get("image_size", 224),
            patch=image.get("patch_size", 16),
            width=image.get("width", 768),
            depth=image.get("layers", 12),
            heads=image.get("width", 768) // image.get("head_width", 64),
            mlp=image.get("mlp_ratio", 4.0),
            first_norm=not image.get("no_ln_pre", False),
        ),
        queries=image.get("attn_pooler_queries", 256),
        pool_heads=image.get("attn_pooler_heads", 8),
        pooled={"tok": "first", "avg": "average"}[image.get("pool_type", "tok")],
        text=TextTowerSettings(
            rows=text.get("vocab_size", 49408),
            context=text.get("context_length", 77),
            width=text.get("width", 512),
            depth=text.get("layers", 12),
            heads=text.get("heads", 8),
            mlp=text.get("mlp_ratio", 4.0),
        ),
        text_token=text.get("embed_cls", False),
        depth=decoder.get("layers", 12),
        heads=decoder.get("heads", 8),
        activation="quick_gelu" if config.get("quick_gelu", False) else "gelu",
        pad=text.get("pad_id", 0),
        shifted_pads=not text.get("correct_cls_mask", False),
    )
