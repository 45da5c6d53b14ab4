"""Released files as their manifests tell them, and what a key map has to prove about each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from limner.networks.building import build, hollow
from limner.official import layout
from limner.official.families import Piece, expected

MANIFESTS = Path(__file__).parents[1] / "golden" / "manifests"


class Released(NamedTuple):
    shapes: dict[str, tuple[int, ...]]
    parameters: int


def released(name: str) -> Released:
    """Keys and shapes of a released file, in either form of manifest."""
    manifest = json.loads((MANIFESTS / f"{name}.json").read_text(encoding="utf-8"))
    listed = manifest["state_dict"] if "state_dict" in manifest else manifest["keys"]
    shapes = {key: tuple(value["shape"] if isinstance(value, dict) else value) for key, value in listed.items()}
    return Released(shapes, manifest["total_parameters"] if "total_parameters" in manifest else manifest["n_params"])


def fits(pieces: Sequence[Piece], file: Released) -> bool:
    """Whether the pieces have exactly the keys, shapes and parameters of a file, and the file those of the pieces."""
    count = sum(p.numel() for piece in pieces for p in hollow(build, piece.settings.network).parameters())
    return expected(pieces) == file.shapes and count == file.parameters and all(_filled(piece, file) for piece in pieces)


def _filled(piece: Piece, file: Released) -> bool:
    """Whether the file's tensors, translated, have the names and shapes of the network's."""
    state = {key: torch.empty(file.shapes[key], device="meta") for key in piece.keys}
    with _Joined():
        ours = layout.to_limner(state, piece.keys, where=piece.settings.name)
    wanted = hollow(build, piece.settings.network).state_dict()
    return {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in wanted.items()}


class _Joined(TorchFunctionMode):
    """Joins meta tensors by their shapes alone: torch would import its compiler, several seconds, to do so."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not torch.cat:
            return func(*args, **(kwargs or {}))
        first, *rest = args[0]
        assert all(each.shape[1:] == first.shape[1:] for each in rest)
        return first.new_empty(sum(len(each) for each in args[0]), *first.shape[1:])


def survives(net: nn.Module, keys: layout.KeyMap) -> bool:
    """Whether random weights come back bit for bit from the way to the official layout."""
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) for name, value in net.state_dict().items()}
    back = layout.to_limner(layout.to_official(state, keys, where="x"), keys, where="x")
    return set(back) == set(state) and all(torch.equal(back[name], value) for name, value in state.items())
