"""What an emoji view shows: scenes of one or more icons and their words, decided from a random stream.

A scene knows no pixels: collage.py draws it at the side asked for, so that the 32-pixel and the 256-pixel view of one
number show the same thing. Words are made in captions.py, colours in paint.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from limner.data import captions, paint
from limner.data.captions import Relation, pick
from limner.data.collage import WHITE, Piece, Scene
from limner.data.concepts import Concept
from limner.data.nouns import countable, sized
from limner.data.paint import Paint

FRAME = 0.92  # side of a plain single icon's frame in sides of the picture
# How often each kind of scene comes; what is left is a plain single icon on white.
MIX = {"ground": 0.13, "colour": 0.15, "size": 0.04, "two": 0.12, "three": 0.03, "count": 0.07}
SHADE = 14  # grounds differ from their named colour by at most this much a channel
NOVEL_SHARE = 0.05
# Everyday thing and colour pairs that are never drawn in training, so that a prompt can ask for something new.
NOVEL = frozenset(
    {("fox", "green"), ("pizza", "blue"), ("elephant", "pink"), ("banana", "purple"), ("strawberry", "blue"), ("frog", "red")}
    | {
        ("penguin", "orange"),
        ("octopus", "yellow"),
        ("cat face", "purple"),
        ("cat", "purple"),
        ("dog face", "green"),
        ("dog", "green"),
    }
    | {
        ("lion", "blue"),
        ("automobile", "pink"),
        ("mushroom", "blue"),
        ("rocket", "green"),
        ("robot", "pink"),
        ("sunflower", "red"),
    }
)
# Mirroring these would make them wrong: they hold text, point somewhere or are named for their side.
FIXED_GROUPS = frozenset({"symbols"})
FIXED_SUBGROUPS = frozenset(
    {"time", "book-paper", "office", "mail", "money", "computer", "music"}
    | {"writing", "emotion", "place-map", "game", "event", "phone", "hand-single-finger"}
)
FIXED_WORDS = re.compile(
    r"\b(left|right|leftwards|rightwards|moon|quarter|sign|station|hospital|police|taxi|ambulance|SOON)\b", re.I
)
COUNTS = (2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6)
GRIDS: dict[int, tuple[tuple[int, ...], ...]] = {  # icons a row
    2: ((2,), (2,), (1, 1)),
    3: ((3,), (1, 2), (1, 2), (2, 1)),
    4: ((2, 2),),
    5: ((2, 3), (3, 2), (2, 1, 2)),
    6: ((3, 3), (2, 2, 2)),
}


class Picture(NamedTuple):
    """One line of the index: which concept in which style, under which licence, and its opaque box (x0, y0, x1, y1)."""

    row: int
    concept: Concept
    style: str
    licence: str
    box: tuple[int, int, int, int]


class Cast(NamedTuple):
    """Who may appear: the pictures of each style, and the main colour of a row."""

    by_style: Mapping[str, Sequence[Picture]]
    colour_of: Callable[[int], Paint | None]


class Actor(NamedTuple):
    """A picture chosen for a scene, the colour it is given ("" its own) and the adjective that must be said."""

    picture: Picture
    colour: str
    adjective: str


def novel(concept: Concept, colour: str) -> bool:
    """Whether this thing in this colour is kept out of training, for ever."""
    if (concept.label, colour) in NOVEL:
        return True
    digest = hashlib.sha256(f"limner colour\n{concept.key}\n{colour}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < NOVEL_SHARE


def paintable(concept: Concept) -> bool:
    """Whether the thing may be given a colour: no symbols, no people's skin, nothing that is named by its colour."""
    return concept.group not in ("symbols", "people-body") and captions.colour_fits(concept, "any")


def mix(pairs: float) -> dict[str, float]:
    """How often each kind comes when two things do so `pairs` of the time; the others keep their proportions."""
    kept = (1 - pairs) / (1 - MIX["two"])
    return {kind: pairs if kind == "two" else share * kept for kind, share in MIX.items()}


def scene(roll: Random, main: Picture, cast: Cast, shares: Mapping[str, float] = MIX) -> Scene:
    """Decide the scene in which a picture plays the main part."""
    drawn = roll.random()
    for kind, share in shares.items():
        drawn -= share
        if drawn < 0:
            if main.concept.group == "symbols" and kind != "ground":
                break
            made = _KINDS[kind](roll, main, cast)
            return made._replace(kind=kind) if made is not None else plain(roll, main, cast)
    return plain(roll, main, cast)


def plain(roll: Random, main: Picture, cast: Cast) -> Scene:
    """One icon on white; sometimes the caption names its own colour, or only its tags."""
    form = roll.random()
    own = cast.colour_of(main.row)
    if form < 0.05:
        words = captions.tags_alone(roll, main.concept)
    elif form < 0.17 and own is not None and captions.colour_fits(main.concept, own.word) and paintable(main.concept):
        words = captions.single(roll, main.concept, own.word)
    else:
        words = captions.single(roll, main.concept)
    return Scene(WHITE, (_centred(roll, main),), captions.finished(roll, words, main.style, ""))


def _ground(roll: Random, main: Picture, cast: Cast) -> Scene:
    colour, rgb = _ground_colour(roll, [_seen_colour(Actor(main, "", ""), cast)])
    words = captions.single(roll, main.concept)
    return Scene(rgb, (_centred(roll, main),), captions.finished(roll, words, main.style, colour))


def _colour(roll: Random, main: Picture, cast: Cast) -> Scene | None:
    actor = _painted(roll, main, cast)
    if not actor.colour:
        return None
    ground, rgb = "", WHITE
    if actor.colour == "white" or roll.random() < 0.15:
        ground, rgb = _ground_colour(roll, [actor.colour])
    words = captions.single(roll, main.concept, actor.adjective)
    piece = _centred(roll, main)._replace(colour=actor.colour)
    return Scene(rgb, (piece,), captions.finished(roll, words, main.style, ground))


def _size(roll: Random, main: Picture, cast: Cast) -> Scene | None:
    if sized(main.concept):
        return None
    ground, rgb = _ground_colour(roll, [_seen_colour(Actor(main, "", ""), cast)]) if roll.random() < 0.2 else ("", WHITE)
    if roll.random() < 0.6:
        size = 0.34 + 0.14 * roll.random()
        x, y = (0.5 + (roll.random() - 0.5) * (1 - size) * 0.8 for _ in "xy")
        piece = Piece(main.row, x, y, size, _mirrored(roll, main))
        words = captions.single(roll, main.concept, pick(roll, captions.SMALL))
    else:
        piece = Piece(main.row, 0.5, 0.5, 1.04 + 0.1 * roll.random(), _mirrored(roll, main))
        words = captions.single(roll, main.concept, pick(roll, captions.BIG))
    return Scene(rgb, (piece,), captions.finished(roll, words, main.style, ground))


def _two(roll: Random, main: Picture, cast: Cast) -> Scene | None:
    other = _partner(roll, [main], cast)
    if other is None:
        return None
    actors = [_painted(roll, p, cast) if roll.random() < 0.3 else Actor(p, "", "") for p in (main, other)]
    if roll.random() < 0.5:
        actors.reverse()
    relations: tuple[Relation, ...] = ("and", "and", "next to", "next to", "left", "right", "above", "above", "below")
    relation = pick(roll, relations)
    upright = relation in ("above", "below") or (relation == "and" and roll.random() < 0.2)
    swapped = relation in ("right", "below") or (relation in ("and", "next to") and roll.random() < 0.3)
    sizes = [0.46 + 0.04 * roll.random(), 0.46 + 0.04 * roll.random()]
    if roll.random() < 0.12:
        small = int(roll.random() * 2)
        sizes = [0.28 if i == small else 0.58 for i in (0, 1)]
        says = [pick(roll, captions.SMALL), pick(roll, captions.BIG)]
        actors = [a._replace(adjective=f"{says[0 if i == small else 1]} {a.adjective}".strip()) for i, a in enumerate(actors)]
    phrases = [captions.called(roll, a.picture.concept).one(a.adjective) for a in actors]
    words = captions.related(phrases[0], phrases[1], relation, roll)
    cut = (sizes[1] if swapped else sizes[0]) / sum(sizes)  # where the first place ends
    places = [cut / 2, cut + (1 - cut) / 2]
    if swapped:
        places.reverse()
    pieces = []
    for actor, place, size in zip(actors, places, sizes, strict=True):
        along, across = place + _shake(roll, 0.01), 0.5 + _shake(roll, 0.08)
        x, y = (across, along) if upright else (along, across)
        pieces.append(Piece(actor.picture.row, x, y, size, _mirrored(roll, actor.picture), actor.colour))
    ground, rgb = _scene_ground(roll, actors, cast)
    return Scene(rgb, tuple(pieces), captions.finished(roll, words, main.style, ground))


def _three(roll: Random, main: Picture, cast: Cast) -> Scene | None:
    chosen = [main]
    for _ in range(2):
        other = _partner(roll, chosen, cast)
        if other is None:
            return None
        chosen.append(other)
    actors = [_painted(roll, p, cast) if roll.random() < 0.2 else Actor(p, "", "") for p in chosen]
    phrases = [captions.called(roll, a.picture.concept).one(a.adjective) for a in actors]
    places, size = _grid(pick(roll, GRIDS[3]))
    pieces = tuple(
        Piece(a.picture.row, x + _shake(roll, 0.01), y + _shake(roll, 0.02), size, _mirrored(roll, a.picture), a.colour)
        for a, (x, y) in zip(actors, places, strict=True)
    )
    ground, rgb = _scene_ground(roll, actors, cast)
    return Scene(rgb, pieces, captions.finished(roll, captions.listed(phrases), main.style, ground))


def _count(roll: Random, main: Picture, cast: Cast) -> Scene | None:
    if not countable(main.concept):
        return None
    count = pick(roll, COUNTS)
    actor = _painted(roll, main, cast) if roll.random() < 0.3 else Actor(main, "", "")
    mirrored = _mirrored(roll, main)
    places, size = _grid(pick(roll, GRIDS[count]))
    pieces = tuple(
        Piece(main.row, x + _shake(roll, 0.01), y + _shake(roll, 0.01), size, mirrored, actor.colour) for x, y in places
    )
    words = captions.several(roll, main.concept, count, actor.adjective)
    ground, rgb = _scene_ground(roll, [actor], cast)
    return Scene(rgb, pieces, captions.finished(roll, words, main.style, ground))


_KINDS: dict[str, Callable[[Random, Picture, Cast], Scene | None]] = {
    "ground": _ground,
    "colour": _colour,
    "size": _size,
    "two": _two,
    "three": _three,
    "count": _count,
}


def _centred(roll: Random, picture: Picture) -> Piece:
    """A single icon: half of them exactly in the middle at the usual size, half a little off."""
    mirrored = _mirrored(roll, picture)
    if roll.random() < 0.5:
        return Piece(picture.row, 0.5, 0.5, FRAME, mirrored)
    return Piece(picture.row, 0.5 + _shake(roll, 0.03), 0.5 + _shake(roll, 0.03), FRAME + _shake(roll, 0.06), mirrored)


def _shake(roll: Random, reach: float) -> float:
    return (2 * roll.random() - 1) * reach


def _mirrored(roll: Random, picture: Picture) -> bool:
    """Whether to mirror: a third of the time, where nothing becomes wrong by it."""
    wanted = roll.random() < 1 / 3
    concept = picture.concept
    fixed = concept.group in FIXED_GROUPS or concept.subgroup in FIXED_SUBGROUPS or FIXED_WORDS.search(concept.label)
    return wanted and not fixed


def _painted(roll: Random, picture: Picture, cast: Cast) -> Actor:
    """The picture in another colour, with its word; as it is where that makes no sense or the pair is kept out."""
    colour, own = pick(roll, tuple(paint.COLOURS)), cast.colour_of(picture.row)
    fits = paintable(picture.concept) and own is not None and own.word != colour and not novel(picture.concept, colour)
    return Actor(picture, colour, colour) if fits else Actor(picture, "", "")


def _seen_colour(actor: Actor, cast: Cast) -> str:
    """The colour one sees: the given one, or the icon's own."""
    own = cast.colour_of(actor.picture.row)
    return actor.colour or (own.word if own is not None else "")


def _ground_colour(roll: Random, taken: Sequence[str]) -> tuple[str, tuple[int, int, int]]:
    """A named ground on which the icons stay visible, a little shaded."""
    free = [word for word in paint.GROUNDS if word != "white" and word.rpartition(" ")[2] not in taken]
    word = pick(roll, free)
    red, green, blue = (min(255, max(0, round(c + _shake(roll, SHADE)))) for c in paint.GROUNDS[word])
    return word, (red, green, blue)


def _scene_ground(roll: Random, actors: Sequence[Actor], cast: Cast) -> tuple[str, tuple[int, int, int]]:
    """Mostly white; a colour now and then, and always behind something white."""
    taken = [_seen_colour(actor, cast) for actor in actors]
    if roll.random() < 0.15 or any(actor.colour == "white" for actor in actors):
        return _ground_colour(roll, taken)
    return "", WHITE


def _partner(roll: Random, chosen: Sequence[Picture], cast: Cast) -> Picture | None:
    """Another thing in the same style, a few tries long; symbols and scenes do not make company."""
    others = cast.by_style[chosen[0].style]
    for _ in range(8):
        other = pick(roll, others)
        if other.concept.group != "symbols" and all(other.concept.key != p.concept.key for p in chosen):
            return other
    return None


def _grid(rows: tuple[int, ...]) -> tuple[list[tuple[float, float]], float]:
    """Centres row by row in the middle of the picture, and the side of a frame."""
    cell = 1 / max(len(rows), *rows)
    places = []
    for j, row in enumerate(rows):
        y = 0.5 + (j - (len(rows) - 1) / 2) * cell
        places += [(0.5 + (i - (row - 1) / 2) * cell, y) for i in range(row)]
    return places, cell * 0.96
