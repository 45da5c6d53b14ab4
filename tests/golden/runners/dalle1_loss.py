"""DALL-E's loss over text and image tokens."""

from __future__ import annotations

from torch import Tensor

from limner.discrete import sequences
from limner.discrete.sequences import Vocabulary
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    vocabulary = Vocabulary(case.config["text_vocab"], case.config["text_len"], case.config["image_vocab"])
    text = sequences.padded(case.input("text"), case.input("lengths"), vocabulary)
    labels = sequences.joined(text, case.input("image"), vocabulary)
    loss = sequences.token_loss(case.input("logits"), labels, vocabulary)
    return {"padded_text": text, "labels": labels, "loss_text": loss.text, "loss_image": loss.image, "loss": loss.total}
