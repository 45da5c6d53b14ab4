"""The gallery: fixed prompts, one seed, nothing picked. What is drawn is chosen here by lot; `gallery_page` lays it out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from limner.config import Frozen, parse
from limner.data import nouns
from limner.data.compose import NOVEL
from limner.data.emoji import EmojiSource
from limner.errors import InputError
from limner.evaluation import emoji

Kind = Literal["seen", "unseen style", "novel"]
COUNTS: dict[Kind, int] = {"seen": 24, "unseen style": 12, "novel": 12}
SCENES = 24
SEED = 0
_LOT = "gallery"


class Prompt(Frozen):
    """Words of the gallery and why they are in it."""

    text: str
    kind: Kind


class Prompts(Frozen):
    """All words of the gallery; kept in a file, so that it can be drawn without the training data."""

    data: str  # the source that says what is seen
    icons: tuple[Prompt, ...]


def choose(source: EmojiSource) -> Prompts:
    """Prompts drawn by lot once for ever: trained pairs, seen concepts in unseen styles, colours kept out of training.

    Raises: InputError when the source holds too few of a kind.
    """
    seen = _distinct([emoji.prompt(picture) for picture in emoji.in_order(source.train, _LOT)])
    unseen = _distinct([emoji.prompt(picture) for picture in emoji.in_order(source.part("pair"), _LOT)])
    things = {picture.concept.label: picture.concept for picture in emoji.in_order(source.train, _LOT)}
    novel = [nouns.nouns(things[label])[0].one(colour) for label in things for name, colour in sorted(NOVEL) if name == label]
    found: dict[Kind, list[str]] = {"seen": seen, "unseen style": unseen, "novel": _distinct(novel)}
    for kind, count in COUNTS.items():
        if len(found[kind]) < count:
            raise InputError(
                f"{source.name}: a gallery needs {count} prompts of the kind '{kind}'; it holds {len(found[kind])}"
            )
    return Prompts(
        data=source.name,
        icons=tuple(Prompt(text=text, kind=kind) for kind, count in COUNTS.items() for text in found[kind][:count]),
    )


def read(path: Path) -> Prompts:
    """The prompts in a file.

    Raises: InputError when it cannot be read; ConfigError when it holds something else.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as the gallery's prompts ({error})") from None
    return parse(Prompts, tree, where=str(path))


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
