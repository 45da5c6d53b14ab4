"""What `limner data check` and `limner data stats` say about a source: plain figures, no printing."""

from __future__ import annotations

import hashlib
import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from limner.data.listing import Record, Skipped, decode, read_bytes
from limner.data.pictures import Pictures
from limner.data.source import Source, open_source
from limner.errors import DataError, InputError
from limner.images import peek

SAMPLED_VIEWS = 200  # of an endless source, side SAMPLED_SIDE
SAMPLED_SIDE = 64
MEASURED = 5000  # headers read for the sizes, evenly spread
SHOWN_WORDS = 20


class Check(NamedTuple):
    """How far a check has come and what it has found."""

    name: str
    done: int
    total: int  # pictures listed, usable or not; for an endless source the views tried
    usable: int
    duplicates: int  # usable pictures whose file has been met before, byte for byte
    skipped: dict[str, int]  # reason -> how many
    examples: dict[str, list[str]]  # reason -> up to three names


class Spread(NamedTuple):
    """How a figure is spread."""

    least: float
    median: float
    mean: float
    p95: float
    most: float


class Stats(NamedTuple):
    """What a source holds."""

    name: str
    pictures: int | None  # to train on; None = endless
    held_out: int
    captions: int  # of an endless source: those sampled
    distinct: int
    words: Spread  # a caption
    vocabulary: int
    frequent: list[tuple[str, int]]  # the most frequent words
    widths: Spread | None  # pixels; None = drawn at any size
    heights: Spread | None
    formats: dict[str, int]
    skipped: dict[str, int]  # by the listing; opening every file is check's work


def check(spec: str) -> Check:
    """Open every picture of a source and say what cannot be used.

    Raises: DataError when nothing can be read at all.
    """
    *_, last = checking(spec)
    return last


def checking(spec: str) -> Iterator[Check]:
    """`check` as it goes: one growing result a picture, at least one."""
    source = open_source(spec)
    return _checking_files(source) if isinstance(source, Pictures) else _checking_views(source)


def _checking_files(source: Pictures) -> Iterator[Check]:
    listed = source.listed
    skipped = Skipped()
    skipped.counts.update(listed.skipped.counts)
    skipped.names.update(_copied(listed.skipped))
    before = sum(skipped.counts.values())
    total, usable, met, duplicates = before + len(listed.records), 0, set(), 0
    for done, record in enumerate(listed.records, before + 1):
        data = read_bytes(record.place)
        found = data if isinstance(data, str) else decode(data, record.name)
        if isinstance(found, Image.Image):
            usable += 1
            digest = hashlib.sha256(data if isinstance(data, bytes) else b"").digest()
            duplicates += digest in met
            met.add(digest)
        else:
            skipped.add(found, record.name)
        yield Check(source.name, done, total, usable, duplicates, dict(skipped.counts), _copied(skipped))


def _checking_views(source: Source) -> Iterator[Check]:
    skipped, usable, met, duplicates = Skipped(), 0, set(), 0
    for k in range(SAMPLED_VIEWS):
        view = source.view(k, SAMPLED_SIDE, 0)
        if view.image.shape != (SAMPLED_SIDE, SAMPLED_SIDE, 3) or not view.caption.strip():
            skipped.add("wrong shape or no caption", f"view {k}")
        else:
            usable += 1
            digest = view.image.tobytes()
            duplicates += digest in met
            met.add(digest)
        yield Check(source.name, k + 1, SAMPLED_VIEWS, usable, duplicates, dict(skipped.counts), _copied(skipped))


def _copied(skipped: Skipped) -> dict[str, list[str]]:
    return {reason: list(names) for reason, names in skipped.names.items()}


def stats(spec: str) -> Stats:
    """What a source holds. Raises: DataError when nothing can be read at all."""
    source = open_source(spec)
    captions = list(source.captions())
    if not captions:
        raise DataError(f"{spec}: has no captions")
    split = [caption.lower().split() for caption in captions]
    words = Counter(word.strip(".,;:!?\"'()") for caption in split for word in caption)
    del words[""]
    sizes, formats = _measured(source.listed.records) if isinstance(source, Pictures) else ([], Counter[str]())
    return Stats(
        name=source.name,
        pictures=len(source.train) if isinstance(source, Pictures) else None,
        held_out=len(source.back) if isinstance(source, Pictures) else len(source.held_out(SAMPLED_SIDE)),
        captions=len(captions),
        distinct=len(set(captions)),
        words=spread([len(caption) for caption in split]),
        vocabulary=len(words),
        frequent=words.most_common(SHOWN_WORDS),
        widths=spread([width for width, _ in sizes]) if sizes else None,
        heights=spread([height for _, height in sizes]) if sizes else None,
        formats=dict(formats),
        skipped=dict(source.listed.skipped.counts) if isinstance(source, Pictures) else {},
    )


def _measured(records: Sequence[Record]) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Sizes and formats by the headers of at most MEASURED pictures; what cannot be opened is left out."""
    sizes, formats = [], Counter[str]()
    for record in itertools.islice(records, 0, None, -(-len(records) // MEASURED)):
        data = read_bytes(record.place)
        if isinstance(data, bytes):
            try:
                header = peek(data, record.name)
            except InputError:
                continue
            sizes.append(header.size)
            formats[header.format or "unknown"] += 1
    return sizes, formats


def spread(values: Sequence[float]) -> Spread:
    """Least, median, mean, 95th percentile and most of some values, at least one."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Spread(ordered[0], statistics.median(ordered), round(statistics.fmean(ordered), 2), p95, ordered[-1])
