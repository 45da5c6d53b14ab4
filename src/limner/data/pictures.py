"""The stream made of files: shuffled anew each epoch, cropped square, a hundredth kept for evaluation.

View k lies in epoch k // length at the place the permutation of (seed, epoch) gives it. A file that cannot be used is
counted with its reason and the next one of the permutation stands in, so the stream never breaks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.data.dice import Dice, dice, permutation
from limner.data.folder import list_folder
from limner.data.listing import Listing, Record, Skipped, open_record
from limner.data.manifest import SUFFIXES, list_manifest
from limner.data.shards import list_shards
from limner.data.source import View
from limner.errors import DataError

HELD_OUT_SHARE = 100  # one picture in so many
HELD_OUT_FROM = 200  # a smaller set is trained on whole
KEPT = 256 * 2**20  # bytes of cropped pictures kept in memory
SMALLEST_CROP = 0.8  # of the shorter side, when crops are random
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # a table inside a folder


class Options(NamedTuple):
    """What may follow a path: "photos?crop=random&flip=yes&images=FOLDER"."""

    crop: Literal["centre", "random"] = "centre"
    flip: Literal["no", "yes"] = "no"
    filter: Literal["bicubic", "area"] = "bicubic"
    images: str = ""  # where a table's pictures lie


_CHOICES = {"crop": ("centre", "random"), "flip": ("no", "yes"), "filter": ("bicubic", "area")}


def parse_options(text: str, spec: str) -> Options:
    """The options behind a path. Raises: DataError naming the ones there are."""
    chosen: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, _, value = part.partition("=")
        if name not in Options._fields or (name in _CHOICES and value not in _CHOICES[name]):
            known = ", ".join(f"{n}={'|'.join(values)}" for n, values in _CHOICES.items())
            raise DataError(f"{spec}: {part!r} is no option; there are {known}, images=FOLDER")
        chosen[name] = value
    return Options(**chosen)  # type: ignore[arg-type]


def find_listing(path: str, images: str = "") -> Listing | None:
    """What a path holds, read by the reader that fits; None when it is nothing that can be read.

    Raises: DataError when the reader that fits cannot read it.
    """
    place = Path(path)
    if path.endswith(".tar"):
        return list_shards(path)
    if place.is_file() and place.suffix.lower() in SUFFIXES:
        return list_manifest(place, Path(images) if images else None)
    if place.is_dir():
        table = next((place / name for name in METADATA if (place / name).is_file()), None)
        if table is not None:
            return list_manifest(table, Path(images) if images else None)
        if any(place.glob("*.tar")):
            return list_shards(str(place / "*.tar"))
        return list_folder(place)
    return None


class Pictures:
    """A listing, opened as a source."""

    def __init__(self, name: str, listing: Listing, options: Options | None = None) -> None:
        self.name = name
        self.options = options or Options()
        self.listed = listing
        self.skipped = Skipped()  # while streaming
        kept_back = [_kept_back(r) for r in listing.records] if len(listing.records) >= HELD_OUT_FROM else []
        self.train = (
            [r for r, back in zip(listing.records, kept_back, strict=True) if not back] if kept_back else listing.records
        )
        self.back = [r for r, back in zip(listing.records, kept_back, strict=True) if back] if kept_back else []
        self._squares: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._bytes = 0
        self._broken: set[int] = set()
        if not self.train:
            raise DataError(
                f"{name}: no picture with a caption in it" + (f"; skipped: {listing.skipped}" if listing.skipped.counts else "")
            )

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th view. Shapes: image [side side 3] uint8. Raises: DataError when not one file can be used."""
        epoch, place = divmod(k, len(self.train))
        order = permutation(len(self.train), seed, epoch)
        for step in range(len(order)):
            index = int(order[(place + step) % len(order)])
            roll = dice(seed, epoch, index)
            image = self._image(index, side, roll)
            if image is not None:
                captions = self.train[index].captions
                return View(image, captions[roll(len(captions))])
        raise DataError(f"{self.name}: none of its {len(order)} pictures can be used; skipped: {self.skipped}")

    def _image(self, index: int, side: int, roll: Dice) -> NDArray[np.uint8] | None:
        """A picture cropped as the options say; None, and counted once, when it cannot be used."""
        mirrored = self.options.flip == "yes" and roll(2) == 1
        where = (roll(2**16) / 2**16, roll(2**16) / 2**16, roll(2**16) / 2**16)
        if index in self._broken:
            return None
        image = self._squares.get((index, side))
        if image is None:
            picture = open_record(self.train[index])
            if isinstance(picture, str):
                self._broken.add(index)
                self.skipped.add(picture, self.train[index].name)
                return None
            box = random_box(picture.size, where) if self.options.crop == "random" else centre_box(picture.size)
            image = resized(picture, box, side, self.options.filter)
            if self.options.crop == "centre" and self._bytes + image.nbytes <= KEPT:
                self._squares[index, side] = image
                self._bytes += image.nbytes
        return np.ascontiguousarray(image[:, ::-1]) if mirrored else image.copy()

    def captions(self) -> Iterator[str]:
        """Every caption of every training picture."""
        for record in self.train:
            yield from record.captions

    def held_out(self, side: int) -> list[View]:
        """The centre squares of the pictures kept back, each with its first caption; none when the set is small."""
        views = []
        for record in self.back:
            picture = open_record(record)
            if isinstance(picture, Image.Image):
                image = resized(picture, centre_box(picture.size), side, self.options.filter)
                views.append(View(image, record.captions[0]))
        return views


def _kept_back(record: Record) -> bool:
    return zlib.crc32(record.name.encode("utf-8", "surrogateescape")) % HELD_OUT_SHARE == 0


Box = tuple[float, float, float, float]


def centre_box(size: tuple[int, int]) -> Box:
    """The middle square of a picture: left, top, right, bottom."""
    short = min(size)
    left, top = (size[0] - short) // 2, (size[1] - short) // 2
    return left, top, left + short, top + short


def random_box(size: tuple[int, int], where: tuple[float, float, float]) -> Box:
    """A square of 80 to 100 % of the shorter side; `where` says how large, how far right and how far down. Units: 0..1."""
    edge = min(size) * (SMALLEST_CROP + (1 - SMALLEST_CROP) * where[0])
    left, top = (size[0] - edge) * where[1], (size[1] - edge) * where[2]
    return left, top, left + edge, top + edge


def resized(picture: Image.Image, box: Box, side: int, filter: str) -> NDArray[np.uint8]:
    """A part of a picture as [side side 3] uint8, antialiased."""
    method = Image.Resampling.BOX if filter == "area" else Image.Resampling.BICUBIC
    return np.array(picture.resize((side, side), method, box, reducing_gap=4.0))
