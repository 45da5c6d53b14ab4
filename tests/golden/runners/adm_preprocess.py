"""ADM's training pictures: the centre crop of the loader and the smaller picture of super-resolution."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner import images
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, pixels in case.inputs().items():
        square = images.adm_square(Image.fromarray(pixels.numpy()), case.config["image_size"])
        out[f"{name}.out_uint8"] = torch.from_numpy(np.array(square))
    large = case.config["area_from"]
    x = images.pixels_to_tensor(case.input("img0").numpy()[None, :large, :large])
    out["area_downsample"] = images.shrunk(x, case.config["area_to"])
    return out
