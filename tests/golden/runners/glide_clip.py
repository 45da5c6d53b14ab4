"""GLIDE's noised CLIP: both towers, their states before the last norm, prompts, and the gradient that guides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limner.config import NoisedClipSettings, TextTowerSettings, VitSettings
from limner.diffusion.guidance import gradient_of
from limner.networks.noised_clip import NoisedClip
from limner.official import noised_clip
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    words, pictures = settings(case.config)
    text = loaded(NoisedClip(words), noised_clip.keys(words), case.weights("text"), case)
    image = loaded(NoisedClip(pictures), noised_clip.keys(pictures), case.weights("image"), case)
    assert text.text is not None
    assert image.image is not None
    given = case.inputs()
    t, ends = given.get("t"), given["text_len"] - 1
    x = image.prepared(given["x"])
    with torch.no_grad():
        out = {
            "image_raw": image.image(x, t),
            "image_probe": image.image.trunk(x, t)[:, 0],
            "text_raw": text.text(given["tokens"], ends)[1],
            "text_probe": text.text.states(given["tokens"])[torch.arange(len(ends)), ends],
        }
        if t is None:
            return out
        ids, lengths = encoded(case.config)
        texts = text.embed_text(ids, lengths)
        out["image_embeddings"] = image.embed_image(given["x"], t)
        gradient = gradient_of(lambda x_t, t: image.score(x_t, t, texts), case.config["grad_scale"])
        out["cond_grad"] = gradient(given["x"], t)
    return out | {"encode_prompts.tokens": ids, "encode_prompts.lens": lengths, "text_embeddings": texts}


def encoded(config: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The toy prompts between start and end token, cut and padded with 0 to the context, as limner's tokenizer does."""
    rows, context = config["text"]["n_bpe_vocab"], config["text"]["max_text_len"]
    framed = [[rows - 2, *ids[: context - 2], rows - 1] for ids in config["prompts_token_ids"].values()]
    ids = torch.tensor([row + [0] * (context - len(row)) for row in framed])
    return ids, torch.tensor([len(row) for row in framed])


def settings(config: dict[str, Any]) -> tuple[NoisedClipSettings, NoisedClipSettings]:
    """limner's settings for the arguments of the official text and image encoders."""
    text, image = config["text"], config["image"]
    words = TextTowerSettings(
        rows=text["n_bpe_vocab"],
        context=text["max_text_len"],
        width=text["n_head"] * text.get("n_head_state", 64),
        depth=text["n_xf_blocks"],
        heads=text["n_head"],
    )
    pictures = VitSettings(
        side=image["image_size"],
        patch=image["patch_size"],
        width=image["n_head"] * image.get("n_head_state", 64),
        depth=image["n_xf_blocks"],
        heads=image["n_head"],
    )
    scale = config.get("logit_scale_exp", 100.0)
    return (
        NoisedClipSettings(embed=text["n_embd"], image=None, text=words, steps=None, scale=scale),
        NoisedClipSettings(
            embed=image["n_embd"], image=pictures, text=None, steps=image.get("n_timestep", 0) or None, scale=scale
        ),
    )
