"""Normalised embeddings, as the prior was trained on them, and back.

The prior itself is in diffusion_prior.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.config import StatisticsSettings


class EmbeddingStatistics(nn.Module):
    """Mean and spread of every component of CLIP's image embeddings over a data set; nothing in it is trained."""

    def __init__(self, settings: StatisticsSettings) -> None:
        super().__init__()
        self.settings = settings
        self.mean = nn.Parameter(torch.zeros(settings.clip), requires_grad=False)
        self.spread = nn.Parameter(torch.ones(settings.clip), requires_grad=False)

    def normalise(self, embedding: Tensor) -> Tensor:
        """What the prior is trained to predict. Shapes: [B D] -> [B D]."""
        return (embedding - self.mean) / self.spread

    def restore(self, normalised: Tensor) -> Tensor:
        """The embedding as CLIP would give it. Shapes: [B D] -> [B D]."""
        return normalised * self.spread + self.mean
