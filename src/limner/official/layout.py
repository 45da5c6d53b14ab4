"""What a key map is made of: for each official key the limner key and a reversible change of layout.

A family's file (`adm.py`) says which keys; loading and exporting are the same table read in two directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from limner.errors import CheckpointError


class Entry(NamedTuple):
    """Where an official tensor lives in limner, and how its rows and axes differ there."""

    key: str  # limner's name
    parts: int = 1  # fused projections in the rows: 3 for qkv, 2 for kv
    heads: int = 1
    head_major: bool = False  # official rows are [head][part][ch]; limner's are [part][head][ch]
    axes: int = 0  # trailing axes of size 1 that the official tensor has and limner's has not


KeyMap = Mapping[str, Entry]


def to_limner(state: Mapping[str, Tensor], keys: KeyMap, *, where: str) -> dict[str, Tensor]:
    """The same weights under limner's names and in limner's layout.

    Raises: CheckpointError listing keys that are missing or extra.
    """
    _same_keys(state, keys, where)
    return {entry.key: _rows(_squeeze(state[name], entry), entry, (entry.heads, entry.parts)) for name, entry in keys.items()}


def to_official(state: Mapping[str, Tensor], keys: KeyMap, *, where: str) -> dict[str, Tensor]:
    """The inverse of `to_limner`.

    Raises: CheckpointError listing keys that are missing or extra.
    """
    _same_keys(state, [entry.key for entry in keys.values()], where)
    return {
        name: _rows(state[entry.key], entry, (entry.parts, entry.heads))[(..., *[None] * entry.axes)]
        for name, entry in keys.items()
    }


def _squeeze(tensor: Tensor, entry: Entry) -> Tensor:
    return tensor.flatten(-1 - entry.axes) if entry.axes else tensor


def _rows(tensor: Tensor, entry: Entry, order: tuple[int, int]) -> Tensor:
    """Swap the two outer axes of fused rows. Shapes: [a*b*ch ...] -> [b*a*ch ...]."""
    if not entry.head_major:
        return tensor
    first, second = order
    rest = tensor.shape[1:]
    return tensor.reshape(first, second, -1, *rest).transpose(0, 1).reshape(tensor.shape)


def _same_keys(state: Mapping[str, Tensor], expected: KeyMap | list[str], where: str) -> None:
    missing = sorted(set(expected) - set(state))
    extra = sorted(set(state) - set(expected))
    if missing or extra:
        found = "; ".join(
            f"{len(names)} {word}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            for word, names in (("missing", missing), ("extra", extra))
            if names
        )
        raise CheckpointError(f"{where}: the keys do not fit this network: {found}; check that the preset matches the file")
