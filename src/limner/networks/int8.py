"""Convolutions in 8-bit integers, for sampling on processors: up to twice the products of bfloat16.

Weights are symmetric, one scale an output channel; inputs are asymmetric, one scale a call, found in the picture itself, so
nothing has to be calibrated. Only the convolutions of residual blocks change; stem, head, norms and attention stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.errors import UnsupportedError
from limner.networks.unet import ResBlock, UNet

_LEVELS = 253  # of 255: narrow types may round the factor and the largest value up
_NARROW = 32  # convolutions of fewer input channels stay as they are: they cost little and see the picture itself


class Int8Conv(nn.Module):
    """A convolution whose products are made of 8-bit integers, summed in 32 bits."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding = list(conv.stride), [int(side) for side in conv.padding]
        wide = conv.weight.detach().float()
        scales = (wide.abs().amax(dim=(1, 2, 3)) / 127).clamp(min=1e-12)  # [C']
        whole = (wide / scales[:, None, None, None]).round().to(torch.int8)
        # Plain attributes: what is packed for one processor must not be moved, cast or saved.
        self.whole, self.scales, self.zeros = whole, scales, torch.zeros(len(scales), dtype=torch.int32)
        self.packed: Tensor | None = None
        self.bias = None if conv.bias is None else conv.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H' W'], dtype of x."""
        whole, scale, zero = rounded(x)
        if self.packed is None:
            self.packed = torch.ops.onednn.qconv_prepack(
                self.whole, self.scales, scale, zero, self.stride, self.padding, [1, 1], 1, list(x.shape)
            )
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            whole, scale, zero, self.packed, self.scales, self.zeros, self.bias,
            self.stride, self.padding, [1, 1], 1, 1.0, 0, x.dtype, "none", [], "",
        )  # fmt: skip
        return out


def rounded(x: Tensor) -> tuple[Tensor, float, int]:
    """x as (whole - zero) * scale with whole numbers in 0..255; zero itself is kept exactly.

    Shapes: [...] -> [...] uint8.
    """
    low, high = (float(end) for end in torch.aminmax(x.permute(0, 2, 3, 1)))  # in the order of memory, else it copies
    low, high = min(low, 0.0), max(high, 0.0)
    # The kernel rounds its factor to the type of x: rounded here, the factor and the scale agree.
    most = torch.finfo(x.dtype).max / 1024
    factor = float(torch.tensor(min(_LEVELS / max(high - low, 1e-12), most), dtype=x.dtype))
    zero = round(-low * factor)
    shifted = torch.add(torch.tensor(float(zero), dtype=x.dtype), x, alpha=factor)
    return shifted.round_().to(torch.uint8), 1 / factor, zero


def available() -> bool:
    """Whether this build of torch has the integer convolution, and this processor the units that make it worth while."""
    able = torch.cpu.get_capabilities()
    has = hasattr(torch.ops.onednn, "qconv2d_pointwise") and hasattr(torch.ops.onednn, "qconv_prepack")
    return has and bool(able.get("avx512_vnni") or able.get("amx_int8") or able.get("avx_vnni"))


def quantise(net: UNet) -> UNet:
    """Replace the convolutions of all residual blocks, in place; the network can no longer be trained or saved.

    Raises: UnsupportedError when the network is not on a processor that has the units.
    """
    if next(net.parameters()).device.type != "cpu" or not available():
        raise UnsupportedError("int8 needs a processor with VNNI or AMX units; use bfloat16 or float32")
    for block in [module for module in net.modules() if isinstance(module, ResBlock)]:
        for name in ("conv_in", "conv_out", "skip"):
            conv = getattr(block, name)
            if isinstance(conv, nn.Conv2d) and conv.in_channels >= _NARROW:
                setattr(block, name, Int8Conv(conv))
    return net
