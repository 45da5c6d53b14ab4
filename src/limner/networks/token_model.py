"""DALL-E's transformer: one sequence of text and image tokens, each predicted from those before it (DALL-E 1 section 2.2).

How ids are numbered, scored and drawn is in `discrete/`; which token sees which is in `patterns.py`. The network was never
released: sizes and layout are the paper's, the rest is said below.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import torch
from torch import Tensor, nn

from limner.config import TokenModelSettings
from limner.errors import ShapeError
from limner.networks import patterns
from limner.networks.layers import LayerNorm, split_heads
from limner.networks.patterns import Grid, Kind
from limner.networks.transformer import TransformerBlock

Past: TypeAlias = tuple[Tensor, ...]  # one a layer: keys and values [B 2 H M ch] of the tokens so far


class TokenModel(nn.Module):
    """(tokens so far) -> logits of the next ones.

    Layers alternate between rows and columns of the picture (`patterns.kinds`); all see the whole text before them, pads
    included, which have an id a position. Text has one table of positions, the picture one of rows and one of columns.
    Note: what stands in front of the first word is not published. Here the first token is given and not predicted.
    """

    def __init__(self, settings: TokenModelSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.tokens = nn.Embedding(s.size, s.width)
        self.positions = nn.Embedding(s.text, s.width)
        self.rows = nn.Embedding(s.rows, s.width)
        self.cols = nn.Embedding(s.cols, s.width)
        self.blocks = nn.ModuleList(TransformerBlock(s.width, s.heads) for _ in range(s.depth))
        self.norm = LayerNorm(s.width)
        self.head = nn.Linear(s.width, s.size, bias=False)
        for table in (self.tokens, self.positions, self.rows, self.cols):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor, past: Past = ()) -> tuple[Tensor, Past]:
        """Logits of the token behind each of these, and the past to hand in with the tokens that follow.

        Shapes: ids [B N] int64, past depth tensors [B 2 H M ch] or () at the start
            -> [B N V], depth tensors [B 2 H M+N ch].
        Raises: ShapeError when the tokens go beyond the end of the sequence.
        """
        s = self.settings
        start = past[0].shape[3] if past else 0
        if ids.ndim != 2 or start + ids.shape[1] > s.length:
            raise ShapeError(
                f"tokens: expected ids of shape [B, N], N at most {s.length - start}"
                f" behind {start} others; got {list(ids.shape)}"
            )
        end = start + ids.shape[1]
        x = self.tokens(ids) + self._places()[start:end]  # [B N D]
        grid, now = Grid(s.text, s.rows, s.cols), []
        for n, (block, kind) in enumerate(zip(self.blocks, patterns.kinds(s.depth))):
            if isinstance(block, TransformerBlock):
                q, k, v = split_heads(block.qkv(block.norm_1(x)), 3, block.heads)
                kv = torch.stack([k, v], dim=1)
                kv = torch.cat([past[n], kv], dim=3) if past else kv
                mask = _pattern(kind, grid, s.kernel)[start:end, :end].to(x.device)
                x = block.after(x, q, kv[:, 0], kv[:, 1], mask)
                now.append(kv)
        return self.head(self.norm(x)), tuple(now)

    def _places(self) -> Tensor:
        """What every place of the sequence adds to its token. Shapes: -> [L D]."""
        picture = self.rows.weight[:, None] + self.cols.weight[None]
        return torch.cat([self.positions.weight, picture.flatten(0, 1)])


@functools.lru_cache(maxsize=16)
def _pattern(kind: Kind, grid: Grid, kernel: int) -> Tensor:
    # Made once a shape, not once a token; on the CPU even where networks are being made without memory.
    with torch.device("cpu"):
        return patterns.of(kind, grid, kernel)
