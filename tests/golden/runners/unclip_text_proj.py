"""The text projection as diffusers stores it: what the decoder reads, with the learned null in front for guidance."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks.text_projection import TextProjection
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_text_projection, filled


def run(case: Case) -> dict[str, Tensor]:
    given, weights = case.inputs(), case.weights()
    settings = diffusers_text_projection(case.config)
    keys = diffusers_unclip.text_projection_keys(settings)
    assert set(keys) == set(weights)
    net = filled(case, TextProjection, settings, weights, keys)
    image = given["image_embeddings"]
    with torch.no_grad():
        if case.config.get("cfg", True):
            image = torch.cat([net.no_image(len(image)), image])
        out = net(image, given["prompt_embeds"], given["text_hidden"])
        return {"context": out["text"], "additive_time_embedding": out["pooled"]}
