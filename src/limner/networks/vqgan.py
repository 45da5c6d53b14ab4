"""VQGAN's detokeniser: codes -> the entries of a codebook -> a picture (Taming transformers section 3.1).

The decoder is that of `latent_vae.py`. This is what min-dalle turns its image tokens into pictures with.
"""

from __future__ import annotations

from torch import Tensor, nn

from limner.config import VqganSettings
from limner.errors import InputError, ShapeError
from limner.networks.latent_vae import Decoder


class VqganDecoder(nn.Module):
    """Codes -> pictures."""

    def __init__(self, settings: VqganSettings) -> None:
        super().__init__()
        self.settings = s = settings
        inner = s.inner or s.latent
        self.codebook = nn.Embedding(s.codes, s.latent)
        self.latent = nn.Conv2d(s.latent, inner, 1)
        self.decoder = Decoder(s, inner=inner, channels=s.channels)

    def forward(self, codes: Tensor) -> Tensor:
        """Shapes: [B h w] int64 -> [B C H W]. Units: about [0, 1], not clamped.

        Raises: ShapeError for another shape; InputError for a code that does not exist.
        """
        if codes.ndim != 3 or codes.is_floating_point():
            raise ShapeError(f"vqgan decoder: expected codes [B, h, w] of integers; got {list(codes.shape)} {codes.dtype}")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.settings.codes:
            raise InputError(
                f"vqgan decoder: codes must lie in 0..{self.settings.codes - 1}; got {int(codes.min())}..{int(codes.max())}"
            )
        z = self.codebook(codes).permute(0, 3, 1, 2)  # [B latent h w]
        out: Tensor = self.decoder(self.latent(z))
        return out

    def pixels(self, codes: Tensor) -> Tensor:
        """The picture of some codes, clamped. Shapes: [B h w] int64 -> [B C H W]. Units: [0, 1]."""
        return self.forward(codes).clamp(0, 1)
