"""What a key map is made of: for each official key its place in limner and a reversible change of layout.

A family's file (`adm.py`) says which keys; loading and exporting are the same table read in two directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from limner.errors import CheckpointError


class Entry(NamedTuple):
    """Where an official tensor lives in limner, and how its rows and axes differ there."""

    key: str  # limner's name
    parts: int = 1  # fused projections in the rows: 3 for qkv, 2 for kv
    heads: int = 1
    head_major: bool = False  # official rows are [head][part][ch]; limner's are [part][head][ch]
    axes: int = 0  # trailing axes of size 1 that the official tensor has and limner's has not (below 0: the reverse)
    transposed: bool = False  # official [in out] for limner's [out in]
    lead: int = 0  # leading axes of size 1 that the official tensor has and limner's has not
    slot: tuple[int, int] = (0, 1)  # (which, of how many) equal blocks of rows of limner's tensor this one is


class Constant(NamedTuple):
    """An official tensor that limner has no use for, because it follows from the settings; made anew on export."""

    make: Callable[[], Tensor]


KeyMap = Mapping[str, Entry | Constant]


def to_limner(state: Mapping[str, Tensor], keys: KeyMap, *, where: str) -> dict[str, Tensor]:
    """The same weights under limner's names and in limner's layout.

    Raises: CheckpointError listing keys that are missing or extra.
    """
    _same_keys(state, keys, where)
    blocks: dict[str, dict[int, Tensor]] = {}
    for name, entry in keys.items():
        if isinstance(entry, Entry):
            tensor = state[name].transpose(-1, -2) if entry.transposed else state[name]
            tensor = tensor.flatten(0, entry.lead) if entry.lead else tensor
            tensor = _rows(_axes(tensor, -entry.axes), entry, (entry.heads, entry.parts))
            blocks.setdefault(entry.key, {})[entry.slot[0]] = tensor
    return {key: torch.cat([block[n] for n in sorted(block)]) if len(block) > 1 else block[0] for key, block in blocks.items()}


def to_official(state: Mapping[str, Tensor], keys: KeyMap, *, where: str) -> dict[str, Tensor]:
    """The inverse of `to_limner`.

    Raises: CheckpointError listing keys that are missing or extra.
    """
    _same_keys(state, {entry.key for entry in keys.values() if isinstance(entry, Entry)}, where)
    return {
        name: entry.make() if isinstance(entry, Constant) else _undone(state[entry.key], entry) for name, entry in keys.items()
    }


def _undone(tensor: Tensor, entry: Entry) -> Tensor:
    which, of = entry.slot
    tensor = tensor.chunk(of)[which] if of > 1 else tensor
    tensor = _axes(_rows(tensor, entry, (entry.parts, entry.heads)), entry.axes)
    tensor = tensor[(*[None] * entry.lead, ...)]
    return tensor.transpose(-1, -2) if entry.transposed else tensor


def _axes(tensor: Tensor, count: int) -> Tensor:
    """Trailing axes of size 1 added, or taken away when the count is below 0."""
    return tensor[(..., *[None] * count)] if count >= 0 else tensor.flatten(count - 1)


def _rows(tensor: Tensor, entry: Entry, order: tuple[int, int]) -> Tensor:
    """Swap the two outer axes of fused rows. Shapes: [a*b*ch ...] -> [b*a*ch ...]."""
    if not entry.head_major:
        return tensor
    first, second = order
    rest = tensor.shape[1:]
    return tensor.reshape(first, second, -1, *rest).transpose(0, 1).reshape(tensor.shape)


def _same_keys(state: Mapping[str, Tensor], expected: Iterable[str], where: str) -> None:
    wanted = set(expected)
    missing = sorted(wanted - set(state))
    extra = sorted(set(state) - wanted)
    if missing or extra:
        found = "; ".join(
            f"{len(names)} {word}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
            for word, names in (("missing", missing), ("extra", extra))
            if names
        )
        raise CheckpointError(f"{where}: the keys do not fit this network: {found}; check that the preset matches the file")
