"""What every reader of files hands over: a list of captioned pictures not opened yet, and the opening of one.

A picture that cannot be used is never an exception: `open_record` gives the reason instead, one of REASONS. The readers
are `folder`, `manifest`, `coco` and `shards`; the stream made of a listing is in `pictures`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from PIL import Image
from platformdirs import user_cache_path

from limner.data import parquet
from limner.errors import InputError
from limner.images import LARGEST, open_picture, peek

Reason = str
LARGEST_FILE = 512 * 2**20  # bytes of one picture file
LONGEST_CAPTION = 4096  # characters
SHOWN = 3  # examples kept of each reason
INDEX_FORMAT = 1

MISSING = "file is missing"
UNREADABLE = "file cannot be read"
IRREGULAR = "not a regular file"
EMPTY = "file is empty"
HUGE_FILE = f"file of more than {LARGEST_FILE // 2**20} MiB"
NO_PICTURE = "not a picture"
HUGE = f"more than {LARGEST // 2**20} megapixels"
WRONG_SUFFIX = "name and content disagree on the format"
BROKEN = "broken or truncated picture"
NO_CAPTION = "no caption"
BLANK_CAPTION = "blank caption"
LONG_CAPTION = f"caption of more than {LONGEST_CAPTION} characters"
NOT_TEXT = "caption is not UTF-8 text"
BAD_LINE = "line cannot be parsed"
ADDRESS = "a web address, not a file"
CUT_SHARD = "shard is broken or cut short"
NO_PARTNER = "caption without a picture"

_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".avif": "AVIF",
    ".tga": "TGA",
}


class Place(NamedTuple):
    """Where a picture's bytes lie: a whole file, a part of one, or a row of a Parquet column."""

    path: str
    offset: int = 0
    length: int | None = None  # None = to the end
    column: str = ""  # of a Parquet file; the offset is then the row


class Record(NamedTuple):
    """One picture by name, with the captions it may go by."""

    name: str
    place: Place
    captions: tuple[str, ...]


class Skipped:
    """Why things were left out: a count and a few names for each reason."""

    def __init__(self) -> None:
        self.counts: dict[Reason, int] = {}
        self.names: dict[Reason, list[str]] = {}

    def add(self, reason: Reason, name: str) -> None:
        """Count one more."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        shown = self.names.setdefault(reason, [])
        if len(shown) < SHOWN:
            shown.append(name)

    def __str__(self) -> str:
        """E.g. "3 no caption (a.png, b.png, c.png)"."""
        return "; ".join(f"{count} {reason} ({', '.join(self.names[reason])})" for reason, count in sorted(self.counts.items()))


class Listing(NamedTuple):
    """All that a reader found, in a fixed order, and what it left out."""

    records: list[Record]
    skipped: Skipped


def is_picture_name(name: str) -> bool:
    """Whether a file is called like a picture."""
    return PurePath(name).suffix.lower() in _SUFFIXES


def read_captions(texts: Iterable[object]) -> tuple[str, ...] | Reason:
    """Captions with their white space tidied, or why there is none."""
    captions, reason = [], NO_CAPTION
    for text in texts:
        if not isinstance(text, str):
            continue
        tidy = " ".join(text.split())
        if not tidy or len(tidy) > LONGEST_CAPTION:
            reason = LONG_CAPTION if tidy else BLANK_CAPTION
        else:
            captions.append(tidy)
    return tuple(captions) or reason


def decode_captions(data: bytes) -> tuple[str, ...] | Reason:
    """The captions of a text file, one a line, or why there is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return NOT_TEXT
    return read_captions([line for line in text.splitlines() if line.strip()] or [text])


def read_bytes(place: Place) -> bytes | Reason:
    """The bytes of a place, or why they cannot be had. Never waits on a pipe or reads a file without end."""
    try:
        if place.column:
            return parquet.row_bytes(place.path, place.column, place.offset) or EMPTY
        with os.fdopen(os.open(place.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return IRREGULAR
            length = status.st_size - place.offset if place.length is None else place.length
            if length > LARGEST_FILE:
                return HUGE_FILE
            file.seek(place.offset)
            data = file.read(length)
    except FileNotFoundError:
        return MISSING
    except IsADirectoryError:
        return IRREGULAR
    except (OSError, ValueError):  # ValueError: a null character in the name
        return UNREADABLE
    if len(data) < length:
        return CUT_SHARD
    return data or EMPTY


def open_record(record: Record) -> Image.Image | Reason:
    """The picture of a record as upright RGB on white, or why it cannot be used."""
    data = read_bytes(record.place)
    return data if isinstance(data, str) else decode(data, record.name)


def decode(data: bytes, name: str) -> Image.Image | Reason:
    """A picture from its bytes, or why it cannot be used; `name` is believed about the format."""
    try:
        with peek(data, name) as header:
            said, found = _SUFFIXES.get(PurePath(name).suffix.lower()), header.format
    except InputError as error:
        return HUGE if "Mpixel" in str(error) else NO_PICTURE
    if said is not None and said != found and not (said == "JPEG" and found == "MPO"):
        return WRONG_SUFFIX
    try:
        return open_picture(data)
    except InputError:
        return BROKEN


def cached(parts: Iterable[object], make: Callable[[], Listing]) -> Listing:
    """What `make` gives, kept in the cache folder under a name made of `parts` (paths, sizes, times).

    A cache that cannot be written or read costs time, nothing else.
    """
    key = hashlib.sha256(json.dumps([INDEX_FORMAT, *map(str, parts)]).encode()).hexdigest()
    path = Path(os.environ.get("LIMNER_CACHE") or user_cache_path("limner")) / "index" / f"{key[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return _thawed(json.loads(path.read_text(encoding="utf-8")))
    listing = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps([listing.records, listing.skipped.counts, listing.skipped.names]), encoding="utf-8")
        partial.replace(path)
    return listing


def _thawed(tree: list[object]) -> Listing:
    records, counts, names = tree
    if not isinstance(records, list) or not isinstance(counts, dict) or not isinstance(names, dict):
        raise TypeError("not an index")
    skipped = Skipped()
    skipped.counts, skipped.names = counts, names
    return Listing([Record(name, Place(*place), tuple(captions)) for name, place, captions in records], skipped)


def stamp(path: Path) -> tuple[str, int, int]:
    """What changes when a file does: its path, size and time."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns
