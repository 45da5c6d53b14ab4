"""The pre-LN transformer block of the whole lineage, and GLIDE's text transformer (GLIDE section 2.1).

CLIP's towers are in `clip.py`, the captioner in `captioner.py`. Tokens come in as numbers; what they spell is
`tokens.py`'s business.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import TextSettings
from limner.errors import ShapeError
from limner.networks.layers import ACTIVATIONS, Activation, LayerNorm, attend, join_heads, split_heads

# Words and places must not drown in what the first block adds: with CLIP's 0.02 and 0.01 small text towers stayed blind to
# word order for as long as they were watched.
_SPREAD = 0.5


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron, both residual, both behind a layer norm."""

    def __init__(
        self, width: int, heads: int, *, activation: Activation = "gelu", mlp: float = 4.0, key_bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.activation = ACTIVATIONS[activation]
        hidden = int(mlp * width)
        self.norm_1 = LayerNorm(width)
        # Rows ordered [q, k, v][head][ch].
        self.qkv = nn.Linear(width, 3 * width) if key_bias else KeysUnbiased(width)
        self.proj = nn.Linear(width, width)
        self.norm_2 = LayerNorm(width)
        self.fc = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shapes: x [B L D], mask bool that broadcasts to [B H L L] (True = is seen) -> [B L D].

        Without a mask, pads are attended like words (GLIDE has none).
        """
        q, k, v = split_heads(self.qkv(self.norm_1(x)), 3, self.heads)
        return self.after(x, q, k, v, mask)

    def after(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """All that follows the queries, keys and values. Shapes: x [B L D], q [B H L ch], k and v [B H M ch] -> [B L D]."""
        x = x + self.proj(join_heads(attend(q, k, v, mask)))
        x = x + self.out(self.activation(self.fc(self.norm_2(x))))
        return x


class KeysUnbiased(nn.Module):
    """A fused projection to queries, keys and values of which the keys have no bias (GLIDE's noised CLIP)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(2 * width))  # of queries, then of values

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B L D] -> [B L 3D]."""
        of_q, of_v = self.bias.chunk(2)
        return F.linear(x, self.weight, torch.cat([of_q, torch.zeros_like(of_q), of_v]))


class TextTransformer(nn.Module):
    """Token ids -> one feature a position, and one vector for the whole text.

    The vector is read at the LAST position, normally a pad (GLIDE's code), and widened to the timestep embedding.
    """

    def __init__(self, settings: TextSettings, embed: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.width
        self.tokens = nn.Embedding(settings.rows, width)
        self.positions = nn.Parameter(torch.randn(settings.context, width) * _SPREAD)
        self.padding = nn.Parameter(torch.randn(settings.context, width) * _SPREAD) if settings.learned_padding else None
        self.blocks = nn.ModuleList(TransformerBlock(width, settings.heads) for _ in range(settings.depth))
        self.norm = LayerNorm(width) if settings.final_norm else nn.Identity()
        self.pool = nn.Linear(width, embed)
        nn.init.normal_(self.tokens.weight, std=_SPREAD)

    def forward(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and pooled vector.

        Shapes: ids [B L] int64, mask [B L] bool (True = word) -> [B L D], [B embed].
        Raises: ShapeError when L is not the context the network was built for.
        """
        if ids.ndim != 2 or ids.shape[1] != self.settings.context:
            raise ShapeError(f"text: expected ids of shape [B, {self.settings.context}]; got {list(ids.shape)}")
        x = self.tokens(ids) + self.positions  # [B L D]
        if self.padding is not None and mask is not None:
            x = torch.where(mask[..., None], x, self.padding)
        # Half-precision linear layers behind float32 embeddings: cast here, as the original does.
        x = x.to(self.pool.weight.dtype)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x, self.pool(x[:, -1])
