"""Small systems, a small emoji folder and made-up features: what the tests of this package draw and measure with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from limner.config import DiffusionSettings, SamplingSettings, StageSettings, SystemSettings, TextSettings, UNetSettings
from limner.data.emoji import FORMAT, EmojiSource, split
from limner.evaluation.features import Array, Described, Features, Pixels
from limner.systems.glide import Glide, untrained

TEXT = TextSettings(vocabulary="clip", rows=49408, context=16, width=16, depth=1, heads=2)
SMALL = UNetSettings(
    side=32, width=16, multipliers=(1, 2), blocks=1, attention=(2,), head_width=16, groups=4, ranged=False, patch=2, text=TEXT
)
LARGE = SMALL.model_copy(update={"side": 64, "low_res": True, "patch": 4, "attention": (), "text": None})
PROCESS = DiffusionSettings(target="v", variance="fixed_small")


def system(stages: int = 1, seed: int = 0) -> Glide:
    """An untrained cascade of one or two stages with a head that says something."""
    torch.manual_seed(seed)
    base = StageSettings(
        name="base", network=SMALL, diffusion=PROCESS, sampling=SamplingSettings(sampler="dpmpp2m", steps="2", guidance=3.0)
    )
    up = StageSettings(
        name="up", network=LARGE, diffusion=PROCESS, sampling=SamplingSettings(sampler="ddim", steps="2"), low_side=32
    )
    made = untrained(SystemSettings(name="tiny", stages=(base, up)[:stages]))
    for stage in made.stages:
        for parameter in stage.net.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return made


def emoji_folder(path: Path, concepts: int = 60) -> Path:
    """A folder as `limner data build emoji` makes it: each concept one flat colour, a square in "flat", a disc in "noto"."""
    path.mkdir()
    side, rows, lines = 32, [], []
    y, x = np.mgrid[:side, :side]
    disc = (y - 15.5) ** 2 + (x - 15.5) ** 2 < 200
    for k in range(concepts):
        for style in ("flat", "noto"):
            picture = np.zeros((side, side, 4), np.uint8)
            ink = np.random.default_rng(k).integers(0, 256, 3)
            picture[disc if style == "noto" else np.ones_like(disc)] = (*ink, 255)
            line = {"row": len(rows), "key": f"1f{k:03x}", "label": f"thing {k}", "tags": [], "group": "objects"}
            lines.append(line | {"subgroup": "", "style": style, "licence": "MIT", "box": [0, 0, side, side]})
            rows.append(picture)
    for size in (side, side // 4, side // 8):
        step = side // size
        np.save(path / f"side{size}.npy", np.stack(rows)[:, ::step, ::step])
    (path / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "meta.json").write_text(json.dumps({"format": FORMAT, "side": side, "pictures": {}, "skipped": {}}))
    return path


def emoji(path: Path, styles: Sequence[str] = (), concepts: int = 60) -> EmojiSource:
    """The folder, opened; it holds pairs and concepts that are not trained on."""
    return EmojiSource(emoji_folder(path, concepts) if not path.exists() else path, styles)


def mean_colour(pictures: Sequence[Pixels]) -> Array:
    """Three features: the mean of each channel."""
    return np.stack([picture.reshape(-1, 3).mean(0) for picture in pictures])


COLOURS = Features(Described(net="mean colour", sha256="none", width=3, resize="none"), mean_colour)

__all__ = ["COLOURS", "emoji", "emoji_folder", "mean_colour", "split", "system"]
