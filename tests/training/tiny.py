"""A system so small that a step takes milliseconds, and a source of striped pictures for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from limner.config import (
    DiffusionSettings,
    Preset,
    SamplingSettings,
    StageSettings,
    SystemSettings,
    TextSettings,
    TrainSettings,
    UNetSettings,
)
from limner.data.source import View

WORDS = ("red", "green", "blue", "wide", "narrow", "stripes", "on", "white")


class Stripes:
    """Pictures of stripes whose place and colour follow from the number alone."""

    name = "stripes"

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th picture."""
        rng = np.random.default_rng([seed, k])
        image = np.full((side, side, 3), 255, dtype=np.uint8)
        channel, phase = int(rng.integers(3)), int(rng.integers(4))
        image[:, phase::4] = 0
        image[:, phase::4, channel] = 200
        top, left = (int(v) for v in rng.integers(0, side // 2, 2))
        image[top : top + side // 2, left : left + side // 2] //= 2
        return View(image, f"{WORDS[channel]} stripes {WORDS[3 + phase % 2]}")

    def captions(self) -> list[str]:
        """Words to make a vocabulary of."""
        return [f"{a} {b}" for a in WORDS for b in WORDS]

    def held_out(self, side: int) -> list[View]:
        """Views that training does not see."""
        return [self.view(k, side, 2**31) for k in range(3)]


def preset(*, dropout: float = 0.0, diffusion: dict[str, Any] | None = None, inpaint: bool = False, **recipe: Any) -> Preset:
    """The tiny cascade, or the one that inpaints; keywords change the recipe of both stages."""
    process = DiffusionSettings(**{"target": "v", "variance": "fixed_small", "levels": 100, **(diffusion or {})})
    ranged = process.variance in ("learned", "learned_range")
    sampling = SamplingSettings(sampler="ddim", steps="2", guidance=2.0)
    text = TextSettings(vocabulary="words.json", rows=280, context=6, width=16, depth=1, heads=2)
    small = {
        "width": 16,
        "multipliers": (1, 2),
        "blocks": 1,
        "head_width": 16,
        "groups": 4,
        "ranged": ranged,
        "dropout": dropout,
        "inpaint": inpaint,
    }
    base = UNetSettings(side=8, attention=(2,), text=text, **small)
    upsampler = UNetSettings(side=32, attention=(), patch=2, low_res=True, **small)
    figures = {
        "data": "stripes", "batch": 4, "steps": 12, "warmup": 2, "save_every": 4, "bf16": False, "ema": (0.9, 0.99),
        "prompts": ("red stripes", "blue stripes"), "sample_every": 0, "erase": {} if inpaint else None, **recipe,
    }  # fmt: skip
    crop = figures.pop("crop", 16)
    return Preset(
        model=SystemSettings(
            name="tiny",
            stages=(
                StageSettings(name="base", network=base, diffusion=process, sampling=sampling),
                StageSettings(name="upsampler", network=upsampler, diffusion=process, sampling=sampling, low_side=8),
            ),
        ),
        training=(TrainSettings(stage="base", **figures), TrainSettings(stage="upsampler", crop=crop, **figures)),
    )
