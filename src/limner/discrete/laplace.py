"""The logit-Laplace distribution that the dVAE's decoder predicts, and the map of pixels into its open range.

It exists because pixels lie between 0 and 1 and a Laplace distribution does not (DALL-E 1 appendix A.3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MARGIN = 0.1  # epsilon of the map


def inset(pixels: Tensor, margin: float = MARGIN) -> Tensor:
    """Pixels moved away from both ends of their range, where the density diverges (DALL-E 1 appendix A.3).

    Shapes: any, kept.
    Units:  [0, 1] -> [margin, 1 - margin].
    """
    return (1 - 2 * margin) * pixels + margin


def outset(x: Tensor, margin: float = MARGIN) -> Tensor:
    """The inverse of `inset`, clamped to the range of pixels.

    Shapes: any, kept.
    Units:  (0, 1) -> [0, 1].
    """
    return ((x - margin) / (1 - 2 * margin)).clamp(0, 1)


def log_likelihood(x: Tensor, mu: Tensor, log_scale: Tensor) -> Tensor:
    """Log density of x whose logit is Laplace distributed, in nats, element by element (DALL-E 1 eq. 2).

    Shapes: broadcast against each other.
    Units:  x in (0, 1) from `inset`; mu is a logit; log_scale = ln b.
    """
    return -(torch.logit(x) - mu).abs() * (-log_scale).exp() - log_scale - math.log(2) - (x * (1 - x)).log()


def reconstruction(mu: Tensor, margin: float = MARGIN) -> Tensor:
    """The picture a decoder means, its scale left aside (DALL-E 1 appendix A.3).

    Shapes: any, kept.
    Units:  -> pixels in [0, 1].
    """
    return outset(mu.sigmoid(), margin)
