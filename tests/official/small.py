"""Small files in released layouts: quick to make, and told from their keys as the released ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings, NetworkSettings
from limner.networks.building import build
from limner.official import dvae, layout

ENCODER = DiscreteEncoderSettings(width=4, blocks=1, codes=8)
DECODER = DiscreteDecoderSettings(stem=4, width=4, blocks=1, codes=8)


def official(settings: DiscreteEncoderSettings | DiscreteDecoderSettings, *, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a part of the dVAE under their official keys; one of them in half precision."""
    torch.manual_seed(seed)
    state = {key: torch.randn(value.shape) for key, value in build(settings).state_dict().items()}
    found = layout.to_official(state, dvae.keys(settings), where="small")
    return {key: value.half() if key == "blocks.input.w" else value.contiguous() for key, value in found.items()}


def save(path: Path, settings: NetworkSettings = ENCODER, *, seed: int = 0) -> Path:
    """The same as a file of torch.save."""
    assert isinstance(settings, DiscreteEncoderSettings | DiscreteDecoderSettings)
    torch.save(official(settings, seed=seed), path)
    return path
