"""unCLIP's diffusion prior: from a text and a noised CLIP image embedding to the clean one (unCLIP section 2.2).

It knows embeddings and steps as tensors; how noise is taken away is `diffusion/`'s business, and by which statistics the
embeddings are normalised is in embedding_statistics.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import PriorSettings
from limner.errors import InputError, ShapeError
from limner.networks.layers import LayerNorm, timestep_embedding
from limner.networks.transformer import TextBlock

Cond = Mapping[str, Tensor]


class DiffusionPrior(nn.Module):
    """(x_t, t, conditions) -> the clean embedding.

    The sequence is [text ..., text embedding, step, noised embedding, a learned token]; every token sees those before it,
    pads of the text excepted, and the last one is read.
    """

    def __init__(self, settings: PriorSettings) -> None:
        super().__init__()
        self.settings = s = settings
        pooled, time = s.pooled or s.clip, s.time_width or s.width
        self.time = nn.Sequential(nn.Linear(s.width, time), nn.SiLU(), nn.Linear(time, s.width))
        self.words = None if s.words is None else nn.Linear(s.words, s.width)
        self.pooled_norm = LayerNorm(pooled) if s.pooled_norm else nn.Identity()
        self.pooled = nn.Linear(pooled, s.width)
        self.embedding = nn.Linear(s.clip, s.width)
        self.answer = nn.Parameter(torch.randn(s.width) * 0.01) if s.answer_token else None
        self.positions = nn.Parameter(torch.randn(s.length, s.width) * 0.01)
        self.padding = nn.Parameter(torch.randn(s.length, s.width) * 0.01) if s.learned_padding else None
        self.first_norm = LayerNorm(s.width) if s.first_norm else nn.Identity()
        self.blocks = nn.ModuleList(TextBlock(s.width, s.heads) for _ in range(s.depth))
        self.norm = LayerNorm(s.width) if s.final_norm else nn.Identity()
        self.head = nn.Linear(s.width, s.answer or s.clip)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The clean embedding that x_t at step t shows.

        Shapes: x [B D], t [B] (numbers of the full process) -> [B D].
        cond: `pooled` [B E] the text's embedding, `text` [B L W] its features, `mask` [B L] bool (True = word; all words
        when absent).
        Raises: InputError naming a condition that is missing; ShapeError for a text of another length.
        """
        s, kind = self.settings, self.head.weight.dtype
        tokens = [
            *self._text(cond),
            self.pooled(self.pooled_norm(_needed(cond, "pooled").to(kind)))[:, None],
            self.time(timestep_embedding(t, s.width).to(kind))[:, None],
            self.embedding(x.to(kind))[:, None],
        ]
        if self.answer is not None:
            tokens.append(self.answer.expand(len(x), 1, -1))
        seen = self.seen(cond, len(x), x.device)
        h = torch.cat(tokens, dim=1) + self.positions  # [B N width]
        if self.padding is not None:
            h = torch.where(seen[..., None], h, self.padding)
        h = self.first_norm(h)
        allowed = allowed_pairs(seen)[:, None]  # [B 1 N N]
        for block in self.blocks:
            h = block(h, allowed)
        out: Tensor = self.head(self.norm(h[:, -1]))
        return out

    def seen(self, cond: Cond, batch: int, device: torch.device) -> Tensor:
        """Which tokens of the sequence are no pads. Shapes: mask [B L] -> [B N] bool."""
        mask = cond.get("mask")
        if mask is None:
            return torch.ones(batch, self.settings.length, dtype=torch.bool, device=device)
        return F.pad(mask.to(torch.bool), (0, self.settings.length - mask.shape[1]), value=True)

    def _text(self, cond: Cond) -> list[Tensor]:
        if self.words is None:
            return []
        text = _needed(cond, "text").to(self.words.weight.dtype)
        if text.ndim != 3 or text.shape[1] != self.settings.context:
            raise ShapeError(f"prior: expected text of shape [B, {self.settings.context}, W]; got {list(text.shape)}")
        return [self.words(text)]


def allowed_pairs(seen: Tensor) -> Tensor:
    """Which token may look at which: at those before it and itself, pads excepted (unCLIP section 2.2: causal).

    Shapes: seen [B N] bool -> [B N N] bool, [queries][keys].
    """
    length = seen.shape[1]
    return seen[:, None] & torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()


def _needed(cond: Cond, name: str) -> Tensor:
    if name not in cond:
        raise InputError(f"prior: the condition '{name}' is missing; have: {', '.join(cond) or 'none'}")
    return cond[name]
