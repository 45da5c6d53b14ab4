"""A folder of pictures, each with a .txt of the same name beside it: one caption a line."""

from __future__ import annotations

import os
from pathlib import Path

from limner.data.listing import (
    NO_CAPTION,
    Listing,
    Place,
    Record,
    Skipped,
    cached,
    decode_captions,
    is_picture_name,
    read_bytes,
    stamp,
)


def list_folder(folder: Path) -> Listing:
    """Every picture in a folder and the folders in it, in the order of their names; hidden ones and linked folders are left."""
    files = _walk(folder)
    pictures = [file for file in files if is_picture_name(file.name)]
    texts = [file for file in files if file.suffix.lower() == ".txt"]
    stamps = [stamp(file) for file in (*pictures, *texts)]
    return cached(["folder", folder.resolve(), *stamps], lambda: _listed(folder, pictures, set(texts)))


def _walk(folder: Path) -> list[Path]:
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.exists()]


def _listed(folder: Path, pictures: list[Path], texts: set[Path]) -> Listing:
    records, skipped = [], Skipped()
    for path in pictures:
        name = path.relative_to(folder).as_posix()
        text = next((t for t in (path.with_suffix(".txt"), path.with_suffix(".TXT")) if t in texts), None)
        data = NO_CAPTION if text is None else read_bytes(Place(str(text)))
        captions = data if isinstance(data, str) else decode_captions(data)
        if isinstance(captions, str):
            skipped.add(NO_CAPTION if captions == "file is empty" else captions, name)
        else:
            records.append(Record(name, Place(str(path)), captions))
    return Listing(records, skipped)
