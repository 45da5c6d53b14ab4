"""The catalog of released files: name -> addresses, hashes, sizes, licence, limits and what it can do (`released.toml`).

Data only: nothing is fetched here and torch is not imported. Downloads are `downloads.py`; pulling is `official/pulling.py`.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import unquote

FLOAT32 = 4  # bytes


class File(NamedTuple):
    """A released file."""

    name: str  # as it is called where it is kept
    address: str  # "" for a file of a hub repository
    hub: str  # repository, or ""
    parameters: int
    sha256: str  # "" where the publisher gives none

    @property
    def local(self) -> str:
        """The name it has on disk, without the folders of its address."""
        return unquote(self.name) if self.hub else unquote(self.name.rsplit("/", 1)[-1])

    @property
    def size(self) -> int:
        """Bytes of its numbers in float32; files in half precision take half of that."""
        return self.parameters * FLOAT32


class Model(NamedTuple):
    """A released model: the files that make it up, and what is known of them."""

    name: str
    system: str
    summary: str
    files: tuple[File, ...]
    licence: str
    limits: str
    can: str
    cannot: str
    source: str
    preset: str  # that holds what was published with it; there may be none

    @property
    def parameters(self) -> int:
        """Of all its networks."""
        return sum(file.parameters for file in self.files)

    @property
    def memory(self) -> int:
        """Bytes of memory that its networks take in float32, without what drawing needs beside them."""
        return self.parameters * FLOAT32


@functools.cache
def models() -> dict[str, Model]:
    """Every released model by name, in the order of the catalog."""
    tree = tomllib.loads(resources.files("limner").joinpath("released.toml").read_text(encoding="utf-8"))
    return {name: _model(name, tree["families"][told["family"]] | told) for name, told in tree["models"].items()}


def find(name: str) -> Model | None:
    """A released model by name."""
    return models().get(name)


def _model(name: str, told: dict[str, Any]) -> Model:
    files = tuple(_file(told, *each) for each in told["files"])
    texts = {key: told.get(key, "") for key in ("system", "summary", "licence", "limits", "can", "cannot", "source")}
    return Model(name=name, files=files, preset=told.get("preset", name), **texts)


def _file(told: dict[str, Any], name: str, parameters: int, sha256: str = "") -> File:
    hub = told.get("hub", "")
    folder = f"{sha256}/" if told.get("hashed_folders") else ""
    return File(name, "" if hub else f"{told['base']}{folder}{name}", hub, parameters, sha256)
