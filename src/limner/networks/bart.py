"""DALL-E mini: a text encoder, and a decoder that writes image tokens one after the other (BART, with gated perceptrons).

As min-dalle released them: layer norm before AND after every attention, no biases but those of the norms. What is drawn
from the logits is `discrete/sampling.py`'s business, and a picture is made of the tokens in `vqgan.py`.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import BartDecoderSettings, BartEncoderSettings
from limner.errors import ShapeError
from limner.networks.layers import LayerNorm, attend, join_heads, split_heads

BartSettings: TypeAlias = BartEncoderSettings | BartDecoderSettings
Past: TypeAlias = tuple[Tensor, ...]  # one a layer: keys and values [B 2 H M ch] of the tokens so far


class Ungained(nn.Module):
    """A layer norm with a bias but no gain, which the product behind it makes superfluous."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [... D] -> [... D]."""
        return F.layer_norm(x, self.bias.shape, bias=self.bias)


class Attention(nn.Module):
    """Multi-head attention without biases, between two layer norms, added to what came in."""

    def __init__(self, settings: BartSettings) -> None:
        super().__init__()
        width, self.heads = settings.width, settings.heads
        self.norm_in = _norm(settings, width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)  # rows ordered [k, v][head][ch]
        self.proj = nn.Linear(width, width, bias=False)
        self.norm_out = LayerNorm(width)

    def project(self, x: Tensor) -> Tensor:
        """Keys and values. Shapes: [B M D] -> [B 2 H M ch]."""
        return torch.stack(split_heads(self.kv(x), 2, self.heads), dim=1)

    def read(self, x: Tensor, kv: Tensor, mask: Tensor) -> Tensor:
        """Look at what was projected before.

        Shapes: x [B N D], kv [B 2 H M ch], mask bool that broadcasts to [B H N M] -> [B N D].
        """
        return x + self._seen(self.norm_in(x), kv, mask)

    def among(self, x: Tensor, mask: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Look at x itself and at the past behind it; also the keys and values of both.

        Shapes: x [B N D], past [B 2 H M ch], mask bool that broadcasts to [B H N M+N] -> [B N D], [B 2 H M+N ch].
        """
        h = self.norm_in(x)
        kv = self.project(h)
        kv = kv if past is None else torch.cat([past, kv], dim=3)
        return x + self._seen(h, kv, mask), kv

    def _seen(self, h: Tensor, kv: Tensor, mask: Tensor) -> Tensor:
        (q,) = split_heads(self.q(h), 1, self.heads)
        out: Tensor = self.norm_out(self.proj(join_heads(attend(q, kv[:, 0], kv[:, 1], mask))))
        return out


class Perceptron(nn.Module):
    """A GELU-gated linear unit with a norm before each of its products, added to what came in."""

    def __init__(self, settings: BartSettings) -> None:
        super().__init__()
        width, hidden = settings.width, settings.hidden
        self.norm_in = _norm(settings, width)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.norm_mid = _norm(settings, hidden)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B N D] -> [B N D]."""
        h = self.norm_in(x)
        out: Tensor = x + self.down(self.norm_mid(F.gelu(self.gate(h)) * self.up(h)))
        return out


class EncoderBlock(nn.Module):
    """Attention to the text, then a perceptron."""

    def __init__(self, settings: BartSettings) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.perceptron = Perceptron(settings)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Shapes: x [B L D], mask [B 1 1 L] bool -> [B L D]."""
        out: Tensor = self.perceptron(self.attention.among(x, mask)[0])
        return out


class DecoderBlock(nn.Module):
    """Attention to the tokens so far, attention to the text, then a perceptron."""

    def __init__(self, settings: BartSettings) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.cross = Attention(settings)
        self.perceptron = Perceptron(settings)

    def forward(self, x: Tensor, masks: tuple[Tensor, Tensor], text: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The tokens, and their keys and values behind the past ones.

        Shapes: x [B N D], masks [N M+N] of the tokens and [B 1 1 L] of the text, text [B 2 H L ch], past [B 2 H M ch]
            -> [B N D], [B 2 H M+N ch].
        """
        x, now = self.attention.among(x, masks[0], past)
        return self.perceptron(self.cross.read(x, text, masks[1])), now


class BartEncoder(nn.Module):
    """Text ids -> one feature a token."""

    def __init__(self, settings: BartEncoderSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.tokens = nn.Embedding(s.rows, s.width)
        self.positions = nn.Embedding(s.context, s.width)
        self.norm_in = LayerNorm(s.width)
        self.blocks = nn.ModuleList(EncoderBlock(s) for _ in range(s.depth))
        self.norm_out = _norm(s, s.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Features, in which pads took part as readers but not as read.

        Shapes: ids [B L] int64 -> [B L D].
        Raises: ShapeError when L is more than the context.
        """
        if ids.ndim != 2 or ids.shape[1] > self.settings.context:
            raise ShapeError(f"text: expected ids of shape [B, L], L at most {self.settings.context}; got {list(ids.shape)}")
        mask = self.seen(ids)[:, None, None]
        x = self.norm_in(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm_out(x)
        return out

    def seen(self, ids: Tensor) -> Tensor:
        """Which tokens are no pads: the mask that the decoder needs too. Shapes: ids [B L] int64 -> [B L] bool."""
        return ids != self.settings.padding


class BartDecoder(nn.Module):
    """(image tokens so far, text) -> logits of the next ones; the text is projected once a picture, not once a token."""

    def __init__(self, settings: BartDecoderSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.tokens = nn.Embedding(s.rows, s.width)
        self.positions = nn.Embedding(s.context, s.width)
        self.norm_in = LayerNorm(s.width)
        self.blocks = nn.ModuleList(DecoderBlock(s) for _ in range(s.depth))
        self.norm_out = _norm(s, s.width)
        self.head = nn.Linear(s.width, s.rows, bias=False)

    def project(self, text: Tensor) -> Past:
        """Keys and values of the text for every layer, once a picture. Shapes: [B L D] -> depth tensors [B 2 H L ch]."""
        return tuple(block.cross.project(text) for block in self.blocks if isinstance(block, DecoderBlock))

    def forward(self, ids: Tensor, text: Past, seen: Tensor, past: Past = ()) -> tuple[Tensor, Past]:
        """Logits behind each of these tokens, and the past to hand in with the tokens that follow them.

        Shapes: ids [B N] int64, text from `project`, seen [B L] bool, past depth tensors [B 2 H M ch] or () at the start
            -> [B N rows], depth tensors [B 2 H M+N ch].
        Raises: ShapeError when M + N is more than the context.
        """
        start = past[0].shape[3] if past else 0
        if ids.ndim != 2 or start + ids.shape[1] > self.settings.context:
            raise ShapeError(
                f"image tokens: expected ids of shape [B, N], N at most {self.settings.context - start}"
                f" behind {start} others; got {list(ids.shape)}"
            )
        end = start + ids.shape[1]
        x = self.norm_in(self.tokens(ids) + self.positions.weight[start:end])
        causal = torch.ones(end - start, end, dtype=torch.bool, device=ids.device).tril(start)
        masks, now = (causal, seen[:, None, None]), []
        for n, block in enumerate(self.blocks):
            x, kv = block(x, masks, text[n], past[n] if past else None)
            now.append(kv)
        return self.head(self.norm_out(x)), tuple(now)


def _norm(settings: BartSettings, width: int) -> nn.Module:
    """The norm in front of a product."""
    return LayerNorm(width) if settings.gains else Ungained(width)
