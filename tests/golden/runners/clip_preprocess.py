"""CLIP's picture preparation: resize, centre crop, normalise."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from limner import images
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    return {
        f"{name}.out": images.clip_square(Image.fromarray(pixels.numpy()), case.config["n_px"])
        for name, pixels in case.inputs().items()
    }
