"""Which of two sibling models paints: the generator, or the one of the same name that was trained to inpaint.

`glide-emoji` and `glide-emoji-inpaint` are siblings. A model without one is edited with known pixels put back in every step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from limner import catalog
from limner.config import SystemSettings
from limner.errors import LimnerError, UnsupportedError

Method = Literal["auto", "trained", "replacement"]
METHODS: tuple[Method, ...] = ("trained", "replacement")
SUFFIX = "-inpaint"


def painter(model: str | Path, method: Method = "auto") -> Path:
    """The model that repaints a region for a model's name or folder.

    "auto" takes the sibling trained to inpaint where there is one that can be used, "trained" insists on it, "replacement"
    takes the generator.

    Raises: CheckpointError when there is no such model; UnsupportedError when there is none of the method that was asked for.
    """
    own = catalog.find(model)
    if method == "replacement":
        return own if not _inpaints(own) else _other(own, own.name.removesuffix(SUFFIX), inpaints=False)
    if _inpaints(own):
        return own
    try:
        return _other(own, own.name + SUFFIX, inpaints=True)
    except UnsupportedError:
        if method == "trained":
            raise
        return own


def _other(own: Path, name: str, *, inpaints: bool) -> Path:
    """A sibling: a folder beside the model, or a model known by name."""
    beside = own.resolve().parent / name
    for place in (beside, name):
        try:
            found = catalog.find(place)
        except LimnerError:
            continue
        if not catalog.describe(found).problem and _inpaints(found) == inpaints:
            return found
    kind = "trained to inpaint" if inpaints else "that draws without a mask"
    raise UnsupportedError(f"{own.name}: there is no model '{name}' {kind}; use another model or method")


def _inpaints(folder: Path) -> bool:
    """Whether a model's first stage is shown what is known."""
    settings = _settings(folder)
    return settings is not None and bool(settings.stages) and settings.stages[0].network.inpaint


def _settings(folder: Path) -> SystemSettings | None:
    try:
        return catalog.settings_of(folder)
    except (OSError, ValueError, LimnerError):
        return None  # whoever loads it will say what is wrong
