"""What every training set looks like from outside: an endless, numbered stream of captioned pictures.

View k of a source is a pure function of (k, side, seed): training resumes exactly by remembering one number, and
ranks split the stream by number. The kinds of source live beside this file (shapes, emoji, files).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from limner.errors import DataError

KINDS = (
    '"shapes" or "shapes?unplaced=50", "emoji:FOLDER", "redrawn:FOLDER", a folder of pictures with .txt captions, '
    'a .csv / .jsonl / .parquet manifest, a COCO captions .json, or tar shards such as "a-{000..010}.tar"'
)


class View(NamedTuple):
    """One training example: an RGB picture [side side 3] uint8 and its words."""

    image: NDArray[np.uint8]
    caption: str
    low: NDArray[np.uint8] | None = None  # what an upsampler is shown of it, [s s 3]; None = the picture itself, made smaller


class Source(Protocol):
    """A training set."""

    @property
    def name(self) -> str:
        """What logs and cards call it."""

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th view of the endless stream, k >= 0; which epoch it lies in follows from k."""

    def captions(self) -> Iterable[str]:
        """Captions enough to train a vocabulary on; finite."""

    def held_out(self, side: int) -> list[View]:
        """Views that `view` never gives, the same ones every time."""


def open_source(spec: str) -> Source:
    """The source a preset or a command line names.

    Raises: DataError when nothing of that name can be read; the message lists the forms there are.
    """
    word, _, rest = spec.partition(":")
    name, _, options = spec.partition("?")
    if name == "shapes":
        from limner.data.shapes import open_shapes

        return open_shapes(options)
    if word == "emoji":
        from limner.data.emoji import open_emoji

        return open_emoji(rest)
    if word == "redrawn":
        from limner.data.redrawn import open_redrawn

        return open_redrawn(rest)
    if not spec.strip():
        raise DataError(f"no data source given; it can be {KINDS}")
    return _open_files(spec)


def moved(spec: str, change: Callable[[str], str]) -> str:
    """A source's name with its paths changed; one without a path as it is."""
    word, colon, rest = spec.partition(":")
    if word not in ("emoji", "redrawn"):
        word, colon, rest = "", "", spec
    path, mark, options = rest.partition("?")
    if not word and path == "shapes":
        return spec
    options = re.sub("(?<=images=)[^&]+", lambda found: change(found[0]), options)
    return f"{word}{colon}{change(path)}{mark}{options}"


def _open_files(spec: str) -> Source:
    """The source in a path, which options may follow: "photos?crop=random"."""
    from limner.data.pictures import Pictures, find_listing, parse_options

    path, _, options = spec.partition("?") if "=" in spec else (spec, "", "")
    chosen = parse_options(options, spec)
    if (Path(path) / "meta.json").is_file() and (Path(path) / "index.jsonl").is_file():
        from limner.data.emoji import open_emoji

        return open_emoji(path)
    listing = find_listing(path, chosen.images)
    if listing is None:
        raise DataError(f"{path}: no such data source; it can be {KINDS}")
    return Pictures(spec, listing, chosen)
