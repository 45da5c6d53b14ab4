"""CLIP's view of a picture and of a text, made ready for unCLIP's decoder (unCLIP section 2.1).

The decoder itself is `unet.py` with `UNetSettings.words`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.config import TextProjectionSettings
from limner.errors import UnsupportedError
from limner.networks.layers import LayerNorm


class TextProjection(nn.Module):
    """(image embedding, text embedding, text features) -> the decoder's conditions; runs once a picture."""

    def __init__(self, settings: TextProjectionSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.null = nn.Parameter(torch.zeros(s.clip)) if s.null else None
        self.image = nn.Linear(s.clip, s.embed)
        self.pooled = nn.Linear(s.clip, s.embed)
        self.tokens = nn.Linear(s.clip, s.tokens * s.width) if s.tokens else None  # rows ordered [token][ch]
        self.words = nn.Linear(s.clip, s.width)
        self.norm = LayerNorm(s.width)

    def forward(self, image: Tensor, pooled: Tensor, text: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """What `UNet` takes as conditions: extra tokens of the image embedding, then the text; both embeddings added.

        Shapes: image and pooled [B D], text [B L D], mask [B L] bool (True = word; all words when absent)
            -> text [B M+L W], pooled [B E], mask [B M+L] bool; M extra tokens.
        """
        features = self.norm(self.words(text))
        if self.tokens is not None:
            extra = self.tokens(image).view(len(image), self.settings.tokens, self.settings.width)
            features = torch.cat([extra, features], dim=1)  # [B M+L W]
        if mask is None:
            mask = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device)
        always = torch.ones(len(mask), self.settings.tokens, dtype=torch.bool, device=mask.device)
        seen = torch.cat([always, mask.to(torch.bool)], dim=1)
        return {"text": features, "pooled": self.image(image) + self.pooled(pooled), "mask": seen}

    def no_image(self, batch: int) -> Tensor:
        """The learned embedding that stands for no picture, for guidance. Shapes: -> [B D].

        Raises: UnsupportedError when the network was trained without one.
        """
        if self.null is None:
            raise UnsupportedError("text projection: trained without an embedding for 'no picture'; guidance needs one")
        return self.null.expand(batch, -1)
