"""CoCa, the captioner (DALL-E 3 section 2.1 follows the CoCa paper): contrastive towers and a decoder that reads the picture.

As open_clip builds it, whose weights are the released ones. What a token spells is `tokens.py`'s business.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import CaptionerSettings
from limner.errors import ShapeError
from limner.networks.clip import normalised
from limner.networks.layers import ACTIVATIONS, Activation, LayerNorm, attend, causal_mask, join_heads, split_heads
from limner.networks.transformer import TransformerBlock
from limner.networks.vit import PatchTransformer


class CrossAttention(nn.Module):
    """One sequence asks, another answers. Where both are equally wide, all three projections are one tensor."""

    def __init__(self, width: int, heads: int, *, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.sizes = [width, 2 * width]
        self.fused = context == width
        if self.fused:
            self.qkv = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        else:
            self.q = nn.Parameter(torch.randn(width, width) * width**-0.5)
            self.kv = nn.Parameter(torch.randn(2 * width, context) * context**-0.5)
        self.bias = nn.Parameter(torch.zeros(3 * width))  # rows ordered [q, k, v][head][ch]
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Shapes: x [B N D], context [B M C] -> [B N D]."""
        of_q, of_kv = self.qkv.split_with_sizes(self.sizes) if self.fused else (self.q, self.kv)
        bias_q, bias_kv = self.bias.split_with_sizes(self.sizes)
        (q,) = split_heads(F.linear(x, of_q, bias_q), 1, self.heads)
        k, v = split_heads(F.linear(context, of_kv, bias_kv), 2, self.heads)
        out: Tensor = self.proj(join_heads(attend(q, k, v)))
        return out


class CrossBlock(nn.Module):
    """Cross-attention and a perceptron, both residual, both behind a layer norm."""

    def __init__(self, width: int, heads: int, *, activation: Activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.norm_1 = LayerNorm(width)
        self.norm_context = LayerNorm(width)
        self.attention = CrossAttention(width, heads, context=width)
        self.norm_2 = LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Shapes: x [B N D], context [B M D] -> [B N D]."""
        x = x + self.attention(self.norm_1(x), self.norm_context(context))
        out: Tensor = x + self.out(self.activation(self.fc(self.norm_2(x))))
        return out


class AttentionPooler(nn.Module):
    """Learned queries look at a picture's features: as many answers, however many patches there were."""

    def __init__(self, width: int, heads: int, *, context: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.norm_queries = LayerNorm(width)
        self.norm_context = LayerNorm(context)
        self.attention = CrossAttention(width, heads, context=context)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B M C] -> [B Q D]."""
        asked = self.norm_queries(self.queries).expand(len(x), -1, -1)  # [B Q D]
        out: Tensor = self.attention(asked, self.norm_context(x))
        return out


class PooledVit(nn.Module):
    """A picture -> one vector in the common space, and the features that the decoder reads."""

    def __init__(self, settings: CaptionerSettings) -> None:
        super().__init__()
        s = settings
        self.average = s.pooled == "average"
        self.trunk = PatchTransformer(s.image, activation=s.activation)
        self.pool = AttentionPooler(s.embed, s.pool_heads, context=s.image.width, queries=s.queries)
        self.norm = LayerNorm(s.embed)
        self.project = nn.Linear(s.embed, s.embed, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: [B 3 side side] -> [B E], [B Q-1 E]."""
        answers = self.norm(self.pool(self.trunk(x)))  # [B Q E]
        rest = answers[:, 1:]
        whole = rest.mean(1) if self.average else answers[:, 0]
        return self.project(whole), rest


class SummedText(nn.Module):
    """Token ids -> one vector in the common space, and a feature a position.

    The vector is read at a learned token behind the text, or, without one, at the token with the largest id, CLIP's end.
    """

    def __init__(self, settings: CaptionerSettings) -> None:
        super().__init__()
        s = settings.text
        self.context = s.context
        self.pad, self.shifted = settings.pad, settings.shifted_pads
        self.tokens = nn.Embedding(s.rows, s.width)
        self.positions = nn.Parameter(torch.randn(s.context + settings.text_token, s.width) * 0.01)
        self.last = nn.Parameter(torch.randn(s.width) * 0.01) if settings.text_token else None
        self.blocks = nn.ModuleList(
            TransformerBlock(s.width, s.heads, activation=settings.activation, mlp=s.mlp) for _ in range(s.depth)
        )
        self.norm = LayerNorm(s.width)
        self.project = nn.Linear(s.width, settings.embed, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The features are those before the last norm where a learned token is read, as the decoder was trained to read them.

        Shapes: ids [B L] int64 -> [B E], [B L D].
        Raises: ShapeError when L is more than the context the tower was built for.
        """
        if ids.ndim != 2 or ids.shape[1] > self.context:
            raise ShapeError(f"text tower: expected ids of shape [B, L], L at most {self.context}; got {list(ids.shape)}")
        x: Tensor = self.tokens(ids)
        if self.last is not None:
            x = torch.cat([x, self.last.expand(len(ids), 1, -1)], dim=1)  # [B L+1 D]
        x = x + self.positions[: x.shape[1]]
        mask = causal_mask(x.shape[1], x.device)
        if self.last is None:
            x = self.norm(self._through(x, mask))
            return self.project(x[torch.arange(len(x), device=x.device), ids.argmax(dim=-1)]), x
        x = self._through(x, mask & self._seen(ids))
        return self.project(self.norm(x[:, -1])), x[:, :-1]

    def _through(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x

    def _seen(self, ids: Tensor) -> Tensor:
        """Which positions may be looked at. Shapes: ids [B L] -> [B 1 1 L+1] bool.

        Note: where the pads were shifted in training, a token is hidden when the one before it is a pad.
        """
        words = ids != self.pad
        always = torch.ones_like(words[:, :1])
        return torch.cat([always, words] if self.shifted else [words, always], dim=1)[:, None, None]


class Decoder(nn.Module):
    """The text's features, reading the picture's between any two blocks -> a score for every next token."""

    def __init__(self, settings: CaptionerSettings) -> None:
        super().__init__()
        s = settings
        self.blocks = nn.ModuleList(TransformerBlock(s.embed, s.heads, activation=s.activation) for _ in range(s.depth))
        self.cross = nn.ModuleList(CrossBlock(s.embed, s.heads, activation=s.activation) for _ in range(s.depth))
        self.norm = LayerNorm(s.embed)
        self.head = nn.Linear(s.embed, s.text.rows, bias=False)

    def forward(self, text: Tensor, picture: Tensor) -> Tensor:
        """Shapes: text [B L D], picture [B M D] -> [B L rows]; entry l scores token l + 1."""
        mask = causal_mask(text.shape[1], text.device)
        for block, cross in zip(self.blocks, self.cross, strict=True):
            text = cross(block(text, mask), picture)
        out: Tensor = self.head(self.norm(text))
        return out


class Captioner(nn.Module):
    """Pictures and texts -> vectors to compare, and captions token by token."""

    def __init__(self, settings: CaptionerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image = PooledVit(settings)
        self.text = SummedText(settings)
        self.decoder = Decoder(settings)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_image(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, and what the decoder reads. Shapes: [B 3 side side] -> [B E], [B Q-1 E]."""
        vector, features = self.image(x)
        return normalised(vector), features

    def embed_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, and what the decoder continues. Shapes: ids [B L] int64 -> [B E], [B L E]."""
        vector, features = self.text(ids)
        return normalised(vector), features

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """Scores of the next token at every position of a caption of a picture.

        Shapes: x [B 3 side side], ids [B L] int64 -> [B L rows].
        """
        out: Tensor = self.decoder(self.text(ids)[1], self.image(x)[1])
        return out

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Cosines of vectors of length 1 times the learned scale. Shapes: [B E], [N E] -> [B N]."""
        out: Tensor = self.scale.exp() * images @ texts.T
        return out
