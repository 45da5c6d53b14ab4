"""CLIP's changed ResNet (CLIP section 2.4): a stem of three convolutions, antialiased strides, an attention pool."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import ResnetSettings
from limner.errors import ShapeError
from limner.networks.pooling import AttentionPool

_WIDER = 4  # channels at the end of a block, in its width


class ConvNorm(nn.Module):
    """A convolution without bias and its batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H/stride W/stride]."""
        out: Tensor = self.norm(self.conv(x))
        return out


class Bottleneck(nn.Module):
    """Narrow, convolve, halve by averaging where asked, widen; added to the input, which is halved and widened likewise."""

    def __init__(self, c_in: int, width: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.narrow = ConvNorm(c_in, width, 1)
        self.middle = ConvNorm(width, width, 3)
        self.widen = ConvNorm(width, _WIDER * width, 1)
        self.skip = ConvNorm(c_in, _WIDER * width, 1) if halves or c_in != _WIDER * width else None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H W] or [B C' H/2 W/2]."""
        h = F.relu(self.middle(F.relu(self.narrow(x))))
        if self.halves:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.widen(h)
        out: Tensor = h + (x if self.skip is None else self.skip(x))
        return F.relu(out)


class Resnet(nn.Module):
    """A picture -> one vector in the common space."""

    def __init__(self, settings: ResnetSettings, embed: int) -> None:
        super().__init__()
        self.settings = s = settings
        half = s.width // 2
        self.stem = nn.ModuleList([ConvNorm(3, half, 3, stride=2), ConvNorm(half, half, 3), ConvNorm(half, s.width, 3)])
        levels = []
        c_in = s.width
        for level, depth in enumerate(s.depths):
            width, blocks = s.width * 2**level, []
            for number in range(depth):
                blocks.append(Bottleneck(c_in, width, halves=level > 0 and number == 0))
                c_in = _WIDER * width
            levels.append(nn.Sequential(*blocks))
        self.levels = nn.Sequential(*levels)
        self.pool = AttentionPool(c_in, (s.side // 32) ** 2, s.heads, embed)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B 3 side side] -> [B E].

        Raises: ShapeError for another size.
        """
        side = self.settings.side
        if x.shape[1:] != (3, side, side):
            raise ShapeError(f"picture tower: expected pictures of shape [B, 3, {side}, {side}]; got {list(x.shape)}")
        h = x.to(self.pool.proj.weight.dtype)
        for layer in self.stem:
            h = F.relu(layer(h))
        h = F.avg_pool2d(h, 2)
        out: Tensor = self.pool(self.levels(h))
        return out
