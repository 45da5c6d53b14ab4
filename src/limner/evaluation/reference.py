"""A stage sampled the way the released code does it, to compare our own loop with: the yardstick of `bench`.

Eager float32 in contiguous memory; the text encoder and its projections run inside every step, for both halves of the
guidance. The mathematics are the same functions as everywhere.
Differs: attention uses the fused kernel; the released code materialises the softmax, so the yardstick is a little kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from limner.config import SamplingSettings
from limner.diffusion import guidance, noise, samplers, schedules, targets
from limner.systems import base
from limner.systems.base import Stage


def network(stage: Stage, texts: Sequence[str], scale: float, low_res: Tensor | None = None) -> targets.Network:
    """(x_t, t) -> guided output, everything computed anew in every call.

    Shapes: texts: the prompt and the negative prompt; x [B C H W], low_res [B C h w].
    """
    text = stage.settings.network.text

    def call(x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        given = {name: value for name, value in cond.items() if name not in ("ids", "mask")}
        words = stage.net.encode(cond["ids"], cond["mask"]) if text is not None else {}
        out: Tensor = stage.net(x.contiguous(), t, {**given, **words})
        return out

    def guided(x: Tensor, t: Tensor) -> Tensor:
        cond: dict[str, Tensor] = {}
        null: dict[str, Tensor] = {}
        if text is not None and stage.tokenizer is not None:
            tokens = stage.tokenizer.encode(texts, text.context)
            both = {"ids": tokens.ids.to(stage.device), "mask": tokens.mask.to(stage.device)}
            cond |= {name: value[:1].expand(len(x), -1) for name, value in both.items()}
            null |= {name: value[1:2] for name, value in both.items()}
        if low_res is not None:
            cond["low_res"] = low_res
        return guidance.cfg(call, scale if null else 1.0, cond, null)(x, t)

    return guided


def run(
    stage: Stage,
    sampling: SamplingSettings,
    texts: Sequence[str],
    *,
    seed: int,
    indices: Sequence[int],
    low_res: Tensor | None = None,
) -> Iterator[samplers.Step]:
    """`base.run`, the reference way: the same noise, the same path, the same sampler."""
    path = schedules.path(stage.settings.diffusion.levels, sampling.steps, alpha_bar=stage.alpha_bar)
    net = network(stage, texts, sampling.guidance, low_res)
    denoise = targets.denoiser(net, stage.alpha_bar, stage.settings.diffusion, path=path)
    settings = stage.settings.network
    shape = (settings.channels, settings.side, settings.side)
    x_T = noise.batch(shape, seed=seed, indices=indices, stage=stage.number, step=noise.FIRST).to(stage.device)
    draws = noise.draws(x_T, seed=seed, indices=indices, stage=stage.number)
    return base.sampler(sampling)(denoise, stage.alpha_bar, sampling.temperature * x_T, path, draws)
