"""Checkpoint folders: `config.json`, one safetensors file a network, `CARD.md` and `SHA256SUMS`.

A fine-tune may hold the changes to another model's weights only; what they are added to is named in the file, with its hash.

Folders appear whole or not at all, weights load strictly, and what is wrong is said in one line. Which network a file is
for is the business of `systems/`; foreign checkpoints are mapped in `official/`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor, nn

from limner import catalog, changes
from limner.config import SystemSettings, dump, parse
from limner.errors import CheckpointError, ConfigError, LimnerError

SUMS = "SHA256SUMS"  # in the format of sha256sum, so that `sha256sum -c` checks a folder too
_LISTED = 10
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_KINDS = {  # in the order in which the library stores them, from the last to the first
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


class Base(NamedTuple):
    """Weights that others are told as changes to: those of a network of a model that is found by name."""

    model: str
    network: str
    sha256: str  # of its file

    @classmethod
    def of(cls, metadata: Mapping[str, str], where: Path) -> Base | None:
        """What the metadata of a file say; None for a file that stands alone. Raises: CheckpointError for nonsense."""
        told = [metadata.get(f"base_{field}", "") for field in cls._fields]
        if not any(told):
            return None
        if not all(re.fullmatch(_NAME, name) for name in told[:2]) or not re.fullmatch("[0-9a-f]{64}", told[2]):
            raise CheckpointError(f"{where}: says that it holds changes, but not to what; fetch or export it again")
        return cls(*told)

    def metadata(self) -> dict[str, str]:
        """The same as metadata of a file."""
        return {f"base_{field}": value for field, value in self._asdict().items()}


class Folder(NamedTuple):
    """A checkpoint folder that was read and found whole."""

    settings: SystemSettings
    path: Path
    hashes: dict[str, str]  # stage -> sha256 of its weights

    def weights(self, stage: str) -> Path:
        """Where the weights of a stage lie."""
        return self.path / f"{stage}.safetensors"


def save_folder(
    path: Path,
    settings: SystemSettings,
    states: Mapping[str, Mapping[str, Tensor]],
    card: str,
    files: Mapping[str, bytes] | None = None,
    *,
    dtype: torch.dtype | None = torch.bfloat16,
    bases: Mapping[str, Base] | None = None,
) -> Path:
    """Write a checkpoint folder whole or not at all; floating weights are stored as `dtype` (None: as they are).

    An older checkpoint is replaced, unless somebody keeps other files in it. Tensors are asked for and written one at a time.

    `states` holds one state dict for every stage; `files` are what else the system reads (a vocabulary). Networks with a base
    are stored as changes to it, which must be there when they are loaded.

    Raises: CheckpointError when `path` is or holds something other than a checkpoint or a stage has no weights; LimnerError
        when the disk refuses.
    """
    names = list(settings.networks())
    _check_names([*names, *(files or {})])
    if sorted(names) != sorted(states):
        raise CheckpointError(f"{path}: the system has stages {_said(names)}, but weights came for {_said(list(states))}")
    if path.exists():
        _check_replaceable(path)

    def write(fresh: Path) -> None:
        for name in names:
            file, base = fresh / f"{name}.safetensors", (bases or {}).get(name)
            if base is None:
                write_tensors(file, states[name], dtype=dtype, metadata={"stage": name})
            else:
                with opened(_base_file(base, path)) as old:
                    parts = changes.told(states[name], {key: old.tensor(key) for key in old.shapes}, dtype)
                write_tensors(file, parts, metadata={"stage": name, **base.metadata()})
        for name, data in (files or {}).items():
            (fresh / name).write_bytes(data)
        sums = "".join(f"{sha256(file)}  {file.name}\n" for file in sorted(fresh.iterdir()))
        (fresh / SUMS).write_text(sums, encoding="utf-8")
        (fresh / "CARD.md").write_text(card, encoding="utf-8")
        (fresh / "config.json").write_text(dump(settings), encoding="utf-8")

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _swap_in(path, write)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LimnerError(f"{path}: cannot write the checkpoint ({reason}); nothing was left behind") from None
    return path


def read_folder(path: Path) -> Folder:
    """Read the settings of a checkpoint folder and check that its files are there and are what SHA256SUMS says.

    Raises: CheckpointError naming the first file that is missing or differs; ConfigError for settings that do not fit.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint folder")
    settings = _settings(path / "config.json")
    wanted = _sums(path / SUMS)
    folder = Folder(settings, path, {})
    for name in sorted({f"{name}.safetensors" for name in settings.networks()} | set(wanted)):
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing from the checkpoint; fetch or export the folder again")
        found = sha256(file)
        if name in wanted and found != wanted[name]:
            raise CheckpointError(
                f"{file}: sha256 is {found[:12]}..., {SUMS} says {wanted[name][:12]}...: damaged or changed; fetch it again"
            )
        if name.endswith(".safetensors"):
            folder.hashes[name.removesuffix(".safetensors")] = found
            if base := base_of(file):
                _base_file(base, path)
    return folder


class Stored:
    """An open weights file: names, shapes and tensors, whether they lie in it whole or as changes to those of another."""

    def __init__(self, path: Path, file: Any, old: Stored | None) -> None:
        self._path, self._file, self._old = path, file, old
        self._here = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
        ends = (changes.CHANGE, changes.SCALE)
        own = self._here if old is None else {key: shape for key, shape in self._here.items() if not key.endswith(ends)}
        self.shapes: dict[str, tuple[int, ...]] = own if old is None else {**old.shapes, **own}

    def tensor(self, key: str) -> Tensor:
        """One tensor, as it is stored; in float32 where it was changed."""
        if self._old is None or key in self._here:
            tensor: Tensor = self._file.get_tensor(key)
            return tensor
        tensor = self._old.tensor(key)
        if key + changes.CHANGE not in self._here:
            return tensor
        steps, scale = (self._file.get_tensor(key + end) for end in (changes.CHANGE, changes.SCALE))
        if steps.shape != tensor.shape or scale.shape != tensor.shape[:1]:
            raise CheckpointError(
                f"{self._path}: its change of {key} {list(steps.shape)} does not fit the weights {list(tensor.shape)}"
            )
        return changes.applied(tensor, steps, scale)


@contextlib.contextmanager
def opened(path: Path, device: str | torch.device = "cpu") -> Iterator[Stored]:
    """A weights file, opened; where it holds changes, with the file they belong to.

    Raises: CheckpointError for a file that cannot be read, or whose base is not here.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(safetensors.safe_open(path, framework="pt", device=str(device)))
            base = Base.of(file.metadata() or {}, path)
            old = None if base is None else stack.enter_context(opened(_base_file(base, path.parent), device))
            yield Stored(path, file, old)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such weights file") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({str(error)[:80]}); fetch or export it again") from None


def base_of(path: Path) -> Base | None:
    """What a weights file holds changes to; None for one that stands alone. Raises: CheckpointError when it cannot be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return Base.of(file.metadata() or {}, path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({str(error)[:80]}); fetch or export it again") from None


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a weights file, one at a time.

    Raises: CheckpointError for a file that cannot be read.
    """
    with opened(path) as stored:
        for key in stored.shapes:
            yield key, stored.tensor(key)


def load_state(
    module: nn.Module, path: Path, *, dtype: torch.dtype | None = torch.float32, device: str | torch.device = "cpu"
) -> None:
    """Fill a module, on the meta device or not, with the weights of a safetensors file, strictly.

    Floating weights become `dtype` (None: as stored). A module on the meta device receives the tensors themselves, on `device`.

    Raises: CheckpointError for a file that cannot be read, or listing (at most ten) missing, extra and misshapen weights.
    """
    want = module.state_dict()
    state: dict[str, Tensor] = {}
    with opened(path, device) as stored:
        _check_fit(path, {key: tuple(value.shape) for key, value in want.items()}, stored.shapes)
        for key in stored.shapes:
            value = stored.tensor(key)
            state[key] = value.to(dtype) if dtype is not None and value.is_floating_point() else value
    module.load_state_dict(state, strict=True, assign=any(value.is_meta for value in want.values()))


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tensors(
    path: Path, state: Mapping[str, Tensor], *, dtype: torch.dtype | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, byte for byte as the library would, but one tensor at a time and with no second copy of all.

    Each tensor is asked for twice: for its shape, then for its numbers. Floating ones become `dtype` (None: as they are).

    Raises: CheckpointError for a type of number that is not stored; OSError when the disk refuses.
    """
    kinds: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for key, value in state.items():
        stored = dtype if dtype is not None and value.is_floating_point() else value.dtype
        if stored not in _KINDS:
            raise CheckpointError(f"{path}: {key}: {stored} cannot be stored; have: {', '.join(_KINDS.values())}")
        kinds[key] = (stored, tuple(value.shape))
    order = sorted(kinds, key=lambda key: (-list(_KINDS).index(kinds[key][0]), key))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for key in order:
        stored, shape = kinds[key]
        end = at + stored.itemsize * math.prod(shape)
        header[key] = {"dtype": _KINDS[stored], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for key in order:
            numbers = state[key].detach().to("cpu", kinds[key][0]).contiguous().flatten()
            file.write(numbers.view(torch.uint8).numpy().data)


def _swap_in(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside its place, then move it there; on failure the old folder stays."""
    mark = uuid.uuid4().hex[:8]
    fresh, old = (path.with_name(f".{path.name}.{mark}.{kind}") for kind in ("new", "old"))
    try:
        fresh.mkdir()
        write(fresh)
        mode = (fresh / "CARD.md").stat().st_mode
        for file in fresh.iterdir():
            file.chmod(mode)  # safetensors makes files that only their owner can read
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def _base_file(base: Base, beside: Path) -> Path:
    """The file that changes belong to: of the model of this name, or of a folder of this name beside theirs.

    Raises: CheckpointError when there is none, or only with other weights.
    """
    found = ""
    folders = [beside.parent / base.model]
    with contextlib.suppress(CheckpointError):
        folders.insert(0, catalog.find(base.model))
    for folder in folders:
        file = folder / f"{base.network}.safetensors"
        if file.is_file():
            found = sha256(file)
            if found == base.sha256:
                return file
    what = f"has other weights now (sha256 {found[:12]}..., wanted {base.sha256[:12]}...)" if found else "is not here"
    raise CheckpointError(f"{beside}: holds changes to the {base.network!r} of {base.model}, which {what}; fetch both again")


def _check_replaceable(path: Path) -> None:
    """Refuse to replace what is no checkpoint, or to delete with one what somebody else put there."""
    if not path.is_dir() or (any(path.iterdir()) and not (path / "config.json").is_file()):
        raise CheckpointError(f"{path}: exists and is not a checkpoint folder; choose another name")
    sums = (path / SUMS).read_text("utf-8", "replace") if (path / SUMS).is_file() else ""
    ours = {"config.json", "CARD.md", SUMS, *(line[66:] for line in sums.splitlines())}
    own = sorted(item.name for item in path.iterdir() if item.name not in ours and item.name[0] != ".")
    if own:
        raise CheckpointError(f"{path}: {own[0]} in it was put there by somebody else and would be lost; choose another name")


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not re.fullmatch(_NAME, name):
            raise CheckpointError(f"'{name}': cannot be a file of a checkpoint; use letters, digits, '.', '_' and '-'")


def _settings(path: Path) -> SystemSettings:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: missing; a checkpoint folder holds config.json and one .safetensors file a stage"
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold an object of settings; got {type(tree).__name__}")
    return parse(SystemSettings, tree, where=str(path))


def _sums(path: Path) -> dict[str, str]:
    """File name -> sha256; empty when the folder carries no sums."""
    if not path.is_file():
        return {}
    sums = {}
    for row in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = re.fullmatch(rf"([0-9a-f]{{64}}) [ *]({_NAME})", row)
        if not found:
            raise CheckpointError(f"{path}: '{row[:60]}' is not a line of sha256sum")
        sums[found[2]] = found[1]
    return sums


def _check_fit(path: Path, want: Mapping[str, tuple[int, ...]], have: Mapping[str, tuple[int, ...]]) -> None:
    missing = [key for key in want if key not in have]
    extra = [key for key in have if key not in want]
    misshapen = [
        f"{key} {list(have[key])} (the network has {list(want[key])})" for key in want if key in have and have[key] != want[key]
    ]
    kinds = (("missing", missing), ("extra", extra), ("misshapen", misshapen))
    if wrong := "; ".join(f"{len(keys)} {kind}: {_said(keys)}" for kind, keys in kinds if keys):
        raise CheckpointError(f"{path}: does not fit the network: {wrong}")


def _said(names: Sequence[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "none"
