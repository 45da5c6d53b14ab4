"""GLIDE's noised CLIP (GLIDE section 2.4): it scores pictures at any step of a noising process, so that it can guide one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limner.config import NoisedClipSettings
from limner.errors import UnsupportedError
from limner.networks.clip import TextTower, Vit

_LEAST = 1e-12  # added to lengths before dividing by them


class NoisedClip(nn.Module):
    """Noisy pictures with their step, and texts -> vectors of length 1; one of the towers may be left out."""

    def __init__(self, settings: NoisedClipSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.image = None if s.image is None else Vit(s.image, s.embed, "gelu", steps=s.steps, key_bias=False)
        self.text = None if s.text is None else TextTower(s.text, s.embed, "gelu", key_bias=False)

    def embed_image(self, x: Tensor, t: Tensor | None) -> Tensor:
        """The vectors of noisy pictures at steps t.

        Shapes: x [B 3 side side], t [B] int64 -> [B E].
        Units:  x in the scale of the process, where clean pictures are in [-1, 1].
        Raises: UnsupportedError without a picture tower; InputError when t is missing.
        """
        if self.image is None:
            raise UnsupportedError("noised clip: this one has no picture tower, only a text tower")
        return _normalised(self.image(self.prepared(x), t))

    def embed_text(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The vectors of texts, read at their last token.

        Shapes: ids [B L] int64, lengths [B] int64, start and end counted -> [B E].
        Raises: UnsupportedError without a text tower.
        """
        if self.text is None:
            raise UnsupportedError("noised clip: this one has no text tower, only a picture tower")
        return _normalised(self.text(ids, lengths - 1)[1])

    def score(self, x: Tensor, t: Tensor | None, texts: Tensor) -> Tensor:
        """How well each noisy picture fits its text; its gradient is what guides (GLIDE eq. 7).

        Shapes: x [B 3 side side], t [B] int64, texts [B E] or [1 E] -> [B].
        """
        # The original keeps the logarithm of the scale in float32.
        scale = torch.tensor(math.log(self.settings.scale), dtype=torch.float32, device=x.device).to(texts.dtype).exp()
        return scale * (texts * self.embed_image(x, t)).sum(-1)

    def prepared(self, x: Tensor) -> Tensor:
        """Pictures as the tower was trained to see them: bytes, their channels' mean and deviation taken off.

        Shapes: [B 3 H W] -> same. Units: [-1, 1] -> about [-2, 2].
        """
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=x.device).to(x.dtype).view(3, 1, 1)
            for values in (self.settings.mean, self.settings.std)
        )
        return ((x + 1) * 127.5 - mean) / std


def _normalised(x: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (lengths + _LEAST)
