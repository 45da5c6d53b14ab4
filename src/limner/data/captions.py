"""The words of the emoji source: labels made into phrases ("an orange fox", "three apples") and varied captions.

Pure functions of a concept and a random stream. What is drawn is decided in compose.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from limner.data.concepts import Concept

T = TypeVar("T")


def pick(roll: Random, options: Sequence[T]) -> T:
    """One of the options; uses only `random()`, whose stream Python promises to keep."""
    return options[int(roll.random() * len(options))]


def single(roll: Random, concept: Concept, style: str) -> str:
    """A caption of one thing on a plain white ground."""
    words = concept.label
    if concept.tags and roll.random() < 0.5:
        words = ", ".join([words, *(pick(roll, concept.tags) for _ in range(1 + int(roll.random() * 3)))])
    return words
