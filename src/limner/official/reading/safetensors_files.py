"""safetensors files, their headers checked in full before any number is looked at, and files in several parts."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import CheckpointError
from limner.official.reading.mapped import Mapped

_HEADER = 2**26  # bytes; a header takes about 100 a tensor
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def tensors(file: Mapped) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises: CheckpointError for a header that is not true: too long, not JSON, names twice, figures that do not fit the file.
    """
    (length,) = struct.unpack("<Q", file.cut(0, 8))
    if length > min(_HEADER, file.size - 8):
        raise CheckpointError(
            f"{file.path}: its header is said to be {length} bytes, the whole file has {file.size}: damaged, or no safetensors"
        )
    header = _json(file.cut(8, length), str(file.path))
    header.pop("__metadata__", None)
    found: dict[str, Tensor] = {}
    end, base = 0, 8 + length
    for name, told in sorted(header.items(), key=lambda item: _begin(item[1])):
        dtype, shape, begin, stop = _described(told, f"{file.path}: {name!r:.80}")
        count = 1
        for axis in shape:
            count *= axis
        if begin != end or stop - begin != count * dtype.itemsize:
            raise CheckpointError(
                f"{file.path}: {name!r:.80} of shape {shape} is said to lie at {begin} to {stop}, which does not fit; damaged"
            )
        found[name] = file.flat(dtype, base + begin, count, what=repr(name)[:80]).view(shape)
        end = stop
    if base + end != file.size:
        raise CheckpointError(f"{file.path}: holds {file.size - base} bytes of numbers, its header tells of {end}; damaged")
    if not found:
        raise CheckpointError(f"{file.path}: holds no tensors, so it is no checkpoint of weights")
    return found


def sharded(index: Path) -> dict[str, Tensor]:
    """The tensors of all parts that a `*.safetensors.index.json` names; they lie beside it.

    Raises: CheckpointError for an index that is broken, leads elsewhere, or does not say what the parts hold.
    """
    try:
        data = index.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{index}: cannot be read ({error.strerror or error})") from None
    places = _json(data, str(index)).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index}: has no 'weight_map', so it is no index of a file in parts")
    found: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: names the part {name!r:.80}, which does not lie beside it; refused")
        part = tensors(Mapped(index.parent / name))
        wrong = set(part) ^ {key for key, place in places.items() if place == name}
        if wrong:
            raise CheckpointError(f"{index}: does not say what is in {name}: {sorted(wrong)[0]!r:.80}; fetch all parts again")
        found |= part
    return found


def _json(data: bytes, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{where}: holds the key {twice!r:.80} twice; which of the two is meant cannot be known")
        return found

    try:
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{where}: its header is not JSON; damaged, or not a checkpoint") from None
    if not isinstance(tree, dict):
        raise CheckpointError(f"{where}: its header is not an object of tensors; damaged, or not a checkpoint")
    return tree


def _begin(told: Any) -> int:
    match told:
        case {"data_offsets": [int() as begin, int()]}:
            return begin
    return -1


def _described(told: Any, where: str) -> tuple[torch.dtype, list[int], int, int]:
    match told:
        case {"dtype": str() as kind, "shape": [*shape], "data_offsets": [int() as begin, int() as stop]}:
            if kind not in _DTYPES:
                raise CheckpointError(f"{where}: stored as {kind[:20]!r}; networks here take {', '.join(_DTYPES)}")
            if all(type(axis) is int and 0 <= axis < 2**48 for axis in shape) and 0 <= begin <= stop and len(shape) <= 16:
                return _DTYPES[kind], shape, begin, stop
    raise CheckpointError(f"{where}: its description cannot be right ({told!r:.80}); damaged")
