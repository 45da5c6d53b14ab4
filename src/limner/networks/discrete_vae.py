"""DALL-E's dVAE: pictures -> logits of codes, and codes -> pictures (DALL-E section 2.1, appendix A; released code).

Two networks, as they were released. Pixels enter and leave squeezed into 0.1..0.9 (`map_pixels`), where a logit is finite.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings
from limner.errors import InputError, ShapeError

EDGE = 0.1  # how far mapped pixels stay from 0 and 1
GROUPS = (1, 2, 4, 8)  # widths of the encoder's four groups, in units of `width`; the decoder has them in reverse


def map_pixels(x: Tensor) -> Tensor:
    """Pixels as the dVAE sees them: (1 - 2 e) x + e with e = 0.1 (DALL-E appendix A.3). Units: [0, 1] -> [0.1, 0.9]."""
    return (1 - 2 * EDGE) * x + EDGE


def unmap_pixels(x: Tensor) -> Tensor:
    """The inverse of `map_pixels`, clamped to [0, 1]."""
    return ((x - EDGE) / (1 - 2 * EDGE)).clamp(0, 1)


class Conv(nn.Conv2d):
    """A convolution that keeps the size, and takes its input in the type of its weights (the official mixed precision)."""

    def __init__(self, c_in: int, c_out: int, side: int) -> None:
        super().__init__(c_in, c_out, side, padding=side // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H W]."""
        return super().forward(x.to(self.weight.dtype))


class Bottleneck(nn.Module):
    """Four convolutions of a quarter of the width, their sum damped by a constant (DALL-E appendix A.1)."""

    def __init__(self, c_in: int, c_out: int, sides: tuple[int, ...], damping: float) -> None:
        super().__init__()
        narrow = c_out // 4
        widths = (c_in, narrow, narrow, narrow, c_out)
        self.damping = damping
        self.skip = nn.Identity() if c_in == c_out else Conv(c_in, c_out, 1)
        self.convs = nn.ModuleList(Conv(widths[n], widths[n + 1], side) for n, side in enumerate(sides))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H W]."""
        h = x
        for conv in self.convs:
            h = conv(F.relu(h))
        out: Tensor = self.skip(x) + self.damping * h
        return out


class DiscreteEncoder(nn.Module):
    """Mapped pixels -> the logits of every place's code."""

    def __init__(self, settings: DiscreteEncoderSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.stem = Conv(s.channels, s.width, 7)
        self.groups = _groups(s.width, [factor * s.width for factor in GROUPS], s.blocks, (3, 3, 3, 1))
        self.head = Conv(GROUPS[-1] * s.width, s.codes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B codes H/8 W/8]. Units: x mapped, [0.1, 0.9].

        Raises: ShapeError for another number of channels.
        """
        if x.ndim != 4 or x.shape[1] != self.settings.channels:
            raise ShapeError(f"dvae encoder: expected pixels [B, {self.settings.channels}, H, W]; got {list(x.shape)}")
        h = self.stem(x)
        for number, group in enumerate(self.groups):
            h = group(h if number == 0 else F.max_pool2d(h, 2))
        out: Tensor = self.head(F.relu(h))
        return out

    def codes(self, x: Tensor) -> Tensor:
        """The likeliest code of every place. Shapes: [B C H W] -> [B H/8 W/8] int64. Units: x mapped, [0.1, 0.9]."""
        return self.forward(x).argmax(1)

    def cast(self, dtype: torch.dtype) -> DiscreteEncoder:
        """All convolutions but the last in a narrow type (the official mixed precision)."""
        self.stem.to(dtype)
        self.groups.to(dtype)
        return self


class DiscreteDecoder(nn.Module):
    """Codes -> for every pixel the location of a logit-Laplace, and after these channels its log scale (appendix A.3)."""

    def __init__(self, settings: DiscreteDecoderSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.stem = Conv(s.codes, s.stem, 1)
        self.groups = _groups(s.stem, [factor * s.width for factor in reversed(GROUPS)], s.blocks, (1, 3, 3, 3))
        self.head = Conv(s.width, 2 * s.channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Statistics of relaxed codes: every place holds weights of all codes. Shapes: [B codes h w] -> [B 2C 8h 8w].

        Raises: ShapeError for another number of codes.
        """
        if z.ndim != 4 or z.shape[1] != self.settings.codes:
            raise ShapeError(f"dvae decoder: expected codes [B, {self.settings.codes}, h, w]; got {list(z.shape)}")
        return self._grown(self.stem(z))

    def of_codes(self, codes: Tensor) -> Tensor:
        """Statistics of plain codes, which are looked up instead of multiplied. Shapes: [B h w] int64 -> [B 2C 8h 8w].

        Raises: ShapeError for another shape; InputError for a code that does not exist.
        """
        if codes.ndim != 3 or codes.is_floating_point():
            raise ShapeError(f"dvae decoder: expected codes [B, h, w] of integers; got {list(codes.shape)} {codes.dtype}")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.settings.codes:
            raise InputError(
                f"dvae decoder: codes must lie in 0..{self.settings.codes - 1}; got {int(codes.min())}..{int(codes.max())}"
            )
        table = self.stem.weight[:, :, 0, 0].T  # [codes stem]
        h = F.embedding(codes, table) + (0 if self.stem.bias is None else self.stem.bias)  # [B h w stem]
        return self._grown(h.permute(0, 3, 1, 2))

    def pixels(self, codes: Tensor) -> Tensor:
        """The picture of some codes: the location alone, unmapped. Shapes: [B h w] int64 -> [B C 8h 8w]. Units: [0, 1]."""
        stats = self.of_codes(codes)
        return unmap_pixels(stats[:, : self.settings.channels].to(self.stem.weight.dtype).sigmoid())

    def cast(self, dtype: torch.dtype) -> DiscreteDecoder:
        """All convolutions but the first in a narrow type (the official mixed precision)."""
        self.groups.to(dtype)
        self.head.to(dtype)
        return self

    def _grown(self, h: Tensor) -> Tensor:
        for number, group in enumerate(self.groups):
            h = group(h if number == 0 else F.interpolate(h, scale_factor=2, mode="nearest"))
        out: Tensor = self.head(F.relu(h))
        return out


def _groups(c_in: int, widths: list[int], blocks: int, sides: tuple[int, ...]) -> nn.ModuleList:
    """Groups of blocks; between two groups the picture changes its size."""
    damping = 1 / (len(widths) * blocks) ** 2
    groups = nn.ModuleList()
    for width in widths:
        first = [Bottleneck(c_in, width, sides, damping)]
        groups.append(nn.Sequential(*first, *(Bottleneck(width, width, sides, damping) for _ in range(blocks - 1))))
        c_in = width
    return groups
