"""Attention patterns, held against their definitions one pair of tokens at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limner.networks import patterns
from limner.networks.patterns import Grid

GRIDS = [Grid(3, 4, 4), Grid(1, 3, 5), Grid(4, 5, 2), Grid(0, 3, 3)]
Rule = Callable[[int, int, int, int], bool]  # (query row, query column, key row, key column)


def table(grid: Grid, rule: Rule) -> torch.Tensor:
    out = torch.zeros(grid.length, grid.length, dtype=torch.bool)
    for query in range(grid.length):
        for key in range(query + 1):
            if key < grid.text:
                out[query, key] = True
            else:
                q, k = divmod(query - grid.text, grid.cols), divmod(key - grid.text, grid.cols)
                out[query, key] = rule(*q, *k)
    return out


@pytest.mark.parametrize("grid", GRIDS)
def test_dense_sees_everything_before(grid: Grid) -> None:
    assert torch.equal(patterns.dense(grid), table(grid, lambda *_: True))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_row_reaches_back_to_the_token_above(grid: Grid) -> None:
    def rule(qr: int, qc: int, kr: int, kc: int) -> bool:
        return qr == kr or (qr - kr == 1 and kc >= qc)

    assert torch.equal(patterns.row(grid), table(grid, rule))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_column_is_the_same_column(grid: Grid) -> None:
    assert torch.equal(patterns.column(grid), table(grid, lambda qr, qc, kr, kc: qc == kc))


@pytest.mark.parametrize("grid", GRIDS)
def test_an_axial_row_does_not_wrap(grid: Grid) -> None:
    assert torch.equal(patterns.axial_row(grid), table(grid, lambda qr, qc, kr, kc: qr == kr))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kernel", [1, 3, 5, 11])
def test_a_convolution_looks_ahead_by_raster_steps(grid: Grid, kernel: int) -> None:
    def rule(qr: int, qc: int, kr: int, kc: int) -> bool:
        back, half = (qr - kr) * grid.cols + qc - kc, kernel // 2
        return any(back == dr * grid.cols + dc for dr in range(half + 1) for dc in range(-half, half + 1))

    assert torch.equal(patterns.convolution(grid, kernel), table(grid, rule))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_a_window_ends_at_its_token_on_both_axes(grid: Grid, kernel: int, dilation: int) -> None:
    def rule(qr: int, qc: int, kr: int, kc: int) -> bool:
        steps = [n * dilation for n in range(kernel)]
        return qr - kr in steps and qc - kc in steps

    assert torch.equal(patterns.window(grid, kernel, dilation=dilation), table(grid, rule))


@pytest.mark.parametrize("grid", GRIDS)
def test_columns_read_downwards_are_blocks_along_the_diagonal(grid: Grid) -> None:
    order = patterns.column_major(grid)
    turned = Grid(grid.text, grid.cols, grid.rows)
    assert torch.equal(patterns.column(grid)[order][:, order], patterns.axial_row(turned))


def test_the_layers_of_the_large_model_are_47_rows_16_columns_and_one_convolution() -> None:
    kinds = patterns.kinds(64)
    assert kinds[:6] == ("row", "column", "row", "row", "row", "column")
    assert [kinds.count(kind) for kind in ("row", "column", "convolution")] == [47, 16, 1]
    assert kinds[-1] == "convolution"


@pytest.mark.parametrize("kind", ["row", "column", "convolution"])
def test_every_kind_has_a_causal_pattern_that_sees_itself(kind: patterns.Kind) -> None:
    pattern = patterns.of(kind, GRIDS[1], 3)
    assert not bool(pattern.triu(1).any())
    assert bool(pattern.diagonal().all())
