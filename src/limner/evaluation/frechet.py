"""The Frechet distance of two sets of pictures: how far apart Gaussians fitted to their features lie (FID).

With few pictures the distance of two halves of ONE set is far from zero, so a figure is only worth something beside that
of real pictures at the same number (`floor`), and beside figures taken in the same features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from limner.config import Frozen
from limner.data.source import Source, View
from limner.errors import InputError
from limner.evaluation import drawing, features
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.features import Array, Described, Features, Pixels
from limner.systems.glide import Glide

Against = Literal["held_out", "views"]
Progress = Callable[[str, int, int], None]  # what, done, of
VIEW_SEED = 1234  # of the views compared with; training uses its own


class FrechetResult(Frozen):
    """How far drawn pictures are from real ones of the same captions."""

    distance: float  # drawn to real
    floor: float  # other real pictures to the same real ones
    n: int  # drawn
    n_real: int
    n_floor: int
    against: Against
    data: str
    features: Described
    drawing: Drawing


def distance(a: Array, b: Array) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features (FID: Heusel et al. 2017, eq. 6).

    The trace of the root is the sum of singular values of A B^T / sqrt((n-1)(m-1)), A and B centred: no root of a singular
    matrix is taken, which keeps it exact when there are fewer pictures than features.

    Shapes: a [N D], b [M D].
    Raises: InputError for fewer than two pictures or other widths.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(
            f"a distance needs two sets of at least two rows of one width; got {list(a.shape)} and {list(b.shape)}"
        )
    mean_a, mean_b = a.mean(0, dtype=np.float64), b.mean(0, dtype=np.float64)
    root_a, root_b = _root(a - mean_a), _root(b - mean_b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * shared
    return float(((mean_a - mean_b) ** 2).sum() + max(spread, 0.0))


def _root(centred: Array) -> Array:
    """R with R^T R = the covariance, no taller than wide. Shapes: [N D] -> [min(N, D) D]."""
    scaled = centred.astype(np.float64) / np.sqrt(len(centred) - 1)
    return np.linalg.qr(scaled)[1] if len(scaled) > scaled.shape[1] else scaled


def evaluate(
    system: Glide,
    source: Source,
    net: Features,
    wishes: Wishes,
    *,
    n: int = 500,
    against: Against = "held_out",
    progress: Progress = lambda what, done, of: None,
) -> FrechetResult:
    """Draw n captions of a source and compare with its own pictures of them.

    "held_out": the source's held-out split, its captions repeated until there are n drawings; the floor is the distance
    of n training views. "views": n views of the training stream and their captions; the floor is that of n others.
    Raises: InputError when the source has fewer than two held-out pictures.
    """
    side = drawing.described(system, wishes).side
    real = _real(source, side, n, against)
    captions = [real[k % len(real)].caption for k in range(n)]
    drawn = _seen(net, (one.picture for one in drawing.draw(system, captions, wishes)), "drawn", n, progress)
    known = _seen(net, (view.image for view in real), "real", len(real), progress)
    other = _seen(net, (source.view(n + k, side, VIEW_SEED).image for k in range(n)), "floor", n, progress)
    return FrechetResult(
        distance=distance(drawn, known),
        floor=distance(other, known),
        n=len(drawn),
        n_real=len(known),
        n_floor=len(other),
        against=against,
        data=source.name,
        features=net.described,
        drawing=drawing.described(system, wishes),
    )


def _real(source: Source, side: int, n: int, against: Against) -> Sequence[View]:
    real = source.held_out(side) if against == "held_out" else [source.view(k, side, VIEW_SEED) for k in range(n)]
    if len(real) < 2 or n < 2:
        raise InputError(f"{source.name}: a distance needs two pictures or more; got {len(real)} real and {n} drawn")
    return real


def _seen(net: Features, pictures: Iterable[Pixels], what: str, count: int, progress: Progress) -> Array:
    return features.of(net, pictures, lambda done: progress(what, done, count))
