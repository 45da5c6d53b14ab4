"""From a picture's places to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.networks.layers import attend, join_heads, split_heads


class AttentionPool(nn.Module):
    """One vector of a picture: its mean attends to its pixels, all with their own positions (CLIP section 2.4, ADM's code)."""

    def __init__(self, channels: int, pixels: int, heads: int, c_out: int) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(torch.randn(pixels + 1, channels) / channels**0.5)
        self.qkv = nn.Linear(channels, 3 * channels)  # rows ordered [q, k, v][head][ch]
        self.proj = nn.Linear(channels, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B c_out].

        Raises: ShapeError for a picture of another size than it has positions for.
        """
        pixels = x.flatten(2).transpose(1, 2)  # [B N C]
        if pixels.shape[1] + 1 != len(self.positions):
            raise ShapeError(f"attention pool: has {len(self.positions) - 1} positions; got {list(x.shape[-2:])} pixels")
        tokens = torch.cat([pixels.mean(dim=1, keepdim=True), pixels], dim=1) + self.positions.to(x.dtype)  # [B N+1 C]
        q, k, v = split_heads(self.qkv(tokens), 3, self.heads)
        out: Tensor = self.proj(join_heads(attend(q[:, :, :1], k, v))[:, 0])
        return out
