"""The captions of the emoji source: how a scene is put into words, in many ways.

Pure functions of what is drawn and a random stream. What is drawn is decided in compose.py; nouns.py makes the phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, TypeVar

from limner.data.concepts import Concept
from limner.data.nouns import Noun, an, coloured, nouns

T = TypeVar("T")
Relation = Literal["and", "next to", "left", "right", "above", "below"]

SMALL = ("small", "small", "tiny", "little")
BIG = ("big", "big", "large", "huge")
KINDS = ("an emoji of", "a picture of", "a drawing of", "an icon of", "clip art of", "an image of", "an illustration of")
STYLES: dict[str, tuple[str, ...]] = {
    "flat": ("flat", "fluent flat"),
    "3d": ("3d", "3d", "3d rendered"),
    "noto": ("noto",),
    "blob": ("blob",),
    "twemoji": ("twemoji",),
}
GROUND_PHRASES = (
    "on {a} {} background",
    "on {a} {} background",
    "on {}",
    "with {a} {} background",
    "against {a} {} background",
)
STYLE_SHARE, GROUND_SHARE, KIND_SHARE, TAG_SHARE, OTHER_NAME_SHARE = 0.30, 0.10, 0.15, 0.30, 0.4


def pick(roll: Random, options: Sequence[T]) -> T:
    """One of the options; uses only `random()`, whose stream Python promises to keep."""
    return options[int(roll.random() * len(options))]


def called(roll: Random, concept: Concept) -> Noun:
    """The concept's name, or now and then another that people use."""
    names = nouns(concept)
    return pick(roll, names[1:]) if len(names) > 1 and roll.random() < OTHER_NAME_SHARE else names[0]


def single(roll: Random, concept: Concept, adjective: str = "") -> str:
    """One thing in words, without ground and style: "a green fox", "fox, animal, face", "an emoji of a fox".

    `adjective` is a colour or a size that has to be said.
    """
    chosen = called(roll, concept)
    form = roll.random()
    if form < 0.25:  # the bare name
        words = f"{adjective} {chosen.name}".strip()
    elif form < 0.32:
        words = f"{adjective} {chosen.name}".strip() + " emoji"
    else:
        words = chosen.one(adjective)
        if roll.random() < KIND_SHARE:
            words = f"{pick(roll, KINDS)} {words}"
    if concept.tags and roll.random() < TAG_SHARE:
        tags = [pick(roll, concept.tags) for _ in range(1 + int(roll.random() * 3))]
        words = ", ".join([words, *dict.fromkeys(tag for tag in tags if tag != chosen.name)])
    return words


def tags_alone(roll: Random, concept: Concept) -> str:
    """Two to four tags and no name; the name when there are too few."""
    if len(concept.tags) < 3:
        return concept.label
    return ", ".join(dict.fromkeys(pick(roll, concept.tags) for _ in range(2 + int(roll.random() * 3))))


def several(roll: Random, concept: Concept, count: int, adjective: str = "") -> str:
    """A number of things: "three green foxes"."""
    return called_counted(roll, concept).many(count, adjective)


def called_counted(roll: Random, concept: Concept) -> Noun:
    """A name that can take a number; the concept is known to be countable."""
    chosen = called(roll, concept)
    return chosen if chosen.form == "counted" and not chosen.article else nouns(concept)[0]


def related(first: str, second: str, relation: Relation, roll: Random) -> str:
    """Two phrases and where the first stands: "a fox to the left of a star"."""
    joins: dict[Relation, tuple[str, ...]] = {
        "and": ("and", "and", "with"),
        "next to": ("next to", "beside"),
        "left": ("to the left of", "left of"),
        "right": ("to the right of", "right of"),
        "above": ("above", "over", "on top of"),
        "below": ("below", "under", "beneath"),
    }
    return f"{first} {pick(roll, joins[relation])} {second}"


def listed(phrases: Sequence[str]) -> str:
    """Several phrases: "a fox, a star and an apple"."""
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def colour_fits(concept: Concept, word: str) -> bool:
    """Whether "a WORD thing" says more than its name does."""
    return bool(word) and not coloured(concept)


def finished(roll: Random, words: str, style: str, ground: str) -> str:
    """The caption with its ground and, now and then, its style in words; `ground` "" is plain white and may go unsaid."""
    if ground or roll.random() < GROUND_SHARE:
        words = f"{words} {pick(roll, GROUND_PHRASES).format(ground or 'white', a=an(ground or 'white'))}"
    if style in STYLES and roll.random() < STYLE_SHARE:
        style_word = pick(roll, STYLES[style])
        form = roll.random()
        if form < 0.4:
            words = f"{words}, {style_word} style"
        elif form < 0.6:
            words = f"{words} in {style_word} style"
        elif form < 0.8:
            words = f"{style_word} emoji, {words}"
        else:
            words = f"{words}, {style_word}"
    return words
