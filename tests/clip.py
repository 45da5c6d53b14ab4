"""A CLIP small enough to score in milliseconds: random weights, CLIP's own vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch

from limner import weights
from limner.config import ClipSettings, PartSettings, SystemSettings, TextTowerSettings, VitSettings
from limner.networks.clip import Clip

SETTINGS = ClipSettings(
    embed=8,
    image=VitSettings(side=16, patch=8, width=16, depth=1, heads=2),
    text=TextTowerSettings(context=8, width=8, depth=1, heads=2),
)


def save(path: Path, parts: dict[str, ClipSettings] | None = None) -> Path:
    """The tiny CLIP as a checkpoint folder; `parts` may put its towers into files of their own."""
    named = parts or {"clip": SETTINGS}
    torch.manual_seed(0)
    states = {name: Clip(settings).state_dict() for name, settings in named.items()}
    listed = tuple(PartSettings(name=name, network=settings) for name, settings in named.items())
    system = SystemSettings(system="clip", name=path.name, summary="A tiny CLIP for tests", parts=listed)
    return weights.save_folder(path, system, states, "# tiny CLIP\n\nNot trained.\n", dtype=torch.float32)
