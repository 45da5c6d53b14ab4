"""What a released file turns out to hold: pieces, each the settings of one network and the map of its keys; and families.

A family's file (`adm.py`) makes pieces; `families.py` asks every family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from limner.config import NetworkSettings, PartSettings, StageSettings, SystemSettings
from limner.official.layout import KeyMap

Shapes = Mapping[str, tuple[int, ...]]  # official key -> shape, of one file


class Piece(NamedTuple):
    """One network of a released file."""

    settings: StageSettings | PartSettings  # its name is the name of its weights file in the checkpoint folder
    keys: KeyMap  # official keys, with any prefix they carry in the file, -> places in limner


class Together(NamedTuple):
    """A released file with a name of its own, or with several networks in it."""

    name: str  # below the folder that is written
    networks: tuple[tuple[str, KeyMap], ...]  # each network's name in the checkpoint folder, and its keys in the file
    wrapper: str = ""  # the key under which the file keeps its weights


class Family(NamedTuple):
    """Files of one layout.

    `recognise` looks at the keys and shapes of one file and gives its pieces, or None when the file is not of this family.
    It may be generous: whether every key and shape fits is checked for all families in one place (`families.recognise`).
    """

    name: str
    system: str  # what `SystemSettings.system` becomes
    recognise: Callable[[Shapes], tuple[Piece, ...] | None]
    marks: tuple[str, ...]  # beginnings of typical keys, by which the nearest family of an unknown file is named
    serves: tuple[str, ...] = ()  # other systems that its files may be parts of
    layout: Literal["official", "diffusers"] = "official"  # which of the released layouts this is
    # For networks that were not converted from a file (trained here, or from the other layout): the keys on export, or None.
    maps: Callable[[NetworkSettings], KeyMap | None] | None = None
    # What a piece is when its file lies where its like does (`converting.twinned`): networks that only their names tell apart.
    twin: Callable[[Piece], Piece | None] | None = None
    # For export of networks by their names: those of the family that do not each get a file called after them.
    files: Callable[[Mapping[str, NetworkSettings]], tuple[Together, ...]] | None = None
    # JSON that belongs beside the weights, path -> content.
    documents: Callable[[SystemSettings], Mapping[str, Mapping[str, object]]] | None = None
