"""What happens to the weights once the gradients are there: learning rate, clipping, AdamW, moving averages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limner.config import TrainSettings


def lr_at(step: int, recipe: TrainSettings) -> float:
    """Learning rate of a step: a line up over `warmup` steps, then half a cosine to zero at the end, or constant.

    Units: step counts from 0; the first step already has lr / warmup.
    """
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    if recipe.decay == "constant":
        return recipe.lr
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def adamw(parameters: Sequence[nn.Parameter], recipe: TrainSettings) -> torch.optim.AdamW:
    """AdamW in its fused form, its moments allocated now, so that a fresh run and a resumed one are alike.

    Differs: from torch's default betas; decay as the recipe says (0 in the papers).
    """
    fused = {p.device.type for p in parameters} <= {"cpu", "cuda", "mps"}
    kernels = {"fused": True} if fused else {"foreach": True}
    optimiser = torch.optim.AdamW(parameters, recipe.lr, recipe.betas, weight_decay=recipe.weight_decay, **kernels)
    for p in parameters:
        optimiser.state[p] = {
            "step": torch.zeros((), dtype=torch.float32, device=p.device if fused else "cpu"),
            "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
        }
    return optimiser


def clip(gradients: Sequence[Tensor], limit: float) -> float:
    """Scale the gradients in place so that their global norm is at most `limit`; returns the norm before."""
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if math.isfinite(norm) and norm > limit:
        with torch.no_grad():
            torch._foreach_mul_(list(gradients), limit / (norm + 1e-6))
    return norm


def ema_rate(rate: float, step: int) -> float:
    """The rate used at a step, counted from 0: min(rate, (1 + step) / (10 + step)).

    Differs: from the papers' constant rate, so that the first thousands of steps are not averages of the start.
    """
    return min(rate, (1 + step) / (10 + step))


def ema_update(averages: Sequence[Tensor], parameters: Sequence[Tensor], rate: float, step: int) -> None:
    """average = rate * average + (1 - rate) * parameter, in place (IDDPM's code), with `ema_rate`'s ramp."""
    with torch.no_grad():  # or the averages would grow a graph over all steps
        torch._foreach_lerp_(list(averages), list(parameters), 1 - ema_rate(rate, step))
