"""The pieces the networks share: timestep embedding, norms, attention, activations.

No network is put together here (see `unet.py`, `transformer.py`), and nothing here knows what the tensors mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
Activation = Literal["gelu", "quick_gelu"]


def timestep_embedding(t: Tensor, width: int, *, period: float = 10_000.0) -> Tensor:
    """Sinusoids of a timestep: cosines first, then sines (DDPM's and guided-diffusion's code).

    Shapes: t [B], integers or fractions -> [B width] float32; an odd width ends in a column of zeros.
    Differs: from "Attention is all you need" in the order, and in dividing by half the width, not by half - 1.
    """
    frequencies = _frequencies(width // 2, period).to(t.device)
    angles = t.float()[:, None] * frequencies  # [B half]
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, width % 2))


def _frequencies(count: int, period: float) -> Tensor:
    """exp(-ln(period) i / count), i = 0 ... count - 1, to the last bit of float32 as the official outputs have them.

    Kernels of exp differ in that bit, which t multiplies a thousandfold. The official outputs were computed with MKL's for
    AVX-512: 2^n from a table of 2^(j / 32) in two parts, times a cubic of the rest, every step rounded to float32.

    Shapes: -> [count] float32, on the CPU.
    """
    x = (-math.log(period) * torch.arange(count, dtype=torch.float32, device="cpu") / count).double()
    n = (32 * _LOG2_E * x).floor()
    rest = _single(_single(x - n / 32 * _LN_2) - n / 32 * _LN_2_LOW)
    exact = torch.exp2(torch.arange(32, dtype=torch.float64, device="cpu") / 32)
    table = _single(exact)
    j = (n % 32).long()
    power = table[j] * torch.exp2((n / 32).floor())
    grown = _single(_single((exact - table) / table)[j] + rest)  # exp(rest) - 1, with the table's low part
    grown = _single(_single(_CUBIC * rest + _SQUARE) * _single(rest * rest) + grown)
    return (power * grown + power).float()


def _single(x: Tensor) -> Tensor:
    """Rounded to float32, kept in float64: the product of two such numbers is exact there."""
    return x.float().double()


# MKL's constants, each a float32: log2(e), ln 2 in two parts, and the cubic's 1/2 and 1/6, which are fitted.
_LOG2_E, _LN_2, _LN_2_LOW = 1.4426950216293335, 0.6931471824645996, -1.9046542121259336e-09
_SQUARE, _CUBIC = 0.5000146627426147, 0.16667155921459198


class GroupNorm(nn.GroupNorm):
    """Group norm that keeps the input's dtype; the kernels sum in float32 whatever that is (ADM's `GroupNorm32`)."""

    def forward(self, x: Tensor) -> Tensor:
        return _outside_autocast(self.plain, x)

    def plain(self, x: Tensor) -> Tensor:
        """The norm where autocast is off, without the checks of torch's wrapper, which take as long as a small norm."""
        return torch.group_norm(x, self.num_groups, *_affine(self, x), self.eps)


class LayerNorm(nn.LayerNorm):
    """Layer norm that keeps the input's dtype; the kernels sum in float32 whatever that is."""

    def forward(self, x: Tensor) -> Tensor:
        return _outside_autocast(self.plain, x)

    def plain(self, x: Tensor) -> Tensor:
        """The norm where autocast is off."""
        return F.layer_norm(x, self.normalized_shape, *_affine(self, x), self.eps)


def _outside_autocast(norm: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A norm with autocast off, which would widen what goes in and comes out."""
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return norm(x)
    return norm(x)


def _affine(norm: nn.GroupNorm | nn.LayerNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    # CPU kernels take float32 gains beside narrow inputs; elsewhere they must match.
    weight: Tensor = norm.weight
    bias: Tensor = norm.bias
    if weight.dtype != x.dtype and x.device.type != "cpu":
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return weight, bias


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), OpenAI CLIP's approximation of GELU. Shapes: any -> same."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


def causal_mask(length: int, device: torch.device) -> Tensor:
    """Every position may look at itself and at what stands before it. Shapes: -> [L L] bool."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax(q k^T / sqrt(ch)) v, the softmax in at least float32; keys where `mask` is False are not seen.

    Shapes: q [B H N ch], k and v [B H M ch], mask bool that broadcasts to [B H N M] -> [B H N ch].
    """
    if torch.is_grad_enabled() and q.device.type == "cpu" and (q.requires_grad or k.requires_grad or v.requires_grad):
        # The fused kernel's backward takes a quarter of a training step on CPU; two plain products do not.
        root = q.shape[-1] ** -0.25  # on both sides, so that narrow types do not overflow
        scores = (q * root) @ (k * root).transpose(-1, -2)  # [B H N M]
        wide = scores if scores.dtype == torch.float64 else scores.float()
        if mask is not None:
            wide = wide.masked_fill(~mask, -math.inf)
        out: Tensor = wide.softmax(-1).to(v.dtype) @ v
        return out
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Cut a fused projection into its parts, each with its own heads.

    Shapes: x [B N parts*H*ch] -> `parts` tensors [B H N ch].
    """
    b, n, c = x.shape
    return x.view(b, n, parts, heads, c // (parts * heads)).permute(2, 0, 3, 1, 4).unbind(0)


def join_heads(x: Tensor) -> Tensor:
    """Undo `split_heads` for one part. Shapes: [B H N ch] -> [B N H*ch]."""
    b, h, n, ch = x.shape
    return x.transpose(1, 2).reshape(b, n, h * ch)


def zeroed(module: M) -> M:
    """The module with all its parameters set to zero (the last layer of every residual branch)."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
