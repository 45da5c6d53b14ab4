"""From a checkpoint folder back to released layouts: original keys, shapes and types.

A converted folder gives its files back bit for bit. Networks from elsewhere (trained here, or converted from the other layout)
are written with the keys that their family has for such settings.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner import weights
from limner.config import NetworkSettings
from limner.errors import CheckpointError, LimnerError, UnsupportedError
from limner.networks.building import build, hollow
from limner.official import families
from limner.official.converting import RECORD
from limner.official.layout import KeyMap, to_official
from limner.weights import Folder

LAYOUTS = ("official", "diffusers")


class Planned(NamedTuple):
    """A file that will be written."""

    name: str
    networks: list[tuple[str, KeyMap]]  # each network's name in the folder, and its keys in the file
    dtypes: dict[str, str]  # of the official tensors where they are known
    wrapper: str = ""


def export(folder: Folder, out: Path, *, layout: str = "official") -> list[Path]:
    """Write the networks of a checkpoint folder as released files; the files written.

    Raises: CheckpointError when `out` is in the way; UnsupportedError for a network that the layout has no keys for.
    """
    if layout not in LAYOUTS:
        raise CheckpointError(f"export: there is no layout {layout!r}; have: {', '.join(LAYOUTS)}")
    if out.exists():
        raise CheckpointError(f"{out}: is in the way; remove it or choose another folder")
    planned = _recorded(folder, layout)
    planned += _together(folder, planned, layout)
    covered = _covered(planned)
    for name, network in folder.settings.networks().items():
        if name not in covered:
            planned.append(Planned(_file_name(name, layout), [(name, _mapped(folder, name, network, layout))], {}))
    documents = {path: text for family in _own(folder, layout) for path, text in _json(family, folder)}
    fresh = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    try:
        for plan in planned:
            file = fresh / plan.name
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, _official(folder, plan), plan.wrapper)
        for name, text in documents.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text, encoding="utf-8")
        fresh.rename(out)
    except (OSError, RuntimeError) as error:  # torch says it the second way when the disk is full
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise LimnerError(f"{out}: cannot be written ({reason}); nothing was left behind") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return [out / name for name in (*(plan.name for plan in planned), *documents)]


def _own(folder: Folder, layout: str) -> list[families.Family]:
    """The families of the folder's system that have this layout."""
    return [family for family in families.FAMILIES if family.layout == layout and family.system == folder.settings.system]


def _covered(planned: Sequence[Planned]) -> set[str]:
    return {name for plan in planned for name, _ in plan.networks}


def _together(folder: Folder, planned: Sequence[Planned], layout: str) -> list[Planned]:
    """The files that hold several networks, or have names of their own, of networks that are not planned yet."""
    covered = _covered(planned)
    left = {name: network for name, network in folder.settings.networks().items() if name not in covered}
    return [
        Planned(file.name, list(file.networks), {}, file.wrapper)
        for family in _own(folder, layout)
        if family.files is not None
        for file in family.files(left)
    ]


def _json(family: families.Family, folder: Folder) -> Iterator[tuple[str, str]]:
    if family.documents is not None:
        for path, content in family.documents(folder.settings).items():
            yield path, json.dumps(content, indent=2) + "\n"


def _recorded(folder: Folder, layout: str) -> list[Planned]:
    """The files that the folder was converted from, when they had this layout."""
    path = folder.path / RECORD
    if not path.is_file():
        return []
    try:
        files: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
        plans = []
        for told in files:
            if told["layout"] != layout:
                continue
            shapes = {key: tuple(shape) for key, (_, shape) in told["tensors"].items()}
            networks = _known_keys(folder, told, shapes)
            dtypes = {key: dtype for key, (dtype, _) in told["tensors"].items()}
            plans.append(Planned(_safe_name(told["file"]), networks, dtypes, told["wrapper"]))
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {str(error)[:60]}); convert the files again") from None
    return plans


def _known_keys(folder: Folder, told: dict[str, Any], shapes: families.Shapes) -> list[tuple[str, KeyMap]]:
    """The keys of a file's networks: told from its shapes again, or by its family from their settings."""
    try:
        _, pieces = families.recognise(shapes, where=told["file"])
        return [(name, piece.keys) for name, piece in zip(told["networks"], pieces, strict=True)]
    except CheckpointError:  # converted with a preset
        _, pieces = families.fitting(shapes, (*folder.settings.stages, *folder.settings.parts), where=told["file"])
        return [(piece.settings.name, piece.keys) for piece in pieces]


def _safe_name(told: str) -> str:
    """The name of a file in the released layout; files that held whole modules become plain dictionaries, `.pt`."""
    path = PurePosixPath(told.removesuffix(".index.json"))
    folder = f"{path.parent.name}/" if path.parent.name not in ("", "..") else ""
    ending = path.suffix if path.suffix in (".pt", ".pth", ".ckpt", ".th", ".safetensors", ".bin") else ".pt"
    return f"{folder}{path.stem}{ending}"


def _mapped(folder: Folder, name: str, network: NetworkSettings, layout: str) -> KeyMap:
    for family in families.FAMILIES:
        if family.layout == layout and family.maps is not None:
            keys = family.maps(network)
            if keys is not None:
                return keys
    raise UnsupportedError(
        f"{folder.path.name}: its network {name!r} ({network.kind}) has no {layout} layout; nothing was written"
    )


def _file_name(name: str, layout: str) -> str:
    return f"{name}/diffusion_pytorch_model.safetensors" if layout == "diffusers" else f"{name}.pt"


def _official(folder: Folder, plan: Planned) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, keys in plan.networks:
        net = hollow(build, folder.settings.networks()[name])
        weights.load_state(net, folder.weights(name), dtype=None)
        state |= to_official(net.state_dict(), keys, where=f"{folder.path.name}: {name}")
    order = plan.dtypes or state
    return {key: state[key].to(getattr(torch, plan.dtypes[key])) if plan.dtypes else state[key] for key in order}


def _write(file: Path, state: Mapping[str, Tensor], wrapper: str) -> None:
    if file.suffix == ".safetensors":
        weights.write_tensors(file, state, metadata={"format": "pt"})
    else:
        plain = {key: _alone(value.detach()) for key, value in state.items()}
        numbered = [*plain] == [str(n) for n in range(len(plain))]  # a bare tuple of tensors, as of statistics
        content = tuple(plain.values()) if numbered else plain
        torch.save({wrapper: content} if wrapper else content, file)


def _alone(tensor: Tensor) -> Tensor:
    """The tensor by itself: torch writes all of the memory that a view looks into."""
    alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if alone else tensor.clone(memory_format=torch.contiguous_format)
