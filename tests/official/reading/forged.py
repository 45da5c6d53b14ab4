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


def wide(path: Path) -> Path:
    """The same archive with sizes and places in the 64-bit fields that torch uses beyond 4 GB."""
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<H2I", data, end + 10)
    out, at = b"", start
    while at < start + size:
        packed, plain, name, extra, note = struct.unpack_from("<2I3H", data, at + 20)
        (place,) = struct.unpack_from("<I", data, at + 42)
        field = struct.pack("<2H", 0xFFFF, 3) + b"pad" + struct.pack("<2H3Q", 1, 24, plain, packed, place)
        head = bytearray(data[at : at + 46])
        struct.pack_into("<2I", head, 20, 0xFFFFFFFF, 0xFFFFFFFF)
        struct.pack_into("<H", head, 30, len(field))
        struct.pack_into("<I", head, 42, 0xFFFFFFFF)
        out += bytes(head) + data[at + 46 : at + 46 + name] + field
        at += 46 + name + extra + note
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(out), start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(out), 1)
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:start] + out + record + locator + tail)
    return path
