"""GLIDE's tokenizer: ids, decoded text, padded batches and the unconditional prompt."""

from __future__ import annotations

from typing import Any

from limner import tokens
from tests.golden.case import TEXT, Case


def run(case: Case) -> dict[str, Any]:
    tokenizer = tokens.load("gpt2")
    strings, context = case.config["strings"], case.config["text_ctx"]
    batch, empty = tokenizer.encode(strings, context), tokenizer.encode([""], context)
    ids = [tokenizer.ids(string) for string in strings]
    return {
        "padded_tokens": batch.ids.int(),
        "padded_mask": batch.mask,
        "empty_tokens": empty.ids[0].int(),
        "empty_mask": empty.mask[0],
        TEXT: {
            "n_vocab": tokenizer.size,
            "end_token": tokenizer.pad,
            "results": [{"ids": row, "decoded": tokenizer.decode(row)} for row in ids],
        },
    }
