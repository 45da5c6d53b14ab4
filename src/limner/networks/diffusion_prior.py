"""unCLIP's diffusion prior: from a text and a noised CLIP image embedding to the clean one (unCLIP section 2.2).

It knows embeddings and steps as tensors; how noise is taken away is `diffusion/`'s business, and by which statistics the
embeddings are normalised is in embedding_statistics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import PriorSettings
from limner.errors import InputError, ShapeError
from limner.networks.layers import LayerNorm, split_heads, timestep_embedding
from limner.networks.transformer import TransformerBlock

Cond = Mapping[str, Tensor]


class DiffusionPrior(nn.Module):
    """(x_t, t, conditions) -> the clean embedding.

    The sequence is [text ..., text embedding, step, noised embedding, a learned token]; every token sees those before it,
    pads of the text excepted, and the last one is read. What a step does not change, the text, comes first: its keys and
    values are computed once.
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
        self.blocks = nn.ModuleList(TransformerBlock(s.width, s.heads) for _ in range(s.depth))
        self.norm = LayerNorm(s.width) if s.final_norm else nn.Identity()
        self.head = nn.Linear(s.width, s.answer or s.clip)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The clean embedding that x_t at step t shows.

        Shapes: x [B D], t [B] (numbers of the full process) -> [B D].
        cond: `pooled` [B E] the text's embedding, `text` [B L W] its features, `mask` [B L] bool (True = word; all words
        when absent); or what `project` made of them.
        Raises: InputError naming a condition that is missing; ShapeError for a text of another length.
        """
        if "pooled" in cond or "seen" not in cond:
            cond = self.project(cond)
        kind = self.head.weight.dtype
        tokens = [self.time(timestep_embedding(t, self.settings.width).to(kind)), self.embedding(x.to(kind))]
        if self.answer is not None:
            tokens.append(self.answer.expand(len(x), -1))
        seen = self.seen(cond)
        told = cond["seen"].shape[1]
        h = self._placed(torch.stack(tokens, dim=1), told, seen)
        allowed = _looking(seen)[:, None, told:]  # [B 1 R N]
        for name, block in self._layers():
            q, k, v = split_heads(block.qkv(block.norm_1(h)), 3, block.heads)
            before = cond[name].to(k.dtype)  # [B 2 H P ch]
            h = block.after(h, q, torch.cat([before[:, 0], k], dim=2), torch.cat([before[:, 1], v], dim=2), allowed)
        out: Tensor = self.head(self.norm(h[:, -1]))
        return out

    def project(self, cond: Cond) -> dict[str, Tensor]:
        """The conditions with every block's keys and values of the text, which no step changes; once a text.

        Shapes: `pooled`, `text`, `mask` as in `forward` -> past.0, past.1, ... [B 2 H P ch], one a block; seen [B P] bool.
        """
        pooled = self.pooled(self.pooled_norm(_needed(cond, "pooled").to(self.head.weight.dtype)))[:, None]
        tokens = torch.cat([*self._text(cond), pooled], dim=1)  # [B P width]
        mask = cond.get("mask")
        if mask is None:
            mask = torch.ones(len(tokens), tokens.shape[1] - 1, dtype=torch.bool, device=tokens.device)
        seen = F.pad(mask.to(torch.bool), (0, tokens.shape[1] - mask.shape[1]), value=True)
        out = {"seen": seen}
        h, allowed = self._placed(tokens, 0, seen), _looking(seen)[:, None]
        for name, block in self._layers():
            q, k, v = split_heads(block.qkv(block.norm_1(h)), 3, block.heads)
            out[name] = torch.stack([k, v], dim=1)
            h = block.after(h, q, k, v, allowed)
        return out

    def seen(self, cond: Cond) -> Tensor:
        """Which tokens of the sequence are no pads. Shapes: `seen` [B P] from `project` -> [B N] bool."""
        return F.pad(cond["seen"], (0, self.settings.length - cond["seen"].shape[1]), value=True)

    def _placed(self, tokens: Tensor, start: int, seen: Tensor) -> Tensor:
        """Tokens of the sequence from `start` on, with their positions."""
        end = start + tokens.shape[1]
        h = tokens + self.positions[start:end]
        if self.padding is not None:
            h = torch.where(seen[:, start:end, None], h, self.padding[start:end])
        placed: Tensor = self.first_norm(h)
        return placed

    def _layers(self) -> Iterator[tuple[str, TransformerBlock]]:
        """Every block, with the name of its keys and values among the conditions."""
        return ((f"past.{n}", block) for n, block in enumerate(self.blocks) if isinstance(block, TransformerBlock))

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


def _looking(seen: Tensor) -> Tensor:
    """The allowed pairs, and every token itself: a first token that is a pad has nothing else, and no one sees a pad."""
    return allowed_pairs(seen) | torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)


def _needed(cond: Cond, name: str) -> Tensor:
    if name not in cond:
        raise InputError(f"prior: the condition '{name}' is missing; have: {', '.join(cond) or 'none'}")
    return cond[name]
