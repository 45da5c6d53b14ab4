"""Weights told as changes to other weights: 8 bits a number and a scale a row, half of what bfloat16 takes.

A fine-tune moves its weights little, so that a change rounded to 8 bits is about as exact as the weight itself in bfloat16.
Which file the other weights lie in, and whether it is the right one, is the business of `weights.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from limner.errors import CheckpointError

CHANGE, SCALE = ".change", ".scale"  # what the keys of the two parts of a change end in
STEPS = 127  # the largest 8-bit number


def told(new: Mapping[str, Tensor], old: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """What has to be stored so that `old` and it give `new` again.

    Nothing of a tensor that is the same, a change of a matrix or kernel of the same shape, all else whole, as `dtype` (None: as
    it is).

    Raises: CheckpointError for weights that are not finite, which no number of steps could say.
    """
    parts: dict[str, Tensor] = {}
    for key, value in new.items():
        floating = value.is_floating_point()
        stored = value.to(dtype) if dtype is not None and floating else value
        before = old.get(key)
        if before is None or before.shape != value.shape:
            parts[key] = stored
        elif not torch.equal(stored.to(before.dtype), before):
            if floating and value.ndim > 1:
                if not bool(value.isfinite().all()):
                    raise CheckpointError(f"{key}: holds numbers that are not finite; train again from an earlier checkpoint")
                parts[key + CHANGE], parts[key + SCALE] = rounded(value.float() - before.float())
            else:
                parts[key] = stored
    return parts


def rounded(change: Tensor) -> tuple[Tensor, Tensor]:
    """A change in whole steps, and the length of a step in every row. Shapes: [R ...] -> [R ...] int8, [R] float32."""
    rows = change.flatten(1)
    scale = rows.abs().amax(dim=1) / STEPS
    steps = (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return steps.to(torch.int8).view_as(change), scale


def applied(old: Tensor, steps: Tensor, scale: Tensor) -> Tensor:
    """The weights after a change, in float32. Shapes: old, steps [R ...], scale [R] -> [R ...]."""
    return old.float() + steps.float() * scale.float().view(-1, *[1] * (steps.ndim - 1))
