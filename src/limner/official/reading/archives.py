"""The directory of a zip archive, read without unpacking anything: names, places and sizes, all checked.

torch writes its files as zip archives whose entries are stored as they are, so tensors can be views of the mapped file.
Nothing here writes a path or inflates more than a little text.
"""

from __future__ import annotations

import itertools
import stat
import struct
import zlib
from typing import NamedTuple

from limner.errors import CheckpointError
from limner.official.reading.mapped import Mapped

_DIRECTORY = 2**24  # bytes of the list of entries; of the released files the longest takes under 2**18
_TEXT = 2**22  # bytes of inflated text
_END, _END_64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY = struct.Struct("<4s6H3I5H2I")


class Entry(NamedTuple):
    """A file of an archive."""

    name: str
    start: int  # where its bytes lie in the archive
    size: int  # bytes as they lie there
    inflated: int  # bytes of its contents
    stored: bool  # as it is, not compressed


def entries(file: Mapped) -> dict[str, Entry]:
    """The files of an archive by name.

    Raises: CheckpointError for an archive that is damaged or cut short, or has entries that no checkpoint has: twice the same
        name, names that lead out of the archive, links, encryption, entries that lie over each other.
    """
    try:
        start, size = _directory(file)
        found = _listed(file, start, size)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise _broken(file, str(error)) from None
    spans = sorted((entry.start, entry.start + entry.size) for entry in found.values() if entry.size)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        if begin < end:
            raise CheckpointError(f"{file.path}: two files of the archive lie over each other, as in a zip bomb; refused")
    return found


def text(file: Mapped, entry: Entry) -> str:
    """The contents of a small text, inflated when it is compressed.

    Raises: CheckpointError when it is longer than such a text is.
    """
    if max(entry.size, entry.inflated) > _TEXT:
        raise CheckpointError(f"{file.path}: {entry.name!r:.80} is {entry.inflated} bytes of text; refused")
    data = file.cut(entry.start, entry.size)
    if not entry.stored:
        try:
            data = zlib.decompressobj(-15).decompress(data, _TEXT)
        except zlib.error:
            raise _broken(file, f"{entry.name!r:.80} cannot be inflated") from None
    return data.decode("utf-8", errors="replace")


def _directory(file: Mapped) -> tuple[int, int]:
    """Where the list of entries lies and how long it is."""
    at = file.bytes.rfind(_END, max(0, file.size - 2**16 - 22))
    if at < 0:
        raise CheckpointError(f"{file.path}: a zip archive without its end: it is cut short; fetch it again")
    size, start = struct.unpack("<2I", file.cut(at + 12, 8))
    if 0xFFFFFFFF in (size, start):
        mark, _, place = struct.unpack("<4sIQ", file.cut(at - 20, 16))
        if mark != _LOCATOR or file.cut(place, 4) != _END_64:
            raise _broken(file, "its end is damaged")
        size, start = struct.unpack("<2Q", file.cut(place + 40, 16))
    if size > _DIRECTORY or start + size > file.size:
        raise _broken(file, f"its list of files is said to be {size} bytes at {start}, the whole is {file.size}")
    return start, size


def _listed(file: Mapped, start: int, size: int) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    data, at = file.cut(start, size), 0
    while at < size:
        fields = _ENTRY.unpack_from(data, at)
        mark, made, _, flags, method = fields[:5]
        packed, inflated, long_name, long_extra, long_note = fields[8:13]
        if mark != b"PK\x01\x02":
            raise _broken(file, "its list of files is damaged")
        name = data[at + 46 : at + 46 + long_name].decode("utf-8")
        extra = data[at + 46 + long_name : at + 46 + long_name + long_extra]
        inflated, packed, local = _wide(extra, inflated, packed, fields[16])
        _check_name(file, name, found, fields[15] >> 16 if made >> 8 == 3 else 0)
        if flags & 1 or method not in (0, 8):
            raise CheckpointError(f"{file.path}: {name!r:.80} is encrypted or packed in a way torch never writes; refused")
        if method == 0 and packed != inflated:
            raise _broken(file, f"{name!r:.80} has two sizes, {packed} and {inflated}")
        found[name] = Entry(name, _begin(file, name, local, packed), packed, inflated, method == 0)
        at += 46 + long_name + long_extra + long_note
    return found


def _wide(extra: bytes, inflated: int, packed: int, local: int) -> tuple[int, int, int]:
    """Sizes and place of an entry, from its 64-bit field where the 32-bit ones are full."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field, place, values = extra[at + 4 : at + 4 + size], 0, []
            for value in (inflated, packed, local):
                if value == 0xFFFFFFFF:
                    value, place = struct.unpack_from("<Q", field, place)[0], place + 8
                values.append(value)
            return values[0], values[1], values[2]
        at += 4 + size
    return inflated, packed, local


def _check_name(file: Mapped, name: str, found: dict[str, Entry], mode: int) -> None:
    parts = name.replace("\\", "/").split("/")
    if name in found:
        raise CheckpointError(f"{file.path}: holds the file {name!r:.80} twice; which of the two is meant cannot be known")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise CheckpointError(f"{file.path}: holds a file called {name!r:.80}, which leads out of the archive; refused")
    if stat.S_ISLNK(mode):
        raise CheckpointError(f"{file.path}: holds the link {name!r:.80}; checkpoints have none; refused")


def _begin(file: Mapped, name: str, local: int, packed: int) -> int:
    """Where the bytes of an entry begin: behind its own header, whose names may be longer than in the list."""
    head = file.cut(local, 30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise _broken(file, f"{name!r:.80} is not where the list of files says")
    name_size, extra_size = struct.unpack_from("<2H", head, 26)
    start: int = local + 30 + name_size + extra_size
    if start + packed > file.size:
        raise _broken(file, f"{name!r:.80} would end behind the end of the file")
    return start


def _broken(file: Mapped, why: str) -> CheckpointError:
    return CheckpointError(f"{file.path}: not a whole zip archive ({why}); fetch it again")
