"""Which models there are and where they lie: in the box, in the models folder, or anywhere as a path.

Only `config.json` is read here; whether the weights are whole is checked by `weights.read_folder`.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import platformdirs

from limner import released
from limner.config import SystemSettings, parse
from limner.errors import CheckpointError, InputError, LimnerError

_DRAWING = ("draw", "edit", "sketch", "outpaint")
_VERBS = {"glide": _DRAWING, "adm": ("draw",), "clip": ("score",), "dvae": ("reconstruct",)}


class Entry(NamedTuple):
    """A model that can be loaded by name."""

    name: str
    path: Path
    summary: str
    licence: str
    size: int  # bytes on disk
    verbs: tuple[str, ...]
    bundled: bool  # shipped with limner
    problem: str = ""  # why it cannot be loaded; "" = nothing known


def models() -> list[Entry]:
    """Every model known by name: the bundled ones, then those in the models folder; a broken one says what is wrong."""
    found: dict[str, Entry] = {}
    for root in (_bundled_root(), models_root()):
        for folder in _folders(root):
            found.setdefault(folder.name, describe(folder))
    return list(found.values())


def find(name_or_path: str | Path) -> Path:
    """The checkpoint folder of a name (`glide-emoji`) or of a path. A bundled name cannot be shadowed.

    Raises: CheckpointError naming the models that come near, when there is neither.
    """
    text = str(name_or_path)
    for root in (_bundled_root(), models_root()):
        for folder in _folders(root):
            if folder.name == text:
                return folder
    path = Path(text)
    if text and _is_folder(path):
        if _is_checkpoint(path):
            return path
        raise CheckpointError(f"{text}: this folder holds no config.json, so it is not a limner checkpoint")
    if not_pulled(text):
        raise CheckpointError(f"{text}: is released, but not here yet; run `limner models pull {text}`")
    names = [entry.name for entry in models()]
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    have = ", ".join(names) or "none"
    raise CheckpointError(f"{text[:80]!r}: no such model or folder{hint}; have: {have}; more are looked for in {models_root()}")


def describe(folder: Path) -> Entry:
    """What a checkpoint folder says about itself; a broken one is described too, with its problem."""
    bundled = folder.parent == _bundled_root()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    try:
        settings = settings_of(folder)
    except (OSError, ValueError, LimnerError) as error:
        return Entry(
            folder.name, folder, "", "", size, (), bundled, f"config.json cannot be used: {str(error).splitlines()[0]}"
        )
    missing = [name for name in settings.networks() if not (folder / f"{name}.safetensors").is_file()]
    problem = f"weights are missing: {', '.join(missing)}" if missing else ""
    return Entry(folder.name, folder, settings.summary, settings.licence, size, _verbs(settings), bundled, problem)


def settings_of(folder: Path) -> SystemSettings:
    """What a checkpoint folder says it is made of.

    Raises: OSError or ValueError when its config.json cannot be read; ConfigError for a setting that does not fit.
    """
    config = folder / "config.json"
    return parse(SystemSettings, json.loads(config.read_text(encoding="utf-8")), where=str(config))


def not_pulled(name: str) -> released.Model | None:
    """A released model of this name that is not here; None for every other name."""
    known = released.find(name)
    here = any(folder.name == name for root in (_bundled_root(), models_root()) for folder in _folders(root))
    return None if known is None or here else known


def removable(name: str, *, even_own: bool) -> Path:
    """The folder of a model that may be deleted; one that cannot be pulled again only when `even_own` is True.

    Raises: CheckpointError for a name that is not in the models folder; InputError for a model that may be the only copy.
    """
    here = {folder.name: folder for folder in _folders(models_root())}
    if name not in here:
        bundled = name in {folder.name for folder in _folders(_bundled_root())}
        why = "belongs to limner itself" if bundled else f"is not in {models_root()}"
        raise CheckpointError(f"{name!r:.80}: {why}; can be deleted: {', '.join(here) or 'none'}")
    if not even_own:
        raise InputError(f"{name}: was not released, so this may be the only copy; say --yes to delete it")
    return here[name]


def remove(folder: Path) -> None:
    """Delete a model's folder. Raises: CheckpointError when the disk refuses."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be deleted ({error.strerror or error})") from None


def models_root() -> Path:
    """Where named models are looked for beside the bundled ones: $LIMNER_MODELS, else the platform's folder of user data."""
    chosen = os.environ.get("LIMNER_MODELS")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("limner")) / "models"


def _verbs(settings: SystemSettings) -> tuple[str, ...]:
    enlarging = ("upscale",) if settings.stages and settings.stages[-1].low_side is not None else ()
    return (*_VERBS.get(settings.system, ()), *enlarging)


def _bundled_root() -> Path:
    return Path(str(resources.files("limner.bundled")))


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(folder for folder in root.iterdir() if folder.name[0] != "." and _is_checkpoint(folder))
    except OSError:
        return []


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name no file system would take
        return False
