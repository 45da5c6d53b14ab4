"""CLIP: a picture tower and a text tower whose vectors are compared (CLIP section 2.3).

Pictures come in prepared (`images.clip_square`), texts as token ids; the towers' trunks are in `vit.py`, `resnet.py` and
`transformer.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limner.config import ClipSettings, ResnetSettings, TextTowerSettings, VitSettings
from limner.errors import ShapeError, UnsupportedError
from limner.networks.layers import Activation, LayerNorm, causal_mask
from limner.networks.resnet import Resnet
from limner.networks.transformer import TransformerBlock
from limner.networks.vit import PatchTransformer


class Vit(nn.Module):
    """A picture -> one vector in the common space, read at the token that stands first."""

    def __init__(
        self,
        settings: VitSettings,
        embed: int,
        activation: Activation,
        *,
        steps: int | None = None,
        key_bias: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = PatchTransformer(settings, activation=activation, steps=steps, key_bias=key_bias)
        self.norm = LayerNorm(settings.width)
        self.project = nn.Linear(settings.width, embed, bias=False)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Shapes: x [B 3 side side], t [B] int64 where there are steps -> [B E]."""
        out: Tensor = self.project(self.norm(self.trunk(x, t)[:, 0]))
        return out


class TextTower(nn.Module):
    """Token ids -> a feature a position, each seeing only what stands before it, and one vector in the common space."""

    def __init__(self, settings: TextTowerSettings, embed: int, activation: Activation, *, key_bias: bool = True) -> None:
        super().__init__()
        self.settings = s = settings
        self.tokens = nn.Embedding(s.rows, s.width)
        self.positions = nn.Parameter(torch.randn(s.context, s.width) * 0.01)
        self.blocks = nn.ModuleList(
            TransformerBlock(s.width, s.heads, activation=activation, mlp=s.mlp, key_bias=key_bias) for _ in range(s.depth)
        )
        self.norm = LayerNorm(s.width)
        self.project = nn.Linear(s.width, embed, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def states(self, ids: Tensor) -> Tensor:
        """What stands at every position before the last norm.

        Shapes: ids [B L] int64 -> [B L D].
        Raises: ShapeError when L is more than the context the tower was built for.
        """
        context = self.settings.context
        if ids.ndim != 2 or ids.shape[1] > context:
            raise ShapeError(f"text tower: expected ids of shape [B, L], L at most {context}; got {list(ids.shape)}")
        x: Tensor = self.tokens(ids) + self.positions[: ids.shape[1]]  # [B L D]
        x = x.to(self.project.weight.dtype)
        mask = causal_mask(ids.shape[1], ids.device)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def forward(self, ids: Tensor, ends: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features after the last norm, and the vector read at the end token, or at the positions `ends`.

        Shapes: ids [B L] int64, ends [B] int64 -> [B L D], [B E].
        """
        x = self.norm(self.states(ids))
        # The end token has the largest id of the vocabulary.
        ends = ids.argmax(dim=-1) if ends is None else ends
        return x, self.project(x[torch.arange(len(x), device=x.device), ends])


class Clip(nn.Module):
    """Pictures and texts -> vectors, and how well they fit each other."""

    def __init__(self, settings: ClipSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.image = _picture_tower(s)
        self.text = None if s.text is None else TextTower(s.text, s.embed, s.activation)
        both = s.image is not None and s.text is not None
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07))) if both else None

    def embed_image(self, x: Tensor) -> Tensor:
        """The vectors of pictures, not normalised. Shapes: [B 3 side side] -> [B E].

        Raises: UnsupportedError without a picture tower.
        """
        if self.image is None:
            raise UnsupportedError("clip: this one has no picture tower, only a text tower")
        out: Tensor = self.image(x)
        return out

    def embed_text(self, ids: Tensor) -> Tensor:
        """The vectors of texts, not normalised. Shapes: ids [B L] int64 -> [B E].

        Raises: UnsupportedError without a text tower.
        """
        return self.encode(ids)[1]

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """A feature for every token, after the last norm, beside the vectors (unCLIP is conditioned on both).

        Shapes: ids [B L] int64 -> [B L D], [B E].
        Raises: UnsupportedError without a text tower.
        """
        if self.text is None:
            raise UnsupportedError("clip: this one has no text tower, only a picture tower")
        features, vectors = self.text(ids)
        return features, vectors

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """How well each picture fits each text: cosines times the learned scale (CLIP figure 3).

        Shapes: x [B 3 side side], ids [N L] int64 -> [B N].
        """
        return self.logits(self.embed_image(x), self.embed_text(ids))

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """Cosines of vectors times the learned scale. Shapes: [B E], [N E] -> [B N].

        Raises: UnsupportedError when a tower, and with it the scale, is missing.
        """
        if self.scale is None:
            raise UnsupportedError("clip: scores need both towers, this one has only one")
        scores: Tensor = self.scale.exp() * normalised(images) @ normalised(texts).T
        return scores

    def cast(self, dtype: torch.dtype) -> Clip:
        """Convolutions, attention and linear layers in a narrow type; norms and embeddings stay float32, as released."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(dtype)
        return self


def _picture_tower(settings: ClipSettings) -> Vit | Resnet | None:
    match settings.image:
        case VitSettings():
            return Vit(settings.image, settings.embed, settings.activation)
        case ResnetSettings():
            return Resnet(settings.image, settings.embed)
        case None:
            return None


def normalised(x: Tensor) -> Tensor:
    """Vectors of length 1. Shapes: [... E] -> same."""
    lengths: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / lengths
