"""Frozen settings: how they are read from plain data, overridden with dotted paths, explained when wrong, written."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from limner.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)
Tree = dict[str, Any]


class Frozen(BaseModel):
    """Base of all settings: cannot be changed, and refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def overridden(settings: Settings, overrides: Sequence[str], *, where: str) -> Settings:
    """The same settings with `a.b.0.c=value` overrides applied.

    Raises: ConfigError as `load_preset` does.
    """
    tree: Tree = settings.model_dump(mode="json")
    for given in overrides:
        override(tree, given)
    return parse(type(settings), tree, where=where)


def parse(kind: type[Settings], tree: Mapping[str, Any], *, where: str) -> Settings:
    """Build settings from plain data; errors name the dotted path and suggest the nearest name."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(_explain(kind, first, where)) from None


def dump(settings: BaseModel) -> str:
    """The settings, fully expanded, as indented JSON with a final newline."""
    return json.dumps(settings.model_dump(mode="json"), indent=2) + "\n"


def override(tree: Tree, given: str) -> None:
    """Set one value of a tree from `a.b.0.c=value`. Raises: ConfigError when the path does not lead anywhere."""
    path, separator, text = given.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {given}: write it as path.to.setting=value")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    node: Any = tree
    keys = path.split(".")
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"{path}: '{key}' is not one of the {len(node)} entries 0..{len(node) - 1}")
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ConfigError(f"{path}: '{'.'.join(keys[:depth])}' is a plain value, it has no '{key}'")


def _explain(kind: type[BaseModel], error: Any, where: str) -> str:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if error["type"] == "extra_forbidden":
        names = _fields_at(kind, error["loc"][:-1])
        return f"{where}: {path}: no such setting{did_you_mean(str(error['loc'][-1]), names)}"
    found = "" if error["type"] == "missing" else f"; got {error['input']!r:.80}"
    return f"{where}: {path}: {error['msg'].removeprefix('Value error, ')}{found}"


def _fields_at(kind: Any, loc: Sequence[int | str]) -> list[str]:
    """Names of the settings that exist at a place inside `kind`."""
    for part in loc:
        if isinstance(part, str) and isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        for inner in getattr(kind, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                kind = inner
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of an error line that names the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
