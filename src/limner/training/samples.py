"""Sample grids: what the averaged weights draw for the recipe's prompts, always from the same noise.

Drawn through `systems.base`, the very path that draws for users, so a good preview means a good model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner import images
from limner.config import EraseSettings, StageSettings, TrainSettings
from limner.data.source import Source, View
from limner.diffusion import samplers, schedules
from limner.networks.unet import UNet
from limner.systems import base
from limner.systems.base import Hint
from limner.tokens import Tokenizer
from limner.training import erasing
from limner.training.feed import draws, smaller

SEED = 0
SHOWN = 4  # pictures that an upsampler enlarges


def grid(
    network: UNet,
    stage: StageSettings,
    recipe: TrainSettings,
    tokenizer: Tokenizer | None,
    source: Source,
    *,
    device: torch.device,
) -> Image.Image:
    """One picture of all prompts; for an upsampler one row a held-out picture: the smaller one, what it drew, the truth.

    A network that inpaints is shown held-out pictures with a region erased, grey in the sheet, in the same three columns.
    `network` is in evaluation mode with the weights to be shown. Sampled as the stage's settings say.
    """
    ready = base.Stage(0, stage, network, tokenizer, schedules.of(stage.diffusion), device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
        if recipe.erase is not None:
            return _filled(ready, recipe.erase, source.held_out(stage.network.side)[:SHOWN])
        if stage.network.low_res and stage.low_side is not None:
            return _enlarged(ready, stage.low_side, source.held_out(stage.network.side)[:SHOWN])
        if stage.network.text is None:
            return images.grid(images.rounded(_drawn(ready, {}, range(2 * SHOWN))))
        drawn = [_drawn(ready, ready.words([prompt, ""]), [number]) for number, prompt in enumerate(recipe.prompts)]
        return images.grid(images.rounded(torch.cat(drawn)), recipe.prompts)


def _enlarged(ready: base.Stage, low_side: int, views: Sequence[View]) -> Image.Image:
    side = ready.settings.network.side
    shown: list[Image.Image] = []
    labels: list[str] = []
    for number, view in enumerate(views):
        low = smaller(view.image, side // low_side)
        condition = images.pixels_to_tensor(np.stack([low])).to(ready.device)
        drawn = _drawn(ready, ready.words([view.caption, ""]), [number], low_res=condition)
        shown += [Image.fromarray(low).resize((side, side), Image.Resampling.NEAREST), *images.rounded(drawn)]
        shown.append(Image.fromarray(view.image))
        labels += [f"{view.caption} ({low_side} px)", "drawn", "true"]
    return images.grid(shown, labels, columns=3)


def _filled(ready: base.Stage, recipe: EraseSettings, views: Sequence[View]) -> Image.Image:
    low_side, side = ready.settings.low_side, ready.settings.network.side
    # Only regions that leave something to see and something to fill.
    shown_recipe = recipe.model_copy(update={"boxes": 0.4, "strokes": 0.2, "objects": 0.4, "everything": 0.0, "nothing": 0.0})
    shown: list[Image.Image] = []
    labels: list[str] = []
    for number, view in enumerate(views):
        gone = erasing.region(view.image, shown_recipe, draws(SEED, number))
        picture = images.pixels_to_tensor(view.image[None]).to(ready.device)
        hint = Hint(picture, torch.from_numpy(gone)[None, None].to(picture))
        low = None
        if low_side is not None:
            low = images.pixels_to_tensor(smaller(view.image, side // low_side)[None]).to(ready.device)
        drawn = _drawn(ready, ready.words([view.caption, ""]), [number], low_res=low, hint=hint)
        shown.append(Image.fromarray(np.where(gone[..., None], np.uint8(128), view.image)))
        shown += [*images.rounded(drawn), Image.fromarray(view.image)]
        labels += [view.caption, "filled", "true"]
    return images.grid(shown, labels, columns=3)


def _drawn(
    ready: base.Stage,
    words: Mapping[str, Tensor],
    numbers: Sequence[int],
    low_res: Tensor | None = None,
    hint: Hint | None = None,
) -> Tensor:
    """Pictures of these numbers under the grids' seed. Shapes: -> [B 3 S S] float32 on the CPU."""
    steps = base.run(ready, ready.settings.sampling, words, seed=SEED, indices=list(numbers), low_res=low_res, hint=hint)
    return samplers.last(steps).float().cpu()
