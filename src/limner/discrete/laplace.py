"""The logit-Laplace distribution that the dVAE's decoder predicts: pixels lie between two ends, a Laplace's values do not.

Pixels must first be moved away from the ends, where the density diverges: `networks.discrete_vae.map_pixels`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_likelihood(x: Tensor, mu: Tensor, log_scale: Tensor) -> Tensor:
    """Log density of x whose logit is Laplace distributed, in nats, element by element (DALL-E 1 eq. 2).

    Shapes: broadcast against each other.
    Units:  x in (0, 1); mu is a logit; log_scale = ln b.
    """
    return -(torch.logit(x) - mu).abs() * (-log_scale).exp() - log_scale - math.log(2) - (x * (1 - x)).log()
