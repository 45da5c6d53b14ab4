"""Networks whose answer is known: data from one Gaussian, or from two at -0.7 and 0.7 (no runner of its own)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.golden.case import Case

Data = Callable[[Tensor, Tensor], Tensor]  # (x, alpha_bar of its level, []) -> E[x_0 | x_t = x]


def data(case: Case, dtype: torch.dtype) -> Data:
    """E[x_0 | x_t] for the case's data model, at unit variance: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) n."""
    spread = case.config["s"] ** 2
    mean = case.input("mean").to(dtype)

    def expected(x: Tensor, alpha_bar: Tensor) -> Tensor:
        alpha, variance = alpha_bar.sqrt(), alpha_bar * spread + (1 - alpha_bar)
        if case.config["model"] == "mixture":
            side = torch.tanh(0.7 * alpha * x / variance)
            return 0.7 * side + alpha * spread / variance * (x - 0.7 * alpha * side)
        return mean + alpha * spread / variance * (x - alpha * mean)

    return expected


def output(x: Tensor, x_0: Tensor, alpha_bar: Tensor, target: str) -> Tensor:
    """What a network with this target says when it sees x_0 in x."""
    eps = (x - alpha_bar.sqrt() * x_0) / (1 - alpha_bar).sqrt()
    return {"x0": x_0, "eps": eps, "v": alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x_0}[target]


def rounded_x0(x: Tensor, said: Tensor, a: Tensor, b: Tensor, target: str) -> Tensor:
    """x_0 from a network's answer at x = a x_0 + b eps in the order in which diffusers rounds.

    At the noisiest level of a cosine schedule this loses three digits of float32, so that only the same order of
    operations gives the same numbers; limner's own order is the official one of the U-Nets it loads.
    """
    return {"x0": said, "eps": (x - b * said) / a, "v": a * x - b * said}[target]
