"""From what a pickle held to named tensors: state dicts, whole modules, TorchScript modules, and nests of these."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor

from limner.errors import CheckpointError
from limner.official.reading.pickles import Object

_DEEP = 64  # nested containers; modules of released files are about ten deep
_MANY = 200_000  # values looked at
_WRAPPERS = ("state_dict", "model_state_dict", "model", "ema", "params")  # keys under which trainers put the weights
_SURE = _WRAPPERS[:2]  # that mean this even where other tensors lie beside them

Registered = Mapping[str, Collection[str]]  # class of TorchScript -> its parameters and buffers


def tensors(tree: Any, registered: Registered, *, where: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the names a state dict gives them.

    The wrapper of a trainer's file (`{"state_dict": ...}`) is taken off; what else it holds is left out.

    Raises: CheckpointError when there are none, or they are nested beyond reason.
    """
    found: dict[str, Tensor] = {}
    for count, (name, tensor) in enumerate(_Walk(registered, where).named(unwrapped(tree)[0], "", 0)):
        if name in found or count > _MANY:
            raise CheckpointError(f"{where}: holds the key {name!r:.80} twice; which of the two is meant cannot be known")
        found[name] = tensor
    if not found:
        raise CheckpointError(f"{where}: holds no tensors, so it is no checkpoint of weights")
    return found


def unwrapped(tree: Any) -> tuple[Any, str]:
    """What a trainer's file holds under its weights' key, and that key; the tree itself and "" when it is no such file."""
    if isinstance(tree, dict):
        bare = any(isinstance(value, Tensor) for value in tree.values())
        for key in _SURE if bare else _WRAPPERS:
            if isinstance(tree.get(key), dict | Object):
                return tree[key], key
    return tree, ""


class _Walk:
    """Counts what it has seen: a small pickle can name the same container in endless ways."""

    def __init__(self, registered: Registered, where: str) -> None:
        self.registered, self.where, self.seen = registered, where, 0

    def named(self, value: Any, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
        """The tensors under a value with their dotted names."""
        self.seen += 1
        if depth > _DEEP or self.seen > _MANY:
            raise CheckpointError(f"{self.where}: its containers are nested beyond anything a checkpoint holds; refused")
        if isinstance(value, Tensor):
            yield prefix or "0", value
            return
        for name, each in self._children(value):
            yield from self.named(each, f"{prefix}.{name}" if prefix else str(name), depth + 1)

    def _children(self, value: Any) -> Iterator[tuple[Any, Any]]:
        match value:
            case dict():
                yield from ((name, each) for name, each in value.items() if isinstance(name, str | int))
            case list() | tuple():
                yield from enumerate(value)
            case Object() if value.kind.module.startswith("__torch__"):
                yield from self._scripted(value)
            case Object():
                hidden = value.state.get("_non_persistent_buffers_set")
                for group in ("_parameters", "_buffers", "_modules"):
                    members = value.state.get(group)
                    if isinstance(members, dict):
                        yield from (
                            (name, each)
                            for name, each in members.items()
                            if not (group == "_buffers" and isinstance(hidden, list) and name in hidden)
                        )

    def _scripted(self, value: Object) -> Iterator[tuple[Any, Any]]:
        """Members of a TorchScript module; of its tensors only those that its class registers, where that is known."""
        own = self.registered.get(value.kind.full)
        for name, each in value.state.items():
            if isinstance(each, Object) or (isinstance(each, Tensor) and (own is None or name in own)):
                yield name, each
