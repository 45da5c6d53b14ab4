"""How much of a prompt the model sees: the token counter, and the mark under the words that are cut off."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple, Protocol

LONG = 200  # characters of what is cut that are shown


class Reader(Protocol):
    """What is needed of a tokenizer."""

    @property
    def frame(self) -> tuple[int, ...]:
        """Ids put around every prompt."""

    def ids(self, text: str) -> Sequence[int]:
        """Token ids of a text."""

    def cut(self, text: str, context: int) -> str:
        """The words that do not fit."""


class Count(NamedTuple):
    """A prompt measured by a model's own tokenizer."""

    used: int  # tokens of the prompt
    room: int  # tokens the model sees
    cut: str  # the words it does not see; "" when it sees all


def count(reader: Reader, context: int, prompt: str) -> Count:
    """Measure a prompt. Raises: InputError for a text that is not valid Unicode."""
    return Count(len(reader.ids(prompt)), context - len(reader.frame), reader.cut(prompt, context))


def counter(counted: Count | None) -> str:
    """The line under the prompt: how many tokens, and which words are cut."""
    if counted is None:
        return '<p class="lm-count">This model reads no words.</p>'
    line = f"{counted.used} of {counted.room} tokens"
    if not counted.cut:
        return f'<p class="lm-count">{line}</p>'
    shown, more = counted.cut, ""
    if len(shown) > LONG:  # all of it up to the end: saying where it begins is enough
        shown = shown[:LONG].rsplit(None, 1)[0] + " …"
        more = " and everything after"
    return f'<p class="lm-count lm-over">{line}. The model does not see: <mark>{escape(shown)}</mark>{more}</p>'
