"""What every tab of the studio works with: the server's queue, its models and its gallery, in this process.

A model's facts are read from its `config.json`, so that the page is there before any weights are loaded.
"""

from __future__ import annotations

import functools
import re
import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

from limner import catalog
from limner.config import SamplingSettings, StageSettings
from limner.errors import CheckpointError
from limner.serving.orders import Verb
from limner.serving.queue import Queue
from limner.serving.shelf import Facts, Shelf
from limner.serving.store import Store
from limner.studio import words

PATH = "/studio"  # where the page lies on the server
HANDED_OUT = 32  # files made for the page that are kept
CLIENT = "studio"  # who the queue takes the studio's orders from


class Offer(NamedTuple):
    """A model as the page shows it."""

    facts: Facts
    first: StageSettings  # the stage that prompts, steps and guidance steer

    @property
    def own(self) -> SamplingSettings:
        """How the model is sampled unless somebody says otherwise."""
        return self.first.sampling

    @property
    def steps(self) -> int:
        """How many steps the model takes of itself."""
        parts = [int(part) for part in re.findall(r"\d+", self.own.steps)]
        return sum(parts) or self.first.diffusion.levels


@dataclass(frozen=True)
class Desk:
    """The server's parts that the page reaches."""

    queue: Queue
    store: Store
    shelf: Shelf
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict, compare=False)  # token -> name and content

    def hand_out(self, name: str, data: bytes) -> str:
        """Where the page can fetch a file that was made for it; the last few are kept."""
        token = secrets.token_urlsafe(16)
        self.files[token] = name, data
        while len(self.files) > HANDED_OUT:
            del self.files[next(iter(self.files))]
        return f"{PATH}/made/{token}"

    def names(self, verb: Verb) -> list[str]:
        """The models that have a verb; for edits, those that were trained to repaint come first."""
        having = self.shelf.having(verb)
        return sorted(having, key=lambda name: not self.offer(name).first.network.inpaint) if verb == "edit" else having

    def offer(self, name: str) -> Offer:
        """A model as the page shows it.

        Raises: CheckpointError for a name that is not served, or a folder that went while the studio is open.
        """
        facts, folder = self.shelf.facts(name), self.shelf.folder(name)
        try:
            return Offer(facts, catalog.settings_of(folder).stages[0])
        except (OSError, ValueError):
            raise CheckpointError(
                f"model: {name} cannot be read any more from {folder}; put it back, or start the studio again"
            ) from None

    def count(self, name: str, prompt: str) -> words.Count | None:
        """How much of a prompt a model sees; None when it reads no words.

        Raises: InputError for a text that is not valid Unicode; CheckpointError for a name that is not served.
        """
        text = self.offer(name).first.network.text
        if text is None:
            return None
        return words.count(_reader(self, name), text.context, prompt)


@functools.lru_cache(maxsize=32)
def _reader(desk: Desk, name: str) -> words.Reader:
    """The model's own tokenizer; reading it takes a moment, and it is asked at every key that is pressed."""
    from limner import tokens

    text = desk.offer(name).first.network.text
    return tokens.load("clip" if text is None else text.vocabulary, desk.shelf.folder(name))
