"""Presets: TOML files for people, shipped in `limner/presets` or anywhere as a path; one may extend another, or several."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TypeGuard

from limner.config.settings import Tree, did_you_mean, override, parse
from limner.config.systems import Preset
from limner.errors import ConfigError


def presets() -> list[str]:
    """Names of the presets that ship with limner."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files("limner.presets").iterdir() if p.name.endswith(".toml"))


def load_preset(name: str | Path, overrides: Sequence[str] = ()) -> Preset:
    """Read a preset by name or path, follow `extends`, apply `a.b.0.c=value` overrides.

    Raises: ConfigError with the dotted path of the first wrong setting and the nearest right one.
    """
    tree = _read(name, ())
    for given in overrides:
        override(tree, given)
    return parse(Preset, tree, where=str(name))


def _read(name: str | Path, seen: tuple[str, ...]) -> Tree:
    if str(name) in seen:
        raise ConfigError(f"{name}: presets extend each other in a circle: {' -> '.join((*seen, str(name)))}")
    try:
        text = _find(name)
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: not a text file in UTF-8") from None
    parents = tree.pop("extends", [])
    whole: Tree = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        whole = _merge(whole, _read(parent, (*seen, str(name))))
    return _merge(whole, tree)


def _find(name: str | Path) -> str:
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"{path}: no such preset file")
        return path.read_text(encoding="utf-8")
    shipped = resources.files("limner.presets").joinpath(f"{name}.toml")
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    raise ConfigError(f"{name}: no such preset{did_you_mean(str(name), presets())}; have: {', '.join(presets())}")


def _merge(base: Tree, over: Tree) -> Tree:
    """Tables merge key by key, lists of named tables (stages, parts) name by name; other lists and values are replaced."""
    out = dict(base)
    for key, value in over.items():
        was = out.get(key)
        if isinstance(value, dict) and isinstance(was, dict):
            out[key] = _merge(was, value)
        elif _named(value) and _named(was):
            before = {each["name"]: each for each in was}
            out[key] = list((before | {each["name"]: _merge(before.get(each["name"], {}), each) for each in value}).values())
        else:
            out[key] = value
    return out


def _named(value: object) -> TypeGuard[list[Tree]]:
    return isinstance(value, list) and all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in value)
