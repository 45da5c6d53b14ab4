"""DALLE-pytorch's static masks; its networks never see the last image token."""

from __future__ import annotations

from torch import Tensor

from limner.networks import patterns
from limner.networks.patterns import Grid
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    grid = Grid(case.config["text_len"], case.config["grid"], case.config["grid"])
    return {
        "axial_row": patterns.axial_row(grid)[:-1, :-1],
        "axial_col": patterns.column(grid)[:-1, :-1],
    }
