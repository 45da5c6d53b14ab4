"""limner: the OpenAI text-to-image lineage in one library.

The public names; each is fetched from its home when it is first asked for, so that `import limner` does no work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limner.catalog import Entry, models
    from limner.config import Preset, SystemSettings, load_preset
    from limner.errors import LimnerError
    from limner.evaluation.measuring import evaluate
    from limner.official.converting import convert
    from limner.official.pulling import pull
    from limner.recipe import Image, Recipe
    from limner.systems.base import Progress, Request
    from limner.systems.drawing import Pipe, load
    from limner.systems.glide import PromptCutWarning
    from limner.systems.repeating import Reproduction, reproduce
    from limner.training import export, train

__all__ = [
    "Entry",
    "Image",
    "LimnerError",
    "Pipe",
    "Preset",
    "Progress",
    "PromptCutWarning",
    "Recipe",
    "Reproduction",
    "Request",
    "SystemSettings",
    "__version__",
    "convert",
    "evaluate",
    "export",
    "load",
    "load_preset",
    "models",
    "pull",
    "reproduce",
    "train",
]

_HOMES = {
    "Entry": "catalog",
    "Image": "recipe",
    "LimnerError": "errors",
    "Pipe": "systems.drawing",
    "Preset": "config",
    "Progress": "systems.base",
    "PromptCutWarning": "systems.glide",
    "Recipe": "recipe",
    "Reproduction": "systems.repeating",
    "Request": "systems.base",
    "SystemSettings": "config",
    "convert": "official.converting",
    "evaluate": "evaluation.measuring",
    "export": "training",
    "load": "systems.drawing",
    "load_preset": "config",
    "models": "catalog",
    "pull": "official.pulling",
    "reproduce": "systems.repeating",
    "train": "training",
}


def _fetch(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'limner' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"limner.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # a type checker shall know the names above and no others
    __getattr__ = _fetch
