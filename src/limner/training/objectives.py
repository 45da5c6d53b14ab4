"""From a micro-batch to a loss: where a network and the mathematics of diffusion meet in training.

The network runs under bf16 autocast when the recipe says so; everything after it is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.config import StageSettings, TrainSettings
from limner.diffusion import losses
from limner.diffusion.importance import LevelSampler, LossSecondMoment
from limner.diffusion.targets import q_sample, timesteps
from limner.training.feed import BLUR, SIGMA, Batch

Raw = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
BLUR_SIGMA = (0.4, 0.6)  # of the Gaussian on the smaller picture, in its pixels (DALL-E 2 appendix C: 0.6)


class Terms(NamedTuple):
    """What a micro-batch costs, view by view."""

    loss: Tensor  # [B] float32; its mean is minimised
    parts: dict[str, Tensor]  # [B] each, by name, before weighting
    output: Tensor  # what the network said, for the NaN guard


class Text(Protocol):
    """The part of a network that reads."""

    def __call__(self, ids: Tensor, mask: Tensor | None) -> dict[str, Tensor]: ...


def conditions(batch: Batch, recipe: TrainSettings, device: torch.device) -> dict[str, Tensor]:
    """What the network is told besides the text.

    Upsamplers get the smaller picture, whole, blurred in a share of the views; networks that inpaint get the picture itself and
    which of its pixels they may see: they hide the others themselves, so that training and sampling cannot differ in it.
    """
    cond = {}
    if batch.low is not None:
        low_sigma, high_sigma = BLUR_SIGMA
        sigma = low_sigma + (high_sigma - low_sigma) * batch.chances[:, SIGMA]
        sigma = torch.where(batch.chances[:, BLUR] < recipe.drop_low_res_blur, 0.0, sigma)  # 0 = not blurred
        cond["low_res"] = blurred(to_unit(batch.low, device), sigma.float().to(device))
    if batch.known is not None:
        cond |= {"image": to_unit(batch.picture, device), "known": batch.known.to(device, non_blocking=True).float()}
    return cond


def terms(
    network: Raw,
    encode: Text | None,
    batch: Batch,
    t: Tensor,
    *,
    stage: StageSettings,
    recipe: TrainSettings,
    alpha_bar: Tensor,
    outline: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Terms:
    """The loss of every view of a micro-batch at its level t.

    Shapes: t [B] int64 on the device of the network.
    """
    device = t.device
    x_0, eps = to_unit(batch.picture, device), batch.eps.to(device, non_blocking=True)
    x_t = q_sample(x_0, t, alpha_bar, eps)
    cond = conditions(batch, recipe, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
        if encode is not None and batch.tokens is not None:
            ids, mask = (part.to(device, non_blocking=True) for part in batch.tokens)
            cond |= encode(ids, mask)
        output = network(x_t, timesteps(t, stage.diffusion), cond).float()
        rough = None if outline is None else outline(cond["text"], cond["pooled"], x_0)
    weights = None
    if recipe.weighting != "none":
        weights = losses.snr_weights(t, alpha_bar, stage.diffusion, kind=recipe.weighting, cap=recipe.snr_cap)
    parts = losses.terms(output, x_0, x_t, t, eps, alpha_bar, stage.diffusion, loss=recipe.loss, weights=weights)
    loss = parts.pop("loss")
    if rough is not None:
        loss, parts["outline"] = loss + recipe.outline * rough, rough
    return Terms(loss, parts, output)


def levels_at(sampler: LevelSampler, chances: Tensor, levels: int, *, noisier: float = 1.0) -> tuple[Tensor, Tensor]:
    """The levels that chances in [0, 1) fall on under a sampler, and the factors that keep the mean loss unbiased.

    `noisier` bends uniform chances towards the noisy end, on purpose without a factor: what a picture shows and where is
    decided there, and text is learned nowhere else.

    Shapes: [B] float64 -> t [B] int64, factor [B] float32.
    Note:   by chance and not by a stream, so that a view's level does not depend on its batch.
    """
    if not isinstance(sampler, LossSecondMoment):
        return (chances ** (1 / noisier) * levels).long().clamp(max=levels - 1), torch.ones(len(chances))
    weights = sampler.weights()
    probability = torch.from_numpy(weights / weights.sum())
    edges = probability.cumsum(0)
    t = torch.searchsorted(edges / edges[-1], chances.contiguous(), right=True)
    return t, (1 / (len(probability) * probability[t])).float()


def to_unit(pixels: Tensor, device: torch.device) -> Tensor:
    """8-bit pixels as float32 in [-1, 1] on the device, memory layout kept."""
    return pixels.to(device, non_blocking=True).float().div_(127.5).sub_(1)


def blurred(picture: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with a 3 x 3 kernel, edges mirrored, its own sigma for every picture; sigma 0 leaves it as it is.

    Shapes: picture [B C H W], sigma [B] -> [B C H W].
    """
    side = torch.where(sigma > 0, torch.exp(-0.5 / sigma.clamp_min(1e-6) ** 2), 0.0)  # weight of a neighbour
    centre, edge = (w[:, None, None, None] for w in (1 / (1 + 2 * side), side / (1 + 2 * side)))
    padded = F.pad(picture, (1, 1, 1, 1), mode="reflect")
    rows = centre * padded[:, :, 1:-1] + edge * (padded[:, :, :-2] + padded[:, :, 2:])
    return centre * rows[..., 1:-1] + edge * (rows[..., :-2] + rows[..., 2:])
