"""A dVAE small enough to code a picture in a few milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from limner import weights
from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings, PartSettings, SystemSettings
from limner.networks.building import build

NETWORKS = {
    "encoder": DiscreteEncoderSettings(width=8, blocks=1, codes=32),
    "decoder": DiscreteDecoderSettings(stem=8, width=8, blocks=1, codes=32),
}


def save(path: Path, *, parts: Sequence[str] = ("encoder", "decoder"), seed: int = 0) -> Path:
    """The tiny dVAE, or a half of it, as a checkpoint folder."""
    torch.manual_seed(seed)
    chosen = tuple(PartSettings(name=name, network=NETWORKS[name]) for name in parts)
    system = SystemSettings(system="dvae", name=path.name, summary="A tiny dVAE for tests", parts=chosen)
    states = {part.name: build(part.network).state_dict() for part in chosen}
    return weights.save_folder(path, system, states, "# tiny\n\nNot trained.\n", dtype=torch.float32)
