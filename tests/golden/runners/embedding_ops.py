"""Between embeddings and towards texts."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import embeddings
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    a, b = case.input("a"), case.input("b")
    unit_a, unit_b = embeddings.unit(a), embeddings.unit(b)
    text_diff = embeddings.text_direction(case.input("z_t"), case.input("z_t0"))
    thetas, diff_thetas = case.config["thetas"], case.config["diff_thetas"]
    return {
        "slerp": torch.stack([embeddings.slerp(unit_a, unit_b, theta) for theta in thetas]),
        "slerp_raw": torch.stack([embeddings.slerp(a, b, theta) for theta in thetas]),
        "text_diff": text_diff,
        "text_diff_path": torch.stack([embeddings.slerp(unit_a, text_diff, theta) for theta in diff_thetas]),
    }
