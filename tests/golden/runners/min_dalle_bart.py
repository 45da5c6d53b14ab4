"""DALL-E mini: the text encoded, the image's tokens handed in one by one, the logits guided."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.config import BartDecoderSettings, BartEncoderSettings
from limner.discrete import sampling
from limner.networks.bart import BartDecoder, BartEncoder
from limner.official import min_dalle
from tests.golden.case import Case
from tests.golden.runners.official_weights import loaded


def run(case: Case) -> dict[str, Tensor]:
    encoder, decoder = networks(case)
    text, tokens = case.input("text"), case.input("prev_tokens")
    tokens = torch.cat([tokens] * (len(text) // len(tokens)))  # the same image without and with words
    with torch.no_grad():
        features = encoder(text)
        projected, seen = decoder.project(features), encoder.seen(text)
        steps, past = [], ()
        for n in range(tokens.shape[1]):
            logits, past = decoder(tokens[:, n : n + 1], projected, seen, past)
            steps.append(logits)
    logits = torch.cat(steps, dim=1)
    without, with_words = logits.chunk(2)
    guided = sampling.guided(with_words, without, case.config["guidance"])
    return {"encoder_state": features, "logits": logits, "guided_logits": guided}


def networks(case: Case) -> tuple[BartEncoder, BartDecoder]:
    weights, given = case.weights(), case.config
    layers = {"width": given["embed"], "depth": given["layers"], "heads": given["heads"], "hidden": given["glu"]}
    encoder = BartEncoderSettings(rows=given["text_vocab"], context=given["text_len"], **layers)
    codes = given["image_vocab"]
    positions = weights["decoder.embed_positions.weight"]
    decoder = BartDecoderSettings(rows=codes + 1, codes=codes, context=len(positions), **layers)
    encoder_keys = min_dalle.keys(encoder, prefix="encoder.")
    decoder_keys = min_dalle.keys(decoder, prefix="decoder.")
    return (
        loaded(BartEncoder(encoder), encoder_keys, {key: weights[key] for key in weights if key.startswith("encoder.")}, case),
        loaded(BartDecoder(decoder), decoder_keys, {key: weights[key] for key in weights if key.startswith("decoder.")}, case),
    )
