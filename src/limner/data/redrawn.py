"""Pictures whose small versions a model has drawn over: what an upsampler meets when it stands behind that model.

A base's pictures have ragged edges and stray pixels that true small pictures never have; an upsampler that learned from true
ones alone draws every flaw large. Cascaded diffusion models close that gap by spoiling the condition in training (CDM,
section 4); here it is spoilt by the base itself, from a random level of noise, so that its flaws are the real ones.

`training/redrawing.py` makes the folder, `open_redrawn` reads it: `meta.json` and `low.npy`, uint8 [N s s 3].
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from limner.config import Frozen
from limner.data.dice import permutation
from limner.data.source import Source, View, moved, open_source
from limner.errors import DataError

FORMAT = 2
META, LOW = "meta.json", "low.npy"  # the files of a folder


class Meta(Frozen):
    """What a folder was made from."""

    format: int
    source: str  # whose views they are; its paths begin at the folder
    seed: int  # of its stream
    views: int = Field(ge=1)
    model: str
    weights: str  # sha256 of the network that drew
    strength: float  # the most noise a picture was drawn over from, as a share of all levels


def open_redrawn(rest: str) -> Redrawn:
    """The source of "redrawn:FOLDER", given what follows the colon.

    Raises: DataError when the folder is not one that `limner data redraw` made, or its own source cannot be opened.
    """
    return Redrawn(Path(rest))


class Redrawn:
    """The first views of another source, each with its redrawn small version."""

    def __init__(self, folder: Path) -> None:
        try:
            self.meta = Meta(**json.loads((folder / META).read_text(encoding="utf-8")))
            self.low: NDArray[np.uint8] = np.load(folder / LOW, mmap_mode="r")
            if self.meta.format != FORMAT:
                raise ValueError(f"format {self.meta.format}, this version reads {FORMAT}")
            shape, side = self.low.shape, self.low.shape[1:2]
            if self.low.dtype != np.uint8 or shape != (self.meta.views, *side, *side, 3):
                raise ValueError(f"{self.meta.views} views, but low.npy is {self.low.dtype} of shape {list(shape)}")
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise DataError(f"{folder}: not a folder made by `limner data redraw` ({error})") from error
        self.inner: Source = open_source(moved(self.meta.source, lambda path: os.path.normpath(folder / path)))
        self.name = f"redrawn:{folder}"
        self._folder = folder

    def __reduce__(self) -> tuple[type[Redrawn], tuple[Path]]:
        """Sent to another process by name: a memory map would travel as all of its pictures."""
        return Redrawn, (self._folder,)

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th view, each once an epoch. Shapes: image [side side 3], low [s s 3] uint8."""
        epoch, place = divmod(k, self.meta.views)
        number = int(permutation(self.meta.views, seed, epoch)[place])
        return self.inner.view(number, side, self.meta.seed)._replace(low=self.low[number])

    def captions(self) -> Iterable[str]:
        """Those of the other source."""
        return self.inner.captions()

    def held_out(self, side: int) -> list[View]:
        """Those of the other source, their small versions true."""
        return self.inner.held_out(side)
