"""Files that `torch.save` and `torch.jit.save` wrote, old and new, read without torch's own loaders.

Tensors are views of the mapped file; everything else of a pickle is made by `pickles`, which can make plain values only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner.errors import CheckpointError
from limner.official.reading import archives, pickles, state
from limner.official.reading.archives import Entry
from limner.official.reading.mapped import Mapped, strided
from limner.official.reading.pickles import Global, Object, Rule, Window

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number with which torch.save began its files before 1.6
_SOURCE = 2**25  # bytes of TorchScript source; that of CLIP is under 2**20
_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


class Content(NamedTuple):
    """What a file held."""

    kind: str  # in words
    tensors: dict[str, Tensor]
    wrapper: str = ""  # the key under which a trainer put the weights


class _Storage(NamedTuple):
    dtype: torch.dtype
    flat: Callable[[], Tensor]


def zipped(file: Mapped) -> Content:
    """The tensors of a zip archive that torch wrote: a state dict, a module, or TorchScript.

    Raises: CheckpointError for everything that is not that.
    """
    found = archives.entries(file)
    roots = [name.removesuffix("data.pkl") for name in found if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(roots) != 1 or roots[0].count("/") > 1:
        raise CheckpointError(f"{file.path}: a zip archive, but not one that torch.save writes (it has no one data.pkl)")
    root = roots[0]
    order = found.get(f"{root}byteorder")
    if order is not None and archives.text(file, order).strip() != "little":
        raise CheckpointError(f"{file.path}: its numbers are not little-endian; save it again on a little-endian machine")
    where = str(file.path)

    def flat(dtype: torch.dtype, key: str, count: int) -> Tensor:
        entry = found.get(f"{root}data/{key}")
        if entry is None:
            raise CheckpointError(f"{where}: the numbers of tensor {key!r:.40} are missing from the archive")
        if not entry.stored:
            raise CheckpointError(f"{where}: {entry.name!r:.80} is compressed; torch stores tensors as they are; refused")
        if entry.size != count * dtype.itemsize:
            raise CheckpointError(
                f"{where}: tensor {key!r:.40} should hold {count} numbers of {dtype.itemsize} bytes; its file has {entry.size}"
            )
        return file.flat(dtype, entry.start, count, what=f"tensor {key!r:.40}")

    pickle = found[f"{root}data.pkl"]
    if not pickle.stored:
        raise CheckpointError(f"{where}: {pickle.name!r:.80} is compressed, which torch never does; refused")
    tree = _unpickled(Window(file.bytes, pickle.start, pickle.size), flat, where)
    scripted = isinstance(tree, Object) and tree.kind.module.startswith("__torch__")
    registered = _registered(file, root, found) if scripted else {}
    kind = "TorchScript" if scripted else "pickled module" if isinstance(tree, Object) else "torch"
    return Content(kind, state.tensors(tree, registered, where=where), state.unwrapped(tree)[1])


def legacy(file: Mapped) -> Content:
    """The tensors of a file that torch.save wrote before version 1.6.

    Raises: CheckpointError for a file that is damaged or holds anything but tensors and plain containers.
    """
    where = str(file.path)
    window = Window(file.bytes, 0, file.size)
    wanted: dict[str, tuple[torch.dtype, int, list[Tensor]]] = {}

    def flat(dtype: torch.dtype, key: str, count: int) -> Tensor:
        """A stand-in without memory; the numbers come behind the pickles."""
        if wanted.setdefault(key, (dtype, count, []))[:2] != (dtype, count):
            raise CheckpointError(f"{where}: describes the numbers of tensor {key!r:.40} in two ways")
        return torch.empty(count, dtype=dtype, device="meta") if count * dtype.itemsize <= file.size else _too_many(where, key)

    _plain(window, where)  # the magic number
    version, info = _plain(window, where), _plain(window, where)
    if version != 1001 or not isinstance(info, dict) or info.get("little_endian") is not True:
        raise CheckpointError(f"{where}: a file of torch in a version or byte order that is not known ({version!r:.20})")
    begin = window.tell()
    _unpickled(window, flat, where)
    order = _plain(window, where)
    if not isinstance(order, list) or not all(isinstance(key, str) for key in order) or sorted(order) != sorted(wanted):
        raise CheckpointError(f"{where}: the list of its tensors does not fit its pickle; it is cut short or damaged")
    places, at = {}, window.tell()
    for key in order:
        dtype, count, _ = wanted[key]
        if file.cut(at, 8) != struct.pack("<q", count):
            raise CheckpointError(f"{where}: tensor {key!r:.40} is not where it should be; it is cut short or damaged")
        places[key] = file.flat(dtype, at + 8, count, what=f"tensor {key!r:.40}")
        at += 8 + count * dtype.itemsize
    tree = _unpickled(Window(file.bytes, begin, file.size - begin), lambda dtype, key, count: places[key], where)
    kind = "pickled module" if isinstance(tree, Object) else "torch before 1.6"
    return Content(kind, state.tensors(tree, {}, where=where), state.unwrapped(tree)[1])


def _too_many(where: str, key: str) -> Tensor:
    raise CheckpointError(f"{where}: tensor {key!r:.40} is said to be larger than the whole file; refused")


def _plain(window: Window, where: str) -> Any:
    return pickles.load(window, {}, lambda _: None, where=where)


def _unpickled(window: Window, flat: Callable[[torch.dtype, str, int], Tensor], where: str) -> Any:
    """The tree of a checkpoint's pickle, its storages found by `flat`."""

    def persistent(named: Any) -> _Storage | Global:
        match named:
            case ("storage", Global() as kind, key, _, int() as count, *rest) if count >= 0 and isinstance(key, str | int):
                dtype = _DTYPES.get(kind.full)
                if dtype is None or any(rest):
                    raise CheckpointError(f"{where}: holds numbers of the kind {kind.full[:60]!r}, which no network here has")
                return _Storage(dtype, lambda: flat(dtype, str(key), count))
            case ("module", Global() as kind, *_):  # before 1.6 the source of a class went along; it is left alone
                return kind
        raise CheckpointError(f"{where}: refers to something outside itself that is not the numbers of a tensor; refused")

    def rebuilt(arguments: tuple[Any, ...]) -> Tensor:
        storage, offset, size, stride = arguments[:4]
        if not isinstance(storage, _Storage):
            raise CheckpointError(f"{where}: a tensor without numbers")
        return strided(storage.flat(), offset, size, stride, where=where)

    rules: dict[str, Rule] = {
        "torch._utils._rebuild_tensor_v2": rebuilt,
        "torch._utils._rebuild_tensor": rebuilt,
        "torch._utils._rebuild_parameter": lambda arguments: arguments[0],
        "torch._utils._rebuild_parameter_with_state": lambda arguments: arguments[0],
        "collections.OrderedDict": lambda arguments: _ordered(arguments, where),
        "builtins.set": lambda arguments: list(arguments[0]),
        "torch.Size": lambda arguments: arguments[0],
    }
    return pickles.load(window, rules, persistent, where=where)


def _ordered(arguments: tuple[Any, ...], where: str) -> dict[Any, Any]:
    """A dictionary from its pairs, as pickles of protocol 2 and older write it."""
    pairs = arguments[0] if arguments else []
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str | int) or key in found:
            raise CheckpointError(f"{where}: holds the key {key!r:.80} twice, or it is not a word")
        found[key] = value
    return found


def _registered(file: Mapped, root: str, found: Mapping[str, Entry]) -> dict[str, list[str]]:
    """Parameters and buffers of every TorchScript class, from the source that lies in the archive; it is only searched."""
    classes: dict[str, list[str]] = {}
    sources = {name: entry for name, entry in found.items() if name.startswith(f"{root}code/") and name.endswith(".py")}
    if sum(entry.inflated for entry in sources.values()) > _SOURCE:
        raise CheckpointError(f"{file.path}: holds more source than any TorchScript of a network; refused")
    for name, entry in sources.items():
        module = name.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")
        for part in re.split(r"^class ", archives.text(file, entry), flags=re.MULTILINE)[1:]:
            lists = re.findall(r"^  __(?:parameters|buffers)__ = \[([^\]]*)\]", part, re.MULTILINE)
            classes[f"{module}.{part.split('(')[0]}"] = re.findall(r'"([^"]+)"', " ".join(lists))
    return classes
