"""CLIPs small enough to score in milliseconds: random weights, CLIP's own vocabulary; a noised one for the tiny cascade."""

from __future__ import annotations

from pathlib import Path

import torch

from limner import weights
from limner.config import ClipSettings, NoisedClipSettings, PartSettings, SystemSettings, TextTowerSettings, VitSettings
from limner.networks.clip import Clip
from limner.networks.noised_clip import NoisedClip

SETTINGS = ClipSettings(
    embed=8,
    image=VitSettings(side=16, patch=8, width=16, depth=1, heads=2),
    text=TextTowerSettings(context=8, width=8, depth=1, heads=2),
)

NOISED_IMAGE = NoisedClipSettings(embed=8, image=VitSettings(side=8, patch=4, width=16, depth=1, heads=2), text=None, steps=50)
NOISED_TEXT = NoisedClipSettings(embed=8, image=None, text=TextTowerSettings(context=5, width=16, depth=1, heads=2), steps=None)


def save(path: Path, parts: dict[str, ClipSettings] | None = None) -> Path:
    """The tiny CLIP as a checkpoint folder; `parts` may put its towers into files of their own."""
    named = parts or {"clip": SETTINGS}
    torch.manual_seed(0)
    states = {name: Clip(settings).state_dict() for name, settings in named.items()}
    listed = tuple(PartSettings(name=name, network=settings) for name, settings in named.items())
    system = SystemSettings(system="clip", name=path.name, summary="A tiny CLIP for tests", parts=listed)
    return weights.save_folder(path, system, states, "# tiny CLIP\n\nNot trained.\n", dtype=torch.float32)


def save_noised(path: Path) -> Path:
    """The towers of a noised CLIP that fits `tests.tiny`, as a checkpoint folder of their own."""
    torch.manual_seed(1)
    towers = {"image": NOISED_IMAGE, "text": NOISED_TEXT}
    states = {name: NoisedClip(settings).state_dict() for name, settings in towers.items()}
    listed = tuple(PartSettings(name=name, network=settings) for name, settings in towers.items())
    system = SystemSettings(system="noised-clip", name=path.name, parts=listed)
    return weights.save_folder(path, system, states, "# tiny noised CLIP\n\nNot trained.\n", dtype=torch.float32)
