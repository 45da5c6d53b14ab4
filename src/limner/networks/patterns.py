"""Which token may look at which: the sparse patterns of DALL-E 1 (appendix B.1) and of DALLE-pytorch.

A sequence is `text` tokens and then a grid of image tokens in raster order. Every pattern is a table [query, key] of
booleans: text sees earlier text, an image token sees all text and, of the image, what its pattern says.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["row", "column", "convolution"]


class Grid(NamedTuple):
    """The shape of a sequence."""

    text: int
    rows: int
    cols: int

    @property
    def length(self) -> int:
        """Tokens in all."""
        return self.text + self.rows * self.cols


def dense(grid: Grid) -> Tensor:
    """Everything up to itself. Shapes: -> [L L] bool."""
    return _among(grid, _place(grid)[:, None] >= _place(grid)[None])


def row(grid: Grid) -> Tensor:
    """Of the image, the last W tokens before it, across the ends of rows, and itself (DALL-E 1 fig. 11 a).

    The furthest is the one above. Shapes: -> [L L] bool.
    """
    back = _place(grid)[:, None] - _place(grid)[None]
    return _among(grid, (back >= 0) & (back <= grid.cols))


def column(grid: Grid) -> Tensor:
    """Of the image, its column up to itself (DALL-E 1 fig. 11 b; DALLE-pytorch's `axial_col`). Shapes: -> [L L] bool."""
    back = _place(grid)[:, None] - _place(grid)[None]
    return _among(grid, (back >= 0) & (back % grid.cols == 0))


def convolution(grid: Grid, kernel: int) -> Tensor:
    """Of the image, the earlier half of a square around it, wrapping around the ends of rows (DALL-E 1 fig. 11 d).

    Shapes: -> [L L] bool.
    Note:   the paper draws it; taken here are the steps back dr * W + dc >= 0, 0 <= dr <= kernel // 2 and |dc| <= kernel // 2.
    """
    half = kernel // 2
    steps = {dr * grid.cols + dc for dr in range(half + 1) for dc in range(-half, half + 1)}
    back = _place(grid)[:, None] - _place(grid)[None]
    return _among(grid, (back >= 0) & torch.isin(back, torch.tensor(sorted(steps))))


def axial_row(grid: Grid) -> Tensor:
    """Of the image, its own row up to itself, without wrapping (DALLE-pytorch's `axial_row`). Shapes: -> [L L] bool."""
    line = _place(grid) // grid.cols
    return _among(grid, (line[:, None] == line[None]) & _earlier(grid))


def window(grid: Grid, kernel: int, *, dilation: int = 1) -> Tensor:
    """Of the image, a square of which it is the lower right corner, cut off at the edges (DALLE-pytorch's `conv_like`).

    Shapes: -> [L L] bool.
    """
    down = _place(grid) // grid.cols
    along = _place(grid) % grid.cols
    reach = torch.arange(kernel) * dilation
    above = torch.isin(down[:, None] - down[None], reach)
    left = torch.isin(along[:, None] - along[None], reach)
    return _among(grid, above & left)


def column_major(grid: Grid) -> Tensor:
    """The order in which the image's tokens are read down its columns, the text left in front (DALL-E 1 appendix B.1).

    In that order the column pattern is blocks along the diagonal: pattern[order][:, order].

    Shapes: -> [L] int64.
    """
    image = torch.arange(grid.rows * grid.cols).view(grid.rows, grid.cols).t().flatten()
    return torch.cat([torch.arange(grid.text), grid.text + image])


def kinds(depth: int) -> tuple[Kind, ...]:
    """The pattern of every layer: row, column, row, row, repeated, and a convolution in the last (DALL-E 1 appendix B.1)."""
    return tuple("convolution" if layer == depth else "column" if layer % 4 == 2 else "row" for layer in range(1, depth + 1))


def of(kind: Kind, grid: Grid, kernel: int) -> Tensor:
    """A layer's pattern. Shapes: -> [L L] bool."""
    match kind:
        case "row":
            return row(grid)
        case "column":
            return column(grid)
        case "convolution":
            return convolution(grid, kernel)


def _place(grid: Grid) -> Tensor:
    return torch.arange(grid.rows * grid.cols)


def _earlier(grid: Grid) -> Tensor:
    return _place(grid)[:, None] >= _place(grid)[None]


def _among(grid: Grid, image: Tensor) -> Tensor:
    """The whole table around what image tokens see of the image. Shapes: [N N] -> [L L] bool."""
    table = torch.ones(grid.length, grid.length, dtype=torch.bool).tril()
    table[grid.text :, grid.text :] = image
    return table
