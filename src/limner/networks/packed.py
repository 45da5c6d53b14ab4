"""Convolutions whose weights lie in the order that the processor's kernels want, for sampling in bfloat16.

The ordinary convolution reorders its weights in every call; where pictures are small or matrix units fast, that takes longer
than the products. Here it is done once, in the first call, whose picture also decides the order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.networks.unet import UNet


class PackedConv(nn.Module):
    """A convolution that has given up its plain weights. It cannot be trained, moved, saved or differentiated."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.stride, self.padding = list(conv.stride), [int(side) for side in conv.padding]
        # Plain attributes: what is packed for one processor must not be moved or cast.
        self.plain: Tensor | None = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H' W']."""
        if self.plain is not None:
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self.packed = reorder(self.plain, self.padding, self.stride, [1, 1], 1, list(x.shape))
            self.plain = None
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, self.padding, self.stride, [1, 1], 1, "none", [], ""
        )
        return out


def available() -> bool:
    """Whether this build of torch has the kernels."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise")
    built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]  # torch's stubs lack it
    return built and all(hasattr(torch.ops.mkldnn, name) for name in names)


def pack(net: UNet) -> UNet:
    """Replace the bfloat16 convolutions between stem and head, in place; what the kernels cannot do stays as it is."""
    if not available():
        return net
    for part in (net.down, net.middle, net.up):
        for parent in list(part.modules()):
            for name, conv in list(parent.named_children()):
                if isinstance(conv, nn.Conv2d) and conv.weight.dtype == torch.bfloat16 and conv.weight.device.type == "cpu":
                    setattr(parent, name, PackedConv(conv))
    return net
