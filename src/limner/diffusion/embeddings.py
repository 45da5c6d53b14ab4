"""The geometry of CLIP embeddings: between two, towards a text, and along their principal components.

What unCLIP does with them (variations, interpolations, text diffs) is a system's business.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from limner.errors import InputError, ShapeError

_PARALLEL = 1e-6  # sine of the angle below which two directions count as one line


class Principal(NamedTuple):
    """Principal components of a set of embeddings, largest first."""

    mean: Tensor  # [D]
    variances: Tensor  # [D], of each component
    basis: Tensor  # [D D], one component a row


def unit(z: Tensor) -> Tensor:
    """The direction of a vector. Shapes: [... D] -> [... D]; zero stays zero."""
    return torch.nn.functional.normalize(z, dim=-1)


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """On the great circle from a to b, spherical interpolation (unCLIP section 3.2).

    The angle is that between the directions; lengths are mixed along, so that unit vectors stay unit vectors. Directions
    on one line have no circle of their own and are mixed straight.

    Shapes: a, b [... D], share [...] or a number -> [... D].
    Units:  share 0 is a, 1 is b.
    """
    wide_a, wide_b = a.double(), b.double()
    cosine = (unit(wide_a) * unit(wide_b)).sum(-1, keepdim=True).clamp(-1, 1)  # [... 1]
    angle = cosine.acos()
    at = torch.as_tensor(share, dtype=torch.float64, device=a.device)
    at = at[..., None] if at.ndim else at
    straight = angle.sin() < _PARALLEL
    sine = torch.where(straight, 1.0, angle.sin())
    of_a = torch.where(straight, 1 - at, ((1 - at) * angle).sin() / sine)
    of_b = torch.where(straight, at, (at * angle).sin() / sine)
    return (of_a * wide_a + of_b * wide_b).to(a.dtype)


def text_direction(target: Tensor, current: Tensor | None = None) -> Tensor:
    """Where a picture's embedding goes when its text changes from `current` to `target` (unCLIP section 3.3).

    Shapes: embeddings of texts [... D] -> unit vectors [... D]; without `current`, that of the target alone.
    Note:   both are brought to unit length first, as CLIP compares them; the paper writes only the outer one.
    """
    if current is None:
        return unit(target)
    return unit(unit(target.double()) - unit(current.double())).to(target.dtype)


def principal(z: Tensor) -> Principal:
    """Principal components of embeddings, by decreasing variance (unCLIP section 2.2, for the autoregressive prior).

    Shapes: [N D] -> mean [D], variances [D], basis [D D].
    Raises: ShapeError for anything but a non-empty list of vectors.
    """
    if z.ndim != 2 or not len(z):
        raise ShapeError(f"principal components: expected embeddings of shape [N, D], N > 0; got {list(z.shape)}")
    wide = z.double()
    mean = wide.mean(0)
    centred = wide - mean
    variances, columns = torch.linalg.eigh(centred.T @ centred / len(wide))  # rising
    kept = (mean, variances.flip(0).clamp(min=0), columns.flip(1).T.contiguous())
    return Principal(*(each.to(z.dtype) for each in kept))


def compressed(z: Tensor, components: Principal, count: int) -> Tensor:
    """The first `count` coordinates of embeddings. Shapes: [... D] -> [... count].

    Raises: InputError when there are not so many components.
    """
    return (z - components.mean) @ _first(components, count).T


def restored(coordinates: Tensor, components: Principal) -> Tensor:
    """The embedding that the first coordinates describe (unCLIP section 4). Shapes: [... K] -> [... D]."""
    return coordinates @ _first(components, coordinates.shape[-1]) + components.mean


def lost(components: Principal, count: int) -> Tensor:
    """Share of the variance that all but the first `count` components hold. Shapes: -> []."""
    _first(components, count)
    return components.variances[count:].sum() / components.variances.sum()


def _first(components: Principal, count: int) -> Tensor:
    if not 0 <= count <= len(components.basis):
        raise InputError(f"components: there are {len(components.basis)}; asked for {count}")
    return components.basis[:count]
