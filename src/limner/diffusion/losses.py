"""What training minimises, per sample [B]; averaging and importance weights are the trainer's.

The bound itself is in likelihood.py, the choice of levels to train on in importance.py.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion.likelihood import bound_term, flat_mean
from limner.diffusion.targets import at, predict, split, training_target
from limner.errors import ConfigError

Loss: TypeAlias = Literal["simple", "hybrid", "rescaled_hybrid", "kl", "rescaled_kl"]
Weighting: TypeAlias = Literal["min_snr", "snr_plus_one"]


def snr_weights(
    t: Tensor, alpha_bar: Tensor, settings: DiffusionSettings, *, kind: Weighting = "min_snr", cap: float = 5.0
) -> Tensor:
    """Weights of the squared error that depend on the signal-to-noise ratio, whatever the network's target.

    In terms of x_0, min_snr is min(snr, cap) (Min-SNR section 3.4), which all but ignores the noisiest levels;
    snr_plus_one is min(snr + 1, cap), the error of v in terms of x_0 (Progressive Distillation section 4) with a cap.

    Shapes: t [B] -> [B] float32.
    Raises: ConfigError for the target 'previous', for which no such weight is known.
    """
    signal = at(alpha_bar, t)
    snr = signal / (1 - signal)
    capped = (snr if kind == "min_snr" else snr + 1).clamp(max=cap)
    match settings.target:
        case "eps":
            weight = capped / snr
        case "x0":
            weight = capped
        case "v":
            weight = capped / (snr + 1)
        case "previous":
            raise ConfigError(f"weighting: {kind} knows the targets eps, x0 and v; got 'previous'; use weighting = 'none'")
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

    simple: squared error (DDPM eq. 14). hybrid: plus one term of the bound, which trains only the variance (IDDPM
    eq. 16); rescaled_hybrid multiplies that term by T / 1000, which is IDDPM's lambda of 0.001 times the T terms of
    the bound. kl: the term of the bound alone (IDDPM eq. 4), rescaled_kl times T.

    Shapes: output [B C ...] or [B 2C ...]; x_0, x_t, eps [B C ...]; t [B] int64.
    Units:  `weights` [B] multiply the squared error; vb is in bits per dimension, the clean picture not clipped.
    Raises: ConfigError when a hybrid loss meets a variance that is not learned.
    """
    parts: dict[str, Tensor] = {}
    if loss in ("simple", "hybrid", "rescaled_hybrid"):
        said, spread = split(output, x_t, settings)
        mse = flat_mean((training_target(x_0, x_t, t, eps, alpha_bar, settings) - said) ** 2)
        parts["mse"] = mse if weights is None else weights.to(mse) * mse
        if loss != "simple":
            if spread is None:
                raise ConfigError(
                    f"loss: '{loss}' trains a learned variance, but variance is '{settings.variance}'; use 'simple'"
                )
            # The squared error alone teaches the mean (IDDPM section 3.1).
            vb = _bound(torch.cat([said.detach(), spread], dim=1), x_0, x_t, t, alpha_bar, settings)
            parts["vb"] = vb * (len(alpha_bar) / 1000) if loss == "rescaled_hybrid" else vb
    else:
        vb = _bound(output, x_0, x_t, t, alpha_bar, settings)
        parts["vb"] = vb * len(alpha_bar) if loss == "rescaled_kl" else vb
    return {"loss": sum(parts.values(), torch.zeros_like(t, dtype=x_0.dtype)), **parts}


def _bound(output: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, alpha_bar: Tensor, settings: DiffusionSettings) -> Tensor:
    floor = (1, 0) if len(alpha_bar) > 1 else None
    seen = predict(output, x_t, t, t - 1, alpha_bar=alpha_bar, settings=settings, floor=floor)
    return bound_term(seen, x_0, x_t, t, t - 1, alpha_bar=alpha_bar, floor=floor)
