"""The attention patterns of DALL-E 1 as tables."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.networks import patterns
from limner.networks.patterns import Grid
from tests.golden.case import Case

NUMBERS = {"row": 0, "column": 1, "convolution": 2}


def run(case: Case) -> dict[str, Tensor]:
    grid = Grid(case.config["text_len"], case.config["rows"], case.config["cols"])
    order = patterns.column_major(grid)
    column = patterns.column(grid)
    return {
        "full": patterns.dense(grid),
        "row_paper": patterns.row(grid),
        "row_axial": patterns.axial_row(grid),
        "column": column,
        "column_transposed": column[order][:, order],
        "transpose_permutation": order,
        "layer_kind": torch.tensor([NUMBERS[kind] for kind in patterns.kinds(case.config["layers"])]),
        **{f"conv_paper_{k}x{k}": patterns.convolution(grid, k) for k in case.config["kernels"]},
    }
