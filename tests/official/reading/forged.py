"""Checkpoints put together by hand, byte by byte: good ones, and those that mean harm."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP = b"."


def value(plain: object) -> bytes:
    """The instructions of a pickle that push a plain value."""
    return pickle.dumps(plain, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    """The instruction that asks for a class or function."""
    return f"c{module}\n{name}\n".encode()


def tensor(
    key: str = "0",
    *,
    kind: str = "FloatStorage",
    count: int = 6,
    offset: int = 0,
    size: Sequence[int] = (2, 3),
    stride: Sequence[int] = (3, 1),
) -> bytes:
    """The instructions that describe a tensor, as torch.save writes them."""
    storage = b"(" + value("storage") + named("torch", kind) + value(key) + value("cpu") + value(count) + b"tQ"
    view = value(offset) + value(tuple(size)) + value(tuple(stride)) + value(False)
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + view + named("collections", "OrderedDict") + b")RtR"


def state(tensors: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> bytes:
    """The pickle of a state dict."""
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    return b"\x80\x02}(" + b"".join(value(key) + made for key, made in pairs) + b"u" + STOP


def archive(path: Path, data: bytes, numbers: Mapping[str, bytes] | None = None, *, root: str = "archive") -> Path:
    """A file as torch.save writes it, from its pickle and its numbers."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{root}/data.pkl", data)
        for key, each in ({"0": bytes(24)} if numbers is None else numbers).items():
            file.writestr(f"{root}/data/{key}", each)
        file.writestr(f"{root}/version", "3\n")
    return path


def legacy(path: Path, data: bytes, numbers: Sequence[tuple[str, int, bytes]]) -> Path:
    """A file as torch.save wrote it before 1.6: pickles one after another, then the numbers."""
    out = io.BytesIO()
    for plain in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
        out.write(pickle.dumps(plain, 2))
    out.write(data)
    out.write(pickle.dumps([key for key, _, _ in numbers], 2))
    for _, count, each in numbers:
        out.write(struct.pack("<q", count) + each)
    path.write_bytes(out.getvalue())
    return path


def safetensors(path: Path, header: str, numbers: bytes = b"", *, length: int | None = None) -> Path:
    """A safetensors file from the text of its header."""
    text = header.encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + numbers)
    return path
