"""CLIP's tokenizer: ids, decoded text, framed and padded batches, and the form GLIDE's noised CLIP takes."""

from __future__ import annotations

from typing import Any

from limner import tokens
from limner.errors import InputError
from tests.golden.case import TEXT, Case


def run(case: Case) -> dict[str, Any]:
    tokenizer = tokens.load("clip")
    strings, context = case.config["strings"], case.config["context_length"]
    batch = tokens.clip_tokenize(strings, context=context, truncate=True)
    # GLIDE's noised CLIP cuts to context - 2 ids before it adds start and end: the same as what `encode` does.
    noised = tokenizer.encode(strings, context)
    ids = [tokenizer.ids(string) for string in strings]
    return {
        "tokenize_truncate": batch.ids.int(),
        "noised_clip_tokens": noised.ids.int(),
        "noised_clip_len": noised.mask.sum(1).int(),
        TEXT: {
            "vocab": tokenizer.size,
            "sot": tokenizer.frame[0],
            "eot": tokenizer.frame[1],
            "results": [
                {"ids": row, "decoded": tokenizer.decode(row), "too_long": _raises(string, context)}
                for string, row in zip(strings, ids)
            ],
        },
    }


def _raises(string: str, context: int) -> bool:
    try:
        tokens.clip_tokenize([string], context=context)
    except InputError:
        return True
    return False
