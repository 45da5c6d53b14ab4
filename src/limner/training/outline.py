"""A second, easier lesson for the text transformer: from the words alone, say roughly what is where.

A denoiser learns what the order of words means from its noisiest levels only, and there late: its attention to the words
starts at zero and shares every layer with a picture of pure noise. A small head that is asked for the mean picture of a
caption has no such detour, and its gradient teaches the text transformer the same thing within the first thousands of
steps. The head is trained with the network and thrown away with the optimiser: no checkpoint folder holds it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import TextSettings
from limner.networks.layers import LayerNorm, attend, join_heads, split_heads

GRID = 8  # cells a side
FINE = 4  # pixels a side of a cell
LAYERS = 2
PREFIX = "outline."  # of its tensors' names in a run's files


class Outline(nn.Module):
    """Features of a text -> the mean of the pictures it may stand for, at GRID * FINE pixels a side."""

    def __init__(self, settings: TextSettings, embed: int, channels: int) -> None:
        super().__init__()
        width = settings.width
        self.cells = nn.Parameter(torch.randn(GRID**2, width) * 0.5)
        self.pooled = nn.Linear(embed, width)
        self.layers = nn.ModuleList(_Glance(width, settings.heads) for _ in range(LAYERS))
        self.head = nn.Linear(width, channels * FINE**2)

    def forward(self, text: Tensor, pooled: Tensor) -> Tensor:
        """Shapes: text [B L D], pooled [B E] -> [B C S S], S = GRID * FINE."""
        h = self.cells + self.pooled(F.silu(pooled))[:, None]  # [B N D]
        for layer in self.layers:
            h = layer(h, text)
        cells = self.head(h).transpose(1, 2).unflatten(2, (GRID, GRID))
        return F.pixel_shuffle(cells, FINE)

    def loss(self, text: Tensor, pooled: Tensor, picture: Tensor) -> Tensor:
        """Mean squared error to the picture, made as small as the outline. Shapes: picture [B C H W] -> [B]."""
        coarse = F.interpolate(picture.float(), (GRID * FINE, GRID * FINE), mode="area")
        error: Tensor = self(text, pooled).float() - coarse
        return error.square().mean(dim=(1, 2, 3))


class _Glance(nn.Module):
    """Every cell looks at the words, then thinks; both residual, both behind a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = LayerNorm(width), LayerNorm(width)
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor, text: Tensor) -> Tensor:
        """Shapes: h [B N D], text [B L D] -> [B N D]."""
        (q,) = split_heads(self.q(self.norm_1(h)), 1, self.heads)
        k, v = split_heads(self.kv(text), 2, self.heads)
        h = h + self.proj(join_heads(attend(q, k, v)))
        h = h + self.out(F.gelu(self.fc(self.norm_2(h))))
        return h
