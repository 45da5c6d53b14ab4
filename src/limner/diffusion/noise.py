"""Noise by number: what a draw holds depends only on (seed, image, stage, step), not on batch, order or device.

Counter-based (Philox), drawn on the CPU in float32; whoever samples says where it shall lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

FIRST = -1  # the step whose draw is x_T


def normal(shape: Sequence[int], *, seed: int, index: int, stage: int, step: int) -> Tensor:
    """Standard normal numbers for one image at one step of one stage; step -1 is x_T.

    Shapes: -> shape, float32 on the CPU.
    Units:  any integer is a seed, 0 included; negative ones wrap at 2^64.
    """
    # The generator advances the first word of the counter, so streams of different images can never meet.
    counter = np.array([word % 2**64 for word in (0, step + 1, stage, index)], dtype=np.uint64)
    key = np.array([seed % 2**64, 0], dtype=np.uint64)
    drawn = np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(drawn)


def batch(shape: Sequence[int], *, seed: int | Sequence[int], indices: Sequence[int], stage: int, step: int) -> Tensor:
    """`normal` for several images, stacked; of one seed, or each of its own.

    Shapes: -> [len(indices) *shape] float32 on the CPU.
    """
    seeds = [seed] * len(indices) if isinstance(seed, int) else seed
    return torch.stack([normal(shape, seed=s, index=i, stage=stage, step=step) for s, i in zip(seeds, indices, strict=True)])


def draws(like: Tensor, *, seed: int | Sequence[int], indices: Sequence[int], stage: int) -> Callable[[int], Tensor]:
    """The noise a sampler asks for: k -> the draw of its k-th step, in shape, dtype and device of `like`.

    Shapes: like [B ...], B = len(indices); k -> [B ...].
    """

    def draw(k: int) -> Tensor:
        return batch(like.shape[1:], seed=seed, indices=indices, stage=stage, step=k).to(like)

    return draw
