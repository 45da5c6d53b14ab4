"""WebDataset shards: plain tars whose members with one name stem are one example (a.jpg, a.txt or a.json).

Members are indexed by their offset, so that any picture is one seek away and training resumes exactly; the index is
kept in the cache. Writing goes through the webdataset library.
"""

from __future__ import annotations

import importlib
import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.data.listing import (
    BAD_LINE,
    CUT_SHARD,
    NO_CAPTION,
    NO_PARTNER,
    Listing,
    Place,
    Reason,
    Record,
    Skipped,
    cached,
    decode_captions,
    is_picture_name,
    open_record,
    read_bytes,
    read_captions,
    stamp,
)
from limner.errors import DataError
from limner.images import peek

PER_SHARD = 1000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
_CAPTION_SUFFIXES = ("txt", "caption", "cap", "text")


def expand(pattern: str) -> list[str]:
    """The names a pattern stands for: "a-{000..010}.tar", "{x,y}.tar", "*.tar"."""
    found = _RANGE.search(pattern)
    if found is None:
        return _globbed(Path(pattern)) if any(sign in pattern for sign in "*[") else [pattern]
    first, last, words = found.groups()
    if words is None:
        numbers = range(int(first), int(last) + 1)
        choices = [str(number).zfill(len(first)) for number in numbers]
    else:
        choices = words.split(",")
    return [name for choice in choices for name in expand(pattern[: found.start()] + choice + pattern[found.end() :])]


def _globbed(pattern: Path) -> list[str]:
    return sorted(str(path) for path in pattern.parent.glob(pattern.name))


def list_shards(pattern: str) -> Listing:
    """Every example of the shards a pattern names, in their order.

    Raises: DataError when there are none, one is missing, or one is compressed.
    """
    paths = [Path(name) for name in expand(pattern)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        what = f"no such shard {missing[0]}, {len(missing)} of {len(paths)} missing" if missing else "no shard fits"
        raise DataError(f"{pattern}: {what}; name only shards that exist")
    records, skipped = [], Skipped()
    for path in paths:
        shard = cached(["shard", *stamp(path)], lambda path=path: _index(path))  # type: ignore[misc]
        records += shard.records
        for reason, count in shard.skipped.counts.items():
            skipped.counts[reason] = skipped.counts.get(reason, 0) + count
            skipped.names[reason] = [*skipped.names.get(reason, []), *shard.skipped.names[reason]][:3]
    return Listing(records, skipped)


def _index(path: Path) -> Listing:
    """The examples of one shard; members of one stem follow each other."""
    records, skipped = [], Skipped()
    with path.open("rb") as file:
        start = file.read(6)
    if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start == b"\xfd7zXZ\x00" or start[:4] == b"\x28\xb5\x2f\xfd":
        raise DataError(f"{path}: a compressed shard cannot be read at any place; unpack it first (pictures hardly shrink)")
    for stem, members in itertools.groupby(_members(path, skipped), lambda member: member[0]):
        found = _example(path, stem, {suffix: place for _, suffix, place in members})
        if isinstance(found, str):
            skipped.add(found, f"{path.name}/{stem}")
        else:
            records.append(found)
    return Listing(records, skipped)


def _members(path: Path, skipped: Skipped) -> Iterator[tuple[str, str, Place]]:
    """Stem, suffix and place of each regular member; a broken tar gives what lies before the break."""
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not member.isreg() or not stem:
                    continue
                if member.offset_data + member.size > size:
                    skipped.add(CUT_SHARD, f"{path.name}/{member.name}")
                    return
                yield f"{folder}/{stem}".lstrip("/"), suffix, Place(str(path), member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError):
        skipped.add(CUT_SHARD, path.name)


def _example(path: Path, stem: str, members: dict[str, Place]) -> Record | Reason:
    picture = next((suffix for suffix in members if is_picture_name(f"x.{suffix.rpartition('.')[2]}")), None)
    if picture is None:
        return NO_PARTNER
    captions: tuple[str, ...] | Reason = NO_CAPTION
    for suffix in _CAPTION_SUFFIXES:
        if suffix in members:
            data = read_bytes(members[suffix])
            captions = data if isinstance(data, str) else decode_captions(data)
            break
    else:
        if "json" in members:
            captions = _json_captions(read_bytes(members["json"]))
    if isinstance(captions, str):
        return NO_CAPTION if captions == "file is empty" else captions
    return Record(f"{path.name}/{stem}.{picture}", members[picture], captions)


def _json_captions(data: bytes | Reason) -> tuple[str, ...] | Reason:
    if isinstance(data, str):
        return data
    try:
        tree: Any = json.loads(data)
    except (ValueError, RecursionError):
        return BAD_LINE
    if not isinstance(tree, dict):
        return BAD_LINE
    texts = tree.get("caption", tree.get("text", tree.get("captions")))
    return read_captions(texts if isinstance(texts, list) else [texts])


def build(records: list[Record], out: Path, per_shard: int = PER_SHARD) -> Iterator[tuple[int, int, Skipped]]:
    """Pack pictures into shards `out/00000.tar`, ...; yields after each picture (packed, of, skipped).

    Equal input gives equal bytes. A picture that cannot be opened is left out; the others are stored as they are.
    Raises: DataError when `out` holds shards already, or the library is missing.
    """
    try:
        webdataset = importlib.import_module("webdataset")
    except ImportError:
        raise DataError("writing shards needs webdataset; install limner[train]") from None
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise DataError(f"{out}: holds shards already; choose another folder or remove them")
    skipped, packed = Skipped(), 0
    groups = (records[first : first + per_shard] for first in range(0, len(records), per_shard))
    for number, group in enumerate(groups):
        path = out / f"{number:05}.tar"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file, webdataset.TarWriter(file, user="", group="", mtime=0) as writer:
            for record in group:
                picture, data = open_record(record), read_bytes(record.place)
                if isinstance(picture, str) or isinstance(data, str):
                    skipped.add(str(picture), record.name)
                else:
                    with peek(data, record.name) as header:
                        suffix = (header.format or "png").lower()
                    writer.write({"__key__": f"{packed:08}", suffix: data, "txt": "\n".join(record.captions)})
                    packed += 1
                yield packed, len(records), skipped
        partial.replace(path)
