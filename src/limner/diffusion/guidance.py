"""Steering a sample: towards words, towards known pixels, up the gradient of a score.

The order is fixed: words on the raw output, then the clean picture, its known pixels, the clip, and the push in
the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from limner.diffusion.targets import Clip, Denoiser, Network, Prediction, edited
from limner.errors import InputError, ShapeError

Cond: TypeAlias = Mapping[str, Tensor]  # batch first
ConditionalNetwork: TypeAlias = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]
Gradient: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (x_t [B ...], t [B]) -> [B ...]


def cfg(network: ConditionalNetwork, scale: float, cond: Cond, null: Cond) -> Network:
    """Classifier-free guidance: null + scale * (cond - null) in one call on the doubled batch (GLIDE section 2.3).

    What `null` does not name it shares with `cond`; a null of batch 1 serves all. Variance channels are the
    conditional half's. A scale of 1 makes no second half. In the CFG paper's words scale = 1 + w.

    Shapes: cond, null {name: [B ...]}; x [B C ...] -> [B C' ...], C' = C or 2C.
    Raises: InputError when `null` has what `cond` lacks; ShapeError when the batches differ.
    """
    bound = dict(cond)
    if scale == 1:
        return lambda x, t: network(x, t, bound)
    both = _doubled(bound, null)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        output = network(torch.cat([x, x]), torch.cat([t, t]), both)
        channels = x.shape[1]
        with_words, without = output[:, :channels].chunk(2)
        mixed = without + scale * (with_words - without)
        return torch.cat([mixed, output[: len(x), channels:]], dim=1)  # [B C' ...]

    return guided


def above(level: float, noisy: Denoiser, clean: Denoiser) -> Denoiser:
    """One denoiser from a level up, another below: guidance in a limited interval (Kynkaanniemi et al. 2024, section 3)."""
    return lambda x_t, t, s: (noisy if t >= level else clean)(x_t, t, s)


def keep(denoiser: Denoiser, image: Tensor, mask: Tensor, *, clip: Clip | None = None) -> Denoiser:
    """Put the known pixels of `image` back into every clean picture, then clip (GLIDE notebook, inpainting).

    Shapes: image [B C H W] or [1 C H W]; mask [B 1 H W] or [1 1 H W].
    Units:  mask 1 = repaint, 0 = known.
    """

    def restore(x_0: Tensor) -> Tensor:
        whole = mask * x_0 + (1 - mask) * image
        return whole if clip is None else clip(whole)

    return edited(denoiser, restore)


def pushed(denoiser: Denoiser, gradient: Gradient) -> Denoiser:
    """Push every step up a gradient: DDPM moves the mean by variance * gradient, all others the noise (ADM section 4).

    Shapes: gradient (x_t [B ...], t [B] int64) -> [B ...].
    """

    def denoise_and_push(x_t: Tensor, t: int, s: int) -> Prediction:
        prediction = denoiser(x_t, t, s)
        levels = torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device)
        push = gradient(x_t, levels)
        return prediction._replace(push=push if prediction.push is None else prediction.push + push)

    return denoise_and_push


def gradient_of(log_prob: Callable[[Tensor, Tensor], Tensor], scale: float = 1.0) -> Gradient:
    """scale * d log_prob / d x_t, for `pushed`; any differentiable score will do (ADM eq. 10; GLIDE eq. 7).

    Shapes: log_prob (x_t [B ...], t [B]) -> [B].
    Note:   works under no_grad, not under inference_mode.
    """

    def gradient(x_t: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_prob(x, t).sum(), x)
        return scale * slope

    return gradient


def _doubled(cond: dict[str, Tensor], null: Cond) -> dict[str, Tensor]:
    unknown = sorted(set(null) - set(cond))
    if unknown:
        raise InputError(f"guidance: the null condition has {unknown}, which the condition lacks; give both the same names")
    both = {}
    for name, given in cond.items():
        other = null.get(name, given)
        if other.shape[1:] != given.shape[1:] or len(other) not in (1, len(given)):
            raise ShapeError(f"guidance: null['{name}'] must have shape {list(given.shape)}; got {list(other.shape)}")
        both[name] = torch.cat([given, other.expand_as(given)])  # [2B ...]
    return both
