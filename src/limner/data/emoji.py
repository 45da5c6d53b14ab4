"""The emoji source: permissively licensed emoji art with CLDR names, rendered once and composed into scenes on the fly.

`build` makes the folder, `open_emoji` reads it. The folder holds `meta.json`, `index.jsonl` (one line a picture) and
`side256.npy`, `side64.npy`, `side32.npy`: uint8 [N S S 4], premultiplied, in the order of the index.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from limner.data import art, captions, collage, compose, concepts, nouns, paint
from limner.data.collage import Scene
from limner.data.compose import Picture
from limner.data.concepts import Concept
from limner.data.paint import Paint
from limner.data.source import View
from limner.data.whole import free, whole
from limner.errors import DataError

FORMAT = 1
SIDE = 256
REDUCED = (4, 8)  # the smaller versions: a quarter and an eighth of the side
# The number was chosen so that fifty everyday words (fox, pizza, star, ...) stay in training, flat and noto.
SALT = "limner emoji 1874"
HELD_OUT_CONCEPTS = 0.05
HELD_OUT_PAIRS = 0.05
CAPTIONS, CAPTION_SEED = 20_000, 77  # whole captions given to a vocabulary

Part = Literal["train", "pair", "concept"]
Progress = Callable[[str, int, int], None]  # style, done, of


class Report(NamedTuple):
    """What a build made and what it skipped, by reason."""

    folder: Path
    concepts: int
    pictures: dict[str, int]
    skipped: dict[str, int]


def build(
    out: Path | str,
    *,
    packs: Sequence[str] = tuple(art.PACKS),
    side: int = SIDE,
    packs_from: Path | str | None = None,
    cache: Path | str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Fetch the packs, render every wanted icon once and write the folder; it appears whole or not at all.

    `packs_from` is a folder of packages that are already there; else npm fetches them into `cache`.
    Raises: DataError when a pack is unknown, cannot be fetched or is not the pinned one, when `out` is in the way,
        when the renderer is not installed, or when the disk is full.
    """
    out, kept = Path(out), Path(cache) if cache is not None else user_cache_path("limner") / "packs"
    unknown = [name for name in packs if name not in art.PACKS]
    if unknown or not packs:
        raise DataError(f"no such emoji pack: {', '.join(unknown) or 'none given'}; there are {', '.join(art.PACKS)}")
    if side % max(REDUCED) or side < max(REDUCED):
        raise DataError(f"side {side} does not fit; it must be a multiple of {max(REDUCED)}")
    free(out)
    if any(art.PACKS[name].form == "iconify" for name in packs):
        art.need_renderer()
    source = Path(packs_from) if packs_from is not None else None
    known = concepts.read(art.obtain(art.WORDS, kept, source))
    chosen = {name: art.obtain(art.PACKS[name], kept, source) for name in packs}
    with whole(out) as partial:
        report = _render(partial, chosen, known, side, progress or (lambda style, done, of: None))
    return report._replace(folder=out)


def _render(
    folder: Path, chosen: dict[str, dict[str, bytes]], known: concepts.Concepts, side: int, progress: Progress
) -> Report:
    """Draw every wanted icon of the chosen packs into a folder; what cannot be drawn is counted and left out."""
    wanted = [(style, icon, concept) for style, files in chosen.items() for icon, concept in _wanted(style, files, known)]
    pictures: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    drawn_concepts = set()
    with ExitStack() as stack:
        index = stack.enter_context((folder / "index.jsonl").open("w", encoding="utf-8"))
        stores = {s: stack.enter_context((folder / f"side{s}.npy").open("wb")) for s in (side, *(side // k for k in REDUCED))}
        for s, store in stores.items():
            _header(store, 0, s)
        for done, (style, icon, concept) in enumerate(wanted):
            progress(style, done, len(wanted))
            try:
                drawn = art.premultiplied(icon.draw(side))
                box = _box(drawn)
            except (ValueError, OSError, SyntaxError, MemoryError) as error:
                skipped[f"{style}: {str(error).partition(chr(10))[0] or type(error).__name__}"] += 1
                continue
            line = {
                "row": pictures.total(),
                **concept._asdict(),
                "style": style,
                "licence": art.PACKS[style].licence,
                "box": box,
            }
            index.write(json.dumps(line, ensure_ascii=False) + "\n")
            for s, store in stores.items():
                store.write((drawn if s == side else art.averaged(drawn, s)).tobytes())
            pictures[style] += 1
            drawn_concepts.add(concept.key)
        # Only now is the count known; numpy leaves room in the header for it to grow.
        for s, store in stores.items():
            store.seek(0)
            _header(store, pictures.total(), s)
    progress("done", len(wanted), len(wanted))
    if not pictures:
        raise DataError(f"no icon of {', '.join(chosen)} could be drawn: {dict(skipped)}")
    packs = [art.PACKS[style]._asdict() for style in chosen] + [art.WORDS._asdict()]
    meta = {"format": FORMAT, "side": side, "pictures": dict(pictures), "skipped": dict(skipped), "packs": packs}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    return Report(folder, len(drawn_concepts), dict(pictures), dict(skipped))


def _header(store: BinaryIO, rows: int, side: int) -> None:
    """The head of an .npy file. Written with plain writes: a memory map on a full disk would end the process."""
    described = {"descr": "|u1", "fortran_order": False, "shape": (rows, side, side, 4)}
    np.lib.format.write_array_header_1_0(store, described)


def _wanted(style: str, files: dict[str, bytes], known: concepts.Concepts) -> Iterator[tuple[art.Icon, Concept]]:
    """The icons of a pack that draw a kept concept, each concept once."""
    seen = set()
    for icon in art.icons(art.PACKS[style], files):
        concept = known.kept.get(concepts.plain(icon.code_points)) if icon.code_points else known.of_name(icon.name)
        if concept is not None and concept.key not in seen:
            seen.add(concept.key)
            yield icon, concept


def _box(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1) of what is not transparent. Raises: ValueError when there is nothing."""
    opaque = picture[..., 3] > 8
    xs, ys = np.flatnonzero(opaque.any(axis=0)), np.flatnonzero(opaque.any(axis=1))
    if not len(xs):
        raise ValueError("shows nothing")
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def share(*words: str) -> float:
    """A number in [0, 1) that belongs to these words for ever."""
    digest = hashlib.sha256("\n".join((SALT, *words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(concept: str, style: str) -> Part:
    """Which part of the data a picture belongs to, whatever else a folder holds."""
    if share("concept", concept) < HELD_OUT_CONCEPTS:
        return "concept"
    return "pair" if share("pair", concept, style) < HELD_OUT_PAIRS else "train"


def open_emoji(rest: str) -> EmojiSource:
    """The source of "emoji:FOLDER" or "emoji:FOLDER?styles=flat,noto&groups=food-drink&pairs=40", given what follows the colon.

    A group is one of Unicode's groups (food-drink) or subgroups (food-fruit) of emoji; `pairs` of a hundred views show two
    things, the other kinds of scenes share the rest as they always do.
    Raises: DataError when the folder is not a built one or a style or group is not in it.
    """
    folder, _, query = rest.partition("?")
    wanted: dict[str, tuple[str, ...]] = {"styles": (), "groups": (), "pairs": ()}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        if name not in wanted or (name == "pairs" and not re.fullmatch(r"\d{1,2}|100", value)):
            raise DataError(
                f"emoji:{rest}: {option!r} is no option; it can be styles=flat,noto,..., groups=food-drink,... or pairs=0..100"
            )
        wanted[name] = tuple(filter(None, value.split(",")))
    pairs = next(map(int, wanted["pairs"]), None)
    return EmojiSource(Path(folder), wanted["styles"], wanted["groups"], pairs)


class EmojiSource:
    """A built folder, opened: memory maps, the index and the split."""

    def __init__(self, folder: Path, styles: Sequence[str] = (), groups: Sequence[str] = (), pairs: int | None = None) -> None:
        try:
            self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            lines = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
            sides = [int(self.meta["side"]), *(int(self.meta["side"]) // k for k in REDUCED)]
            self.levels: dict[int, NDArray[np.uint8]] = {s: np.load(folder / f"side{s}.npy", mmap_mode="r") for s in sides}
            every = [_picture(json.loads(line)) for line in lines]
            if self.meta["format"] != FORMAT:
                raise ValueError(f"format {self.meta['format']}, this version reads {FORMAT}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}: not a folder made by `limner data build emoji` ({error})") from error
        there = list(dict.fromkeys(p.style for p in every))
        for kind, wanted, have in (
            ("style", styles, there),
            ("group", groups, list(dict.fromkeys(name for p in every for name in (p.concept.group, p.concept.subgroup)))),
        ):
            missing = [name for name in wanted if name not in have]
            if missing:
                raise DataError(f"{folder}: has no {kind} {', '.join(missing)}; it has {', '.join(have)}")
        if any(len(level) != len(every) for level in self.levels.values()):
            raise DataError(f"{folder}: its pictures and its index do not belong together; build it again")
        options = [f"{kind}={','.join(names)}" for kind, names in (("styles", styles), ("groups", groups)) if names]
        options += [] if pairs is None else [f"pairs={pairs}"]
        self.name = f"emoji:{folder}" + (f"?{'&'.join(options)}" if options else "")
        # All of the folder's, so that a vocabulary made here serves every choice of styles and groups.
        self.concepts = tuple(dict.fromkeys(p.concept for p in every))
        within = frozenset(groups)
        self.pictures = tuple(
            p for p in every if p.style in (styles or there) and (not within or {p.concept.group, p.concept.subgroup} & within)
        )
        self.train = tuple(p for p in self.pictures if split(p.concept.key, p.style) == "train")
        if not self.train:
            raise DataError(f"{folder}: holds no picture to train on")
        self._asked = (folder, tuple(styles), tuple(groups), pairs)
        self._mix = compose.MIX if pairs is None else compose.mix(pairs / 100)
        by_style = {style: tuple(p for p in self.train if p.style == style) for style in there}
        self._colours: dict[int, Paint | None] = {}
        self._cast = compose.Cast(by_style, self.colour_of)

    def __reduce__(self) -> tuple[type[EmojiSource], tuple[Path, tuple[str, ...], tuple[str, ...], int | None]]:
        """Sent to another process by name: a memory map would travel as all of its pictures."""
        return EmojiSource, self._asked

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th view, drawn. Shapes: image [side side 3] uint8."""
        scene = self.scene(k, seed)
        return View(collage.render(scene, self.levels, self.colour_of, side), scene.caption)

    def scene(self, k: int, seed: int) -> Scene:
        """What the k-th view shows: every (concept, style) pair of the training part plays the main part once an epoch."""
        epoch, place = divmod(k, len(self.train))
        main = self.train[int(_order(len(self.train), seed, epoch)[place])]
        return compose.scene(Random(f"{seed} {k}"), main, self._cast, self._mix)

    def captions(self) -> Iterator[str]:
        """Words enough for a vocabulary: every name, synonym and tag, every colour and number, and many whole captions."""
        for concept in self.concepts:
            for noun in nouns.nouns(concept):
                yield noun.one()
                if nouns.countable(concept) and noun.form == "counted":
                    yield noun.many(2)
            yield from concept.tags
        for colour in paint.GROUNDS:
            yield from (phrase.format(colour, a=nouns.an(colour)) for phrase in captions.GROUND_PHRASES)
        yield from nouns.NUMBERS.values()
        for k in range(CAPTIONS):
            yield self.scene(k, CAPTION_SEED).caption

    def part(self, kind: Part) -> list[Picture]:
        """The pictures of one part of the split.

        "train" is trained on; "pair" is a concept of the training part in a style that is not trained on;
        "concept" is a concept of which nothing is trained on.
        """
        if kind == "train":
            return list(self.train)
        known = {p.concept.key for p in self.train}
        held = [p for p in self.pictures if split(p.concept.key, p.style) != "train"]
        return [p for p in held if (p.concept.key in known) == (kind == "pair")]

    def held_out(self, side: int) -> list[View]:
        """Plain single icons that are never trained on: unseen styles of seen concepts first, then unseen concepts."""
        chosen = [*self.part("pair"), *self.part("concept")]
        return [View(self.single(p, side), nouns.nouns(p.concept)[0].one()) for p in chosen]

    def single(self, picture: Picture, side: int) -> NDArray[np.uint8]:
        """One icon on white, as plain views show it. Shapes: -> [side side 3]."""
        piece = collage.Piece(picture.row, 0.5, 0.5, compose.FRAME)
        return collage.render(Scene(collage.WHITE, (piece,), ""), self.levels, self.colour_of, side)

    def couple(self, left: Picture, right: Picture, side: int) -> NDArray[np.uint8]:
        """Two icons side by side on white, as views show them. Shapes: -> [side side 3]."""
        pieces = tuple(collage.Piece(one.row, x, 0.5, 0.48) for one, x in ((left, 0.25), (right, 0.75)))
        return collage.render(Scene(collage.WHITE, pieces, ""), self.levels, self.colour_of, side)

    def colour_of(self, row: int) -> Paint | None:
        """The main colour of a stored picture, found once."""
        if row not in self._colours:
            self._colours[row] = paint.main_colour(np.asarray(self.levels[min(self.levels)][row]))
        return self._colours[row]


def _picture(line: dict[str, Any]) -> Picture:
    """A line of the index, read."""
    concept = Concept(line["key"], line["label"], tuple(line["tags"]), line["group"], line["subgroup"])
    x0, y0, x1, y1 = line["box"]
    return Picture(int(line["row"]), concept, line["style"], line["licence"], (x0, y0, x1, y1))


@lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(length)
