"""Draw the small pictures of a training set over again with the model whose upsampler is to be trained on them.

Every view is noised to a level of its own, even up to `strength` of all levels, and drawn to its end by the model's first
stage, just as that stage ends a drawing: the model's sampler, its guidance, its steps.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limner import images
from limner.data.redrawn import FORMAT, LOW, META, Meta
from limner.data.source import View, moved, open_source
from limner.data.whole import beside, free, whole
from limner.diffusion import noise, samplers, schedules, targets
from limner.errors import InputError
from limner.systems import base
from limner.systems.base import Request
from limner.systems.glide import Glide
from limner.training.feed import draws

Progress = Callable[[str, int, int], None]  # what, done, of
CHUNK, BATCH = 512, 32  # views sorted by level at a time, views drawn at a time
_DOMAIN = 0x72656472  # keeps these draws apart from training's


def redraw(
    system: Glide,
    source: str,
    out: Path,
    *,
    views: int,
    strength: float = 0.5,
    seed: int = 0,
    progress: Progress = lambda what, done, of: None,
) -> Meta:
    """Write the folder that "redrawn:FOLDER" reads; it appears when it is whole. Interrupted, the same call goes on.

    Raises: DataError when the source cannot be read, `out` is in the way or cannot be written; InputError for a model of
        one stage, or a strength that is not in (0, 1].
    """
    if len(system.stages) < 2:
        raise InputError(f"{system.settings.name}: has no upsampler; redraw with a model of two stages or more")
    if not 0 < strength <= 1:
        raise InputError(f"strength {strength:g}: must be above 0 and at most 1")
    free(out)
    inner, first = open_source(source), system.stages[0].settings
    side = first.network.side
    made = Meta(
        format=FORMAT,
        source=moved(source, lambda path: os.path.relpath(path, out)),
        seed=seed,
        views=views,
        model=system.settings.name,
        weights=system.hashes.get(first.name, "untrained"),
        strength=strength,
    )
    meta = made.model_dump_json(indent=1) + "\n"
    if _text(beside(out) / META) != meta:  # begun with other wishes
        shutil.rmtree(beside(out), ignore_errors=True)
    with whole(out, keep=True) as folder:
        (folder / META).write_text(meta, encoding="utf-8")
        parts = []
        for start in range(0, views, CHUNK):
            numbers = range(start, min(start + CHUNK, views))
            parts.append(folder / f"{start}.npy")
            if not parts[-1].exists():
                low = _redrawn(system, [inner.view(k, side, seed) for k in numbers], numbers, made)
                np.save(folder / "part.npy", low)
                (folder / "part.npy").rename(parts[-1])
            progress("redrawn", numbers.stop, views)
        np.save(folder / LOW, np.concatenate([np.load(part) for part in parts]))
        for part in parts:
            part.unlink()
    return made


def _text(path: Path) -> str:
    """What a file says; "" when there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _redrawn(system: Glide, views: Sequence[View], numbers: Sequence[int], made: Meta) -> NDArray[np.uint8]:
    """Shapes: -> [len(views) s s 3]."""
    stage = system.stages[0]
    T, sampling = len(stage.alpha_bar), stage.sampling(Request(prompt=""))
    path = schedules.path(T, sampling.steps, alpha_bar=stage.alpha_bar)
    low = np.stack([view.image for view in views])
    groups: dict[int, list[int]] = defaultdict(list)  # place in the path -> views that begin there
    for at, number in enumerate(numbers):
        deepest = made.strength * draws(made.seed, number, _DOMAIN).random() * T
        begins = next((place for place, t in enumerate(path[:-1]) if t + 1 <= deepest), None)
        if begins is not None:
            groups[begins].append(at)
    for begins, members in groups.items():
        for start in range(0, len(members), BATCH):
            part = members[start : start + BATCH]
            drawn = _ended(stage, path[begins:], [views[at] for at in part], [numbers[at] for at in part], made.seed)
            low[part] = drawn
    return low


def _ended(
    stage: base.Stage, path: Sequence[int], views: Sequence[View], numbers: Sequence[int], seed: int
) -> NDArray[np.uint8]:
    """Views noised to the first level of a path and drawn to its end. Shapes: -> [B s s 3]."""
    sampling = stage.sampling(Request(prompt=""))
    with torch.no_grad():
        words = stage.words([*(view.caption for view in views), ""])
        cond, null = ({name: value[part] for name, value in words.items()} for part in (slice(-1), slice(-1, None)))
        net = base.guided(stage, sampling.guidance, cond, null, path=path)
        denoise = targets.denoiser(net, stage.alpha_bar, stage.settings.diffusion, path=path)
        x_0 = images.pixels_to_tensor(np.stack([view.image for view in views])).to(stage.device)
        eps = noise.batch(tuple(x_0.shape[1:]), seed=seed, indices=numbers, stage=stage.number, step=noise.FIRST).to(
            stage.device
        )
        x_t = targets.q_sample(x_0, path[0], stage.alpha_bar, eps)
        further = noise.draws(x_t, seed=seed, indices=numbers, stage=stage.number)
        x = samplers.last(base.sampler(sampling)(denoise, stage.alpha_bar, x_t, path, further))
    return np.stack([np.asarray(picture) for picture in images.rounded(x)])
