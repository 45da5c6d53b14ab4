"""Pictures for many captions, one each, as every measure of this package draws them; and how a figure says so.

Picture k of a list of captions is `Request(prompt=captions[k], seed=seed, first=k)`: a person can redraw any single one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner import images
from limner.config import Frozen, SamplerName
from limner.diffusion import samplers
from limner.errors import InputError
from limner.systems import base
from limner.systems.base import Request, Stage
from limner.systems.glide import Glide


class Wishes(Frozen):
    """How to draw; what is None is the model's own."""

    seed: int = 0
    steps: str | None = None
    guidance: float | None = None
    sampler: SamplerName | None = None
    batch: int = 25  # captions at a time; bounds the memory, not the result
    stages: int | None = None  # stop after so many stages; None = all


class Drawing(Frozen):
    """Which weights drew how: what has to stand beside every figure."""

    model: str
    hashes: dict[str, str]  # stage -> sha256 of its weights
    seed: int
    sampler: str  # of the first stage
    steps: str
    guidance: float
    later: tuple[str, ...]  # sampling of the stages after it
    side: int  # pixels of a picture
    dtype: str  # of the first stage's trunk
    device: str
    torch: str


class Illustrated(NamedTuple):
    """A caption and the picture drawn for it: [side side 3] uint8."""

    number: int
    caption: str
    picture: NDArray[np.uint8]


def described(system: Glide, wishes: Wishes) -> Drawing:
    """What a figure says about its pictures."""
    used = _stages(system, wishes)
    samplings = [stage.sampling(_request("", wishes)) for stage in used]
    first = samplings[0]
    return Drawing(
        model=system.settings.name,
        hashes={stage.settings.name: system.hashes.get(stage.settings.name, "untrained") for stage in used},
        seed=wishes.seed,
        sampler=first.sampler,
        steps=first.steps,
        guidance=first.guidance,
        later=tuple(f"{s.sampler} {s.steps}, guidance {s.guidance:g}" for s in samplings[1:]),
        side=used[-1].settings.network.side,
        dtype=str(used[0].net.stem.weight.dtype).removeprefix("torch."),
        device=str(system.device),
        torch=torch.__version__,
    )


def draw(system: Glide, captions: Sequence[str], wishes: Wishes) -> Iterator[Illustrated]:
    """One picture a caption, in order.

    Raises: InputError for a caption that cannot be a prompt, or when there are none.
    """
    if not captions:
        raise InputError("nothing to draw: the list of captions is empty")
    for caption in captions:
        base.check_prompt(caption, what="caption")
    for start in range(0, len(captions), wishes.batch):
        part = captions[start : start + wishes.batch]
        numbers = range(start, start + len(part))
        pictures = images.rounded(_drawn(system, part, numbers, wishes))
        for number, caption, picture in zip(numbers, part, pictures, strict=True):
            yield Illustrated(number, caption, np.asarray(picture))


def _drawn(system: Glide, captions: Sequence[str], numbers: Sequence[int], wishes: Wishes) -> Tensor:
    """The pictures of one batch. Shapes: -> [B 3 H W] in [-1, 1]."""
    x: Tensor | None = None
    with torch.no_grad():
        for stage in _stages(system, wishes):
            words = stage.words([*captions, ""])
            cond = {name: value[:-1] for name, value in words.items()}
            null = {name: value[-1:] for name, value in words.items()}
            if x is not None:
                cond["low_res"] = base.round_8bit(x)
            sampling = stage.sampling(_request("", wishes))
            x = samplers.last(base.run_each(stage, sampling, cond, null, seed=wishes.seed, indices=numbers))
    if x is None:
        raise InputError(f"{system.settings.name}: has no stages to draw with")
    return x


def _stages(system: Glide, wishes: Wishes) -> tuple[Stage, ...]:
    return system.stages[: wishes.stages]


def _request(prompt: str, wishes: Wishes) -> Request:
    return Request(prompt=prompt, seed=wishes.seed, steps=wishes.steps, guidance=wishes.guidance, sampler=wishes.sampler)
