"""A data set whose best denoiser is known: one Gaussian. (No tests.)"""

from __future__ import annotations

from torch import Tensor

from limner.diffusion.targets import Denoiser, Prediction, at

MEAN, SPREAD = 0.3, 0.5


def denoiser(alpha_bar: Tensor) -> Denoiser:
    """E[x_0 | x_t], with the variance of the true p(x_s | x_t)."""

    def denoise(x: Tensor, t: int, s: int) -> Prediction:
        signal, before = at(alpha_bar, t), at(alpha_bar, s)
        total = signal * SPREAD**2 + 1 - signal
        x0 = MEAN + signal.sqrt() * SPREAD**2 / total * (x - signal.sqrt() * MEAN)
        at_s = before * SPREAD**2 + 1 - before
        variance = at_s * (1 - signal / before) / total  # of x_s given x_t, both marginals being Gaussian
        return Prediction(x0, variance, variance.clamp(min=1e-30).log())

    return denoise


def exact(alpha_bar: Tensor, x: Tensor, t: int) -> Tensor:
    """Where the probability flow carries x from level t to CLEAN."""
    signal = at(alpha_bar, t)
    return MEAN + SPREAD * (x - signal.sqrt() * MEAN) / (signal * SPREAD**2 + 1 - signal).sqrt()
