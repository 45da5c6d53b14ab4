"""The language of the shapes world: captions written from descriptions, and descriptions parsed back from captions.

A description says which shapes there are and how they lie; what it leaves open (a size, a relation) any picture may
choose. One description has many wordings and every wording parses back to it. The pictures are in `shapes`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from itertools import permutations
from typing import Literal, NamedTuple, get_args

from limner.data.dice import Dice
from limner.errors import InputError

Kind = Literal["circle", "square", "triangle"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "black"]
Size = Literal["small", "large"]
Where = Literal["above", "below", "left of", "right of"]

KINDS: tuple[Kind, ...] = get_args(Kind)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
WHERE: tuple[Where, ...] = get_args(Where)
OPPOSITE: dict[Where, Where] = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}

HELD_OUT_SHARE = 10  # one description in so many is never trained on

# The first wording of each is the plain one.
_SIZE_WORDS: dict[Size, tuple[str, ...]] = {"small": ("small", "small", "little"), "large": ("large", "large", "big")}
_WHERE_WORDS: dict[Where, tuple[str, ...]] = {
    "above": ("above", "above", "over"),
    "below": ("below", "below", "under", "beneath"),
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
}
_OPENINGS = ("", "", "", "there is ", "a picture of ")


class Item(NamedTuple):
    """A shape as words name it; size None = not said, any size fits."""

    kind: Kind
    colour: Colour
    size: Size | None = None


class Relation(NamedTuple):
    """Items `first` (by index) lie `where` items `second`."""

    first: tuple[int, ...]
    where: Where
    second: tuple[int, ...]


class Description(NamedTuple):
    """All that a caption promises: exactly these items, and these relations."""

    items: tuple[Item, ...]
    relations: tuple[Relation, ...] = ()


def describe(roll: Dice) -> Description:
    """A random description: 1, 2 or 3 shapes (30, 50, 20 %), no two alike in kind and colour."""
    count = (1, 1, 1, 2, 2, 2, 2, 2, 3, 3)[roll(10)]
    items: list[Item] = []
    while len(items) < count:
        kind, colour = KINDS[roll(len(KINDS))], COLOURS[roll(len(COLOURS))]
        size = SIZES[roll(2)] if roll(4) else None
        if all((kind, colour) != item[:2] for item in items):
            items.append(Item(kind, colour, size))
    return Description(tuple(items), _relate(count, roll))


def _relate(count: int, roll: Dice) -> tuple[Relation, ...]:
    """One relation in a pair (85 %); in a trio, one in its first two (75 %) and one of both to the third."""
    if count == 2:
        return (Relation((0,), WHERE[roll(4)], (1,)),) if roll(20) < 17 else ()
    if count == 3 and roll(5):
        pair = Relation((0,), WHERE[roll(4)], (1,))
        across = WHERE[roll(2) + (2 if pair.where in ("above", "below") else 0)]
        both = Relation((0, 1), across, (2,))
        return (pair, both) if roll(4) else (both,)
    return ()


def held_out(description: Description) -> bool:
    """Whether a description belongs to the tenth that training never sees, whatever its wording."""
    return zlib.crc32(canonical(description).encode()) % HELD_OUT_SHARE == 0


def canonical(description: Description) -> str:
    """One text for all descriptions that mean the same (order of items, "left of" against "right of")."""
    return min(_orderings(description))


def _orderings(description: Description) -> Iterator[str]:
    items, relations = description
    names = [f"{item.size or 'any'} {item.colour} {item.kind}" for item in items]
    for order in permutations(range(len(items))):
        place = {item: position for position, item in enumerate(order)}
        facts = []
        for first, where, second in relations:
            if where in ("below", "right of"):
                first, where, second = second, OPPOSITE[where], first
            facts.append(f"{sorted(place[i] for i in first)} {where} {sorted(place[i] for i in second)}")
        yield "; ".join([*(names[i] for i in order), *sorted(facts)])


def write(description: Description, roll: Dice) -> str:
    """One of the wordings of a description."""
    items, relations = description
    names = [_name(item, roll) for item in items]
    opening = _OPENINGS[roll(len(_OPENINGS))]
    match len(items), relations:
        case 1, ():
            return opening + names[0]
        case 2, ():
            return f"{opening}{names[0]} and {names[1]}"
        case 2, (Relation((0,), where, (1,)),):
            if roll(6) == 0:  # turned round: "above a red circle is a blue square"
                return f"{_where(where, roll)} {names[1]} is {names[0]}"
            return f"{opening}{names[0]} {_where(where, roll)} {names[1]}"
        case 3, ():
            return f"{opening}{names[0]}, {names[1]} and {names[2]}"
        case 3, (Relation((0, 1), across, (2,)),):
            return f"{opening}{names[0]} and {names[1]}, both {_where(across, roll)} {names[2]}"
        case 3, (Relation((0,), where, (1,)), Relation((0, 1), across, (2,))):
            return f"{opening}{names[0]} {_where(where, roll)} {names[1]}, both {_where(across, roll)} {names[2]}"
    raise InputError(f"no caption can say {description}; relations go from item 0 to 1 and from both to 2")


def _name(item: Item, roll: Dice) -> str:
    words: list[str] = [item.colour, item.kind]
    if item.size is not None:
        words.insert(0, _SIZE_WORDS[item.size][roll(3)])
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _where(where: Where, roll: Dice) -> str:
    return _WHERE_WORDS[where][roll(len(_WHERE_WORDS[where]))]


_SIZE_OF = {word: size for size, words in _SIZE_WORDS.items() for word in words}
_WHERE_OF = {word: where for where, words in _WHERE_WORDS.items() for word in words}
_ITEM = rf"(?:an?|one|the) (?:(?:{'|'.join(_SIZE_OF)}) )?(?:{'|'.join(COLOURS)}) (?:{'|'.join(KINDS)})"
_REL = "|".join(sorted(_WHERE_OF, key=len, reverse=True))
_FORMS: tuple[tuple[re.Pattern[str], tuple[int, ...]], ...] = tuple(
    (re.compile(form), places)
    for form, places in (
        (rf"({_ITEM})", ()),
        (rf"({_ITEM}) and ({_ITEM})", ()),
        (rf"({_ITEM}) (?:is )?({_REL}) ({_ITEM})", (1,)),
        (rf"({_REL}) ({_ITEM}) (?:there )?is ({_ITEM})", (-1,)),
        (rf"({_ITEM}), ({_ITEM}),? and ({_ITEM})", ()),
        (rf"({_ITEM}) and ({_ITEM}),? both ({_REL}) ({_ITEM})", (2,)),
        (rf"({_ITEM}) ({_REL}) ({_ITEM}),? (?:and )?both ({_REL}) ({_ITEM})", (1, 2)),
    )
)
_OPENING = re.compile(r"(?:there is|there are|here is|an? (?:picture|image|drawing) of|the picture shows) ")


def parse(caption: str) -> Description:
    """What a caption promises.

    Raises: InputError when it is not a sentence of the shapes world; the message shows one that is.
    """
    text = " ".join(caption.lower().split()).rstrip(".!")
    text = _OPENING.sub("", text, count=1) if _OPENING.match(text) else text
    for form, places in _FORMS:
        if found := form.fullmatch(text):
            parts = found.groups()
            items = tuple(_item(part) for part in parts if part not in _WHERE_OF)
            words = [_WHERE_OF[part] for part in parts if part in _WHERE_OF]
            return Description(items if places != (-1,) else items[::-1], tuple(map(_relation, places, words)))
    raise InputError(
        f"{caption!r:.120} is no sentence of the shapes world; one is 'a small red square above a large blue circle' "
        f"(colours: {', '.join(COLOURS)}; kinds: {', '.join(KINDS)}; at most three shapes)"
    )


def _item(text: str) -> Item:
    words = text.split()[1:]
    size = _SIZE_OF[words.pop(0)] if len(words) == 3 else None
    colour = next(colour for colour in COLOURS if colour == words[0])
    kind = next(kind for kind in KINDS if kind == words[1])
    return Item(kind, colour, size)


def _relation(place: int, where: Where) -> Relation:
    return Relation((0, 1), where, (2,)) if place == 2 else Relation((0,), where, (1,))
