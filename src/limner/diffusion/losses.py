"""What training minimises. All losses are per sample, [B]; averaging and importance weights are the trainer's."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion.targets import at, split, training_target
from limner.errors import ConfigError

Loss: TypeAlias = Literal["simple", "hybrid", "rescaled_hybrid", "kl", "rescaled_kl"]


def flat_mean(x: Tensor) -> Tensor:
    """Mean over everything but the batch. Shapes: [B ...] -> [B]."""
    return x.flatten(1).mean(1)


def min_snr(t: Tensor, alpha_bar: Tensor, settings: DiffusionSettings, *, cap: float = 5.0) -> Tensor:
    """Min-SNR weights of the squared error (Min-SNR section 3.4): min(snr, cap) in terms of x_0, turned to the target.

    Shapes: t [B] -> [B] float32.
    Raises: ConfigError for the target 'previous', for which no such weight is known.
    """
    signal = at(alpha_bar, t)
    snr = signal / (1 - signal)
    capped = snr.clamp(max=cap)
    match settings.target:
        case "eps":
            weight = capped / snr
        case "x0":
            weight = capped
        case "v":
            weight = capped / (snr + 1)
        case "previous":
            raise ConfigError("weighting: min_snr knows the targets eps, x0 and v; got 'previous'; use weighting = 'none'")
    return weight.to(t.device, torch.float32)


def terms(
    output: Tensor,
    x_0: Tensor,
    x_t: Tensor,
    t: Tensor,
    eps: Tensor,
    alpha_bar: Tensor,
    settings: DiffusionSettings,
    *,
    loss: Loss = "simple",
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss of a network's output at x_t and its parts, each [B]: "loss", and "mse" and "vb" where they are parts.

    `weights` [B] multiply the squared error.

    Shapes: output [B C ...] or [B 2C ...]; x_0, x_t, eps [B C ...]; t [B] int64.
    """
    said, _ = split(output, x_t, settings)
    mse = flat_mean((training_target(x_0, x_t, t, eps, alpha_bar, settings) - said) ** 2)
    return {"loss": mse if weights is None else weights.to(mse) * mse, "mse": mse}
