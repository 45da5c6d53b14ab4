"""Foreign checkpoints, read safely: whatever a file is called and whatever is in it, only tensors come out.

No class is found, no code is run, no path is written, and nothing larger than the file is made: tensors are views of the
mapped file. Which network they are for is told by `families`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from limner.errors import CheckpointError
from limner.official.reading import safetensors_files, torch_files
from limner.official.reading.mapped import Mapped

__all__ = ["Foreign", "files", "generic", "read"]

_INDEX = ".index.json"
# How files are called in folders where every network has a folder of its own.
_NAMES = ("diffusion_pytorch_model", "model", "pytorch_model", "open_clip_pytorch_model")
_ENDINGS = (".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".bin")
_KNOWN = "safetensors, files of torch.save, TorchScript archives"


class Foreign(NamedTuple):
    """The tensors of a checkpoint that limner did not write."""

    path: Path
    kind: str  # of file, in words
    tensors: dict[str, Tensor]
    wrapper: str = ""  # the key under which a trainer's file keeps its weights

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Key -> shape."""
        return {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}


def read(path: Path) -> Foreign:
    """The tensors of a file by the keys it has for them; its kind is told from its contents, not from its name.

    Raises: CheckpointError in one line for every file that cannot be used, and for what would be more than tensors.
    """
    if path.name.endswith(_INDEX):
        return Foreign(path, "safetensors in parts", safetensors_files.sharded(path))
    file = Mapped(path)
    head = file.cut(0, 64)
    if head[:4] == b"PK\x03\x04":
        content = torch_files.zipped(file)
        return Foreign(path, content.kind, content.tensors, content.wrapper)
    if head.startswith(torch_files.LEGACY):
        content = torch_files.legacy(file)
        return Foreign(path, content.kind, content.tensors, content.wrapper)
    if head[8:9] == b"{":
        return Foreign(path, "safetensors", safetensors_files.tensors(file))
    raise CheckpointError(f"{path}: {_guess(head)}; can be read: {_KNOWN}")


def files(path: Path) -> list[Path]:
    """The weight files that a path stands for: itself, or those of a folder and its parts, as diffusers writes them.

    Raises: CheckpointError when there are none.
    """
    if not path.is_dir():
        return [path]
    found = [_weights(folder) for folder in (path, *sorted(each for each in path.iterdir() if each.is_dir()))]
    known = [file for file in found if file is not None]
    if not known:
        raise CheckpointError(f"{path}: this folder holds no weights; name the files themselves")
    return known


def generic(path: Path) -> bool:
    """Whether a file is called as every file of its kind is, so that only its folder says which it is."""
    return any(path.name == f"{name}{ending}" for name in _NAMES for ending in _ENDINGS)


def _weights(folder: Path) -> Path | None:
    return next((file for ending in _ENDINGS for name in _NAMES if (file := folder / f"{name}{ending}").is_file()), None)


def _guess(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a checkpoint: the download was answered with a message"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of git-lfs, not the file itself; fetch it with git lfs pull"
    if head[:1] == b"\x80":
        return "a pickle that torch.save did not write"
    return "not a checkpoint of a kind that is known"
