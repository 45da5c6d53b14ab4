"""A file mapped into memory, and tensors that are views of it: nothing is copied, every bound is checked first."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from limner.errors import CheckpointError

_AXES = 16  # more than any weight has


class Mapped:
    """A file of weights. Tensors made from it keep it open; changes to them never reach the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: is not a file")
        try:
            with path.open("rb") as file:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError:
            raise CheckpointError(f"{path}: is empty; fetch it again") from None
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file") from None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
        self.size = len(self.bytes)

    def cut(self, start: int, size: int) -> bytes:
        """Some bytes, copied; fewer where the file ends."""
        return bytes(self.bytes[start : start + size])

    def flat(self, dtype: torch.dtype, start: int, count: int, *, what: str) -> Tensor:
        """`count` numbers from byte `start`. Shapes: -> [count].

        Raises: CheckpointError when they are not all in the file.
        """
        size = count * dtype.itemsize
        if start < 0 or count < 0 or start + size > self.size:
            raise CheckpointError(
                f"{self.path}: {what}: {size} bytes at {start} are more than the file's {self.size}; it is cut short or damaged"
            )
        if count == 0:
            return torch.empty(0, dtype=dtype)
        if start % dtype.itemsize:  # kernels want numbers at whole multiples of their size
            return torch.frombuffer(bytearray(self.bytes[start : start + size]), dtype=dtype)
        return torch.frombuffer(self.bytes, dtype=dtype, offset=start, count=count)


def strided(flat: Tensor, offset: object, size: object, stride: object, *, where: str) -> Tensor:
    """The tensor that a pickle describes as a view of its storage.

    Raises: CheckpointError for figures that are not plain numbers or lead out of the storage.
    """
    at, shape, steps = _whole(offset), _all_whole(size), _all_whole(stride)
    if at is None or shape is None or steps is None or len(shape) != len(steps) or len(shape) > _AXES:
        raise CheckpointError(f"{where}: a tensor of offset {_short(offset)}, shape {_short(size)}, strides {_short(stride)}")
    count = 1
    for length in shape:
        count *= length
    last = at + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if count and (last >= len(flat) or count > len(flat)):
        raise CheckpointError(
            f"{where}: a tensor of offset {at}, shape {_short(list(shape))}, strides {_short(list(steps))} "
            f"leads out of its storage of {len(flat)} numbers"
        )
    return flat.as_strided(shape, steps, at) if count else flat.new_empty(shape)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else None


def _all_whole(values: object) -> tuple[int, ...] | None:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return None
    found = [_whole(value) for value in values]
    return None if None in found else tuple(value for value in found if value is not None)


def _short(value: object) -> str:
    return f"{value!r:.60}"
