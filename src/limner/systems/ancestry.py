"""Which files a picture was made from: found by the hashes in its recipe, never by their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from limner import images, recipe
from limner.errors import InputError
from limner.recipe import Recipe
from limner.systems import masks

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".ico", ".tga"})


def near(source: object, given: Sequence[str | Path]) -> list[Path]:
    """Where a picture's parents may be: the files given, those in the folders given, and those beside the picture.

    Raises: InputError for a file or folder that is not there.
    """
    found: list[Path] = []
    for place in map(Path, given):
        if not place.exists():
            raise InputError(f"{place}: no such picture or folder")
        found += _pictures(place) if place.is_dir() else [place]
    if isinstance(source, str | Path):
        found += _pictures(Path(source).parent)
    return list(dict.fromkeys(found))


def parent(made: Recipe, places: Sequence[Path]) -> bytes:
    """The content of the file that a picture was made from; one with the same pixels serves when its metadata was changed.

    Raises: InputError with the hash that is missing.
    """
    return find(made, places).read_bytes()


def find(made: Recipe, places: Sequence[Path]) -> Path:
    """The file that a picture was made from. Raises: as `parent`."""
    wanted = made.parents[0] if made.parents else ""
    for place in places:
        if _digest(place) == wanted:
            return place
    pixels = made.extra.get("pixels")
    for place in places:
        if pixels and _pixels(place) == pixels:
            return place
    raise InputError(
        f"the picture it was made from is not at hand (sha256 {wanted or 'unknown'}); "
        f"{len(places)} files were looked at; name it with --parent"
    )


def chain(source: str | Path, given: Sequence[str | Path] = ()) -> list[Path]:
    """A picture and those it was made from that can be drawn again too, the oldest first.

    Raises: InputError when the picture has no recipe, or a place given is not there.
    """
    links = [Path(source)]
    made = recipe.read(source)
    seen: set[str] = set()
    while made.parents and made.parents[0] not in seen:
        seen.add(made.parents[0])
        places = near(links[0], given)
        try:
            older = find(made, places)
        except InputError:
            return links[1:] or links  # without its parent it is taken as it is
        try:
            made = recipe.read(older)
        except InputError:
            break  # a picture that limner did not make
        links.insert(0, older)
    return links


def _pictures(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError:
        return []


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _pixels(path: Path) -> str:
    try:
        return masks.digest(images.open_picture(path))
    except InputError:
        return ""
