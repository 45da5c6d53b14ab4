"""Reads a picture of the shapes world back into a scene and says whether a caption is true of it.

The reader knows the palette, the ground's lightness and the three outlines, nothing of how the picture was made. It
bears slight blur and noise; it is strict about what is there: one shape too many, a blob that is no shape, a smear, a
wrong colour, size or place make a caption false.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner.data.shapes import GRID, PALETTE, Scene, Shape, coverage
from limner.data.shapes_words import COLOURS, KINDS, Colour, Description, Item, Kind, Relation, Size, parse
from limner.errors import ShapeError

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Lengths in cells of the 32 x 32 grid, areas in squared cells, colours in steps of 0..255.
SPECKLE = 5.0  # anything smaller is dirt
SMALLEST, DIVIDE, LARGEST = 5.5, 10.0, 16.0  # extents: small lies below DIVIDE, large above
SOLID = 0.5  # coverage from which a pixel belongs to a shape
OFF_COLOUR = 70.0  # mean distance from the palette's colour that is still that colour
MISFIT = 0.28  # share of a shape's area that may differ from the best outline
SOFT = (0.15, 0.25)  # weights of the neighbours in the blurs that are borne: 0.55 and 0.7 cells wide
DARKEST_GROUND = 200.0
FAINT, SMEAR = 0.15, 12.0  # coverage from which a pixel is not plain ground, and how many together are a smear


class Verdict(NamedTuple):
    """Whether a caption is true of a scene, and in words why not."""

    ok: bool
    reason: str


class _Blob(NamedTuple):
    """A connected piece of one colour: its pixels' coverage by that colour over the whole picture."""

    colour: Colour
    cover: Array


def judge(picture: NDArray[np.uint8], caption: str) -> Verdict:
    """Whether a picture shows what a caption of the shapes world says, exactly."""
    return satisfies(read(picture), caption)


def read(picture: NDArray[np.uint8]) -> Scene:
    """The scene in a picture; pieces that are no shape are named in its flaws.

    Shapes: [side side 3] uint8, side >= 32. Raises: ShapeError for anything else.
    """
    if picture.ndim != 3 or picture.shape[0] != picture.shape[1] or picture.shape[2] != 3 or len(picture) < GRID:
        raise ShapeError(f"the judge reads [side side 3] pictures, side >= {GRID}; got {list(picture.shape)}")
    pixels = picture.astype(np.float32)
    ground = _ground(pixels)
    if ground.min() < DARKEST_GROUND:
        return Scene((), (f"the ground is not light: {[int(c) for c in ground]}",))
    label, cover = _unmix(pixels, ground)
    blobs = _blobs(label, cover)
    found = [_shape(blob, pixels) for blob in blobs]
    shapes = tuple(shape for shape in found if isinstance(shape, Shape))
    flaws = (*(flaw for flaw in found if isinstance(flaw, str)), *_smears(blobs, cover))
    return Scene(shapes, flaws)


def _smears(blobs: list[_Blob], cover: Array) -> list[str]:
    """The ground must be plain away from the shapes: pale pieces that are none are named."""
    cell = len(cover) / GRID
    known = np.logical_or.reduce([np.zeros_like(cover, bool), *(_widened(blob.cover > 0, round(cell)) for blob in blobs)])
    pieces = components((cover >= FAINT) & (cover < SOLID) & ~known)
    return [f"a pale smear of {piece.sum() / cell**2:.0f} cells" for piece in pieces if piece.sum() >= SMEAR * cell**2]


def _ground(pixels: Array) -> Array:
    """The ground's colour: the median along the border."""
    border = np.concatenate(
        [pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, :2].reshape(-1, 3), pixels[:, -2:].reshape(-1, 3)]
    )
    return np.asarray(np.median(border, axis=0), np.float32)


def _unmix(pixels: Array, ground: Array) -> tuple[NDArray[np.intp], Array]:
    """For each pixel the ink that explains it best as ground + a (ink - ground), and that a, clipped to 0..1.

    An edge pixel of a dark shape looks like a paler colour, but lies on the line from the ground to its own ink.
    """
    inks = np.array([PALETTE[colour] for colour in COLOURS], np.float32) - ground  # [K 3]
    away = pixels - ground  # [h w 3]
    a = np.clip(away @ inks.T / (inks**2).sum(1), 0, 1)  # [h w K]
    error = ((away[..., None, :] - a[..., None] * inks) ** 2).sum(-1)  # [h w K]
    label = error.argmin(-1)
    return label, np.take_along_axis(a, label[..., None], -1)[..., 0]


def _blobs(label: NDArray[np.intp], cover: Array) -> list[_Blob]:
    """The pieces that are larger than dirt; a piece in which a second colour fills a seventh is cut by colour."""
    least = SPECKLE * (len(cover) / GRID) ** 2
    blobs = []
    for piece in components(cover >= SOLID):
        votes = np.bincount(label[piece], weights=cover[piece] ** 4, minlength=len(COLOURS))
        inks = np.flatnonzero(votes > max(votes.sum() / 7, least))
        if len(inks) < 2:
            inks = np.array([votes.argmax()])
            parts = [(inks[0], piece)]
        else:
            parts = [(ink, part) for ink in inks for part in components(piece & (label == ink))]
        for ink, part in parts:
            halo = cover * _widened(part, round(len(cover) / GRID)) * (1 if len(inks) < 2 else label == ink)
            if halo.sum() >= least:
                blobs.append(_Blob(COLOURS[ink], halo.astype(np.float32)))
    return blobs


def components(mask: Mask) -> list[Mask]:
    """The connected pieces of a mask (by edges), in reading order."""
    names = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        wide = np.pad(names, 1)
        most = np.maximum.reduce([names, wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]])
        most[~mask] = 0
        if (most == names).all():
            return [names == name for name in np.unique(names) if name]
        names = most


def _widened(mask: Mask, reach: int) -> Mask:
    """A mask and the neighbours within `reach` pixels: the anti-aliased rim belongs to the shape."""
    wide = np.pad(mask, reach)
    h, w = mask.shape
    span = range(2 * reach + 1)
    out: Mask = np.logical_or.reduce([wide[y : y + h, x : x + w] for y in span for x in span])
    return out


def _shape(blob: _Blob, pixels: Array) -> Shape | str:
    """The shape a blob is, or in words why it is none."""
    side = len(blob.cover)
    cell = side / GRID
    total = float(blob.cover.sum())
    ys, xs = np.indices(blob.cover.shape, dtype=np.float32) + 0.5
    x, y = float((xs * blob.cover).sum()) / total, float((ys * blob.cover).sum()) / total
    where = f"at {x / side:.0%} from the left, {y / side:.0%} from the top"
    core = blob.cover > 0.8
    off = float(np.linalg.norm(pixels[core].mean(0) - PALETTE[blob.colour])) if core.any() else np.inf
    if off > OFF_COLOUR:
        return f"a pale or mixed piece, nearest to {blob.colour}, {where}"
    misfits = {kind: _misfit(blob.cover, kind, total, x, y) for kind in KINDS}
    kind = min(misfits, key=lambda k: misfits[k])
    extent = _extent(kind, total)
    if misfits[kind] > MISFIT:
        return f"a {blob.colour} piece that is no circle, square or triangle (misfit {misfits[kind]:.2f}), {where}"
    if not SMALLEST <= extent / cell <= LARGEST:
        return f"a {blob.colour} {kind} of no known size ({extent / cell:.1f} cells across), {where}"
    size: Size = "small" if extent / cell < DIVIDE else "large"
    middle = y - extent / 6 if kind == "triangle" else y  # a triangle's centre of mass lies at two thirds
    return Shape(kind, blob.colour, size, x / side, middle / side, extent / side)


def _extent(kind: Kind, area: float) -> float:
    """How far across a shape of this area is."""
    return float(np.sqrt(area / {"square": 1.0, "circle": np.pi / 4, "triangle": 0.5}[kind]))


def _misfit(cover: Array, kind: Kind, area: float, x: float, y: float) -> float:
    """Share of the area by which a blob differs from the outline of equal area and centre of mass, sharp or soft."""
    extent = _extent(kind, area)
    left, top = x - extent / 2, y - extent / (1.5 if kind == "triangle" else 2)
    outline = np.zeros_like(cover)
    stamp = coverage(kind, extent, left - np.floor(left), top - np.floor(top), fine=4)
    x_0, y_0 = int(np.floor(left)), int(np.floor(top))
    fits = stamp[max(-y_0, 0) : len(cover) - y_0, max(-x_0, 0) : len(cover) - x_0]
    outline[max(y_0, 0) : max(y_0, 0) + fits.shape[0], max(x_0, 0) : max(x_0, 0) + fits.shape[1]] = fits
    softer = (outline, *(_softened(outline, weight) for weight in SOFT))
    return min(float(abs(cover - each).sum()) for each in softer) / area


def _softened(outline: Array, weight: float) -> Array:
    """An outline blurred by a 3 x 3 kernel a cell (several times where a cell is several pixels)."""
    for _ in range(round((len(outline) / GRID) ** 2)):
        for axis in (0, 1):
            outline = (1 - 2 * weight) * outline + weight * (np.roll(outline, 1, axis) + np.roll(outline, -1, axis))
    return outline


def satisfies(scene: Scene, caption: str) -> Verdict:
    """Whether a caption is true of a scene: exactly its shapes, and every relation it names."""
    return fulfils(scene, parse(caption))


def fulfils(scene: Scene, description: Description) -> Verdict:
    """Whether a scene is what a description promises; the reason names the first thing that is not."""
    items = description.items
    if scene.flaws:
        return Verdict(False, scene.flaws[0])
    if len(scene.shapes) != len(items):
        return Verdict(False, f"{len(items)} shapes promised, {len(scene.shapes)} shown: {_list(scene)}")
    matches = [order for order in permutations(scene.shapes) if all(map(_is, order, items))]
    if not matches:
        missing = next((i for i in items if not any(_is(shape, i) for shape in scene.shapes)), items[0])
        return Verdict(False, f"no {_say(missing)} among {_list(scene)}")
    broken: list[Relation] = []
    for order in matches:
        broken = [relation for relation in description.relations if not _holds(relation, order)]
        if not broken:
            return Verdict(True, "as promised")
    worst = broken[0]
    first, second = (" and ".join(_say(items[i]) for i in group) for group in (worst.first, worst.second))
    return Verdict(False, f"{first} not {worst.where} {second}")


def _is(shape: Shape, item: Item) -> bool:
    return shape.kind == item.kind and shape.colour == item.colour and item.size in (None, shape.size)


def _say(item: Item) -> str:
    return " ".join(word for word in (item.size, item.colour, item.kind) if word)


def _list(scene: Scene) -> str:
    return ", ".join(_say(Item(s.kind, s.colour, s.size)) for s in scene.shapes) or "nothing"


def _holds(relation: Relation, shapes: tuple[Shape, ...]) -> bool:
    """The boxes lie apart along the relation's axis (a cell of overlap is borne) and that axis leads."""
    first, second = ([shapes[i] for i in group] for group in (relation.first, relation.second))
    if relation.where in ("below", "right of"):
        first, second = second, first
    dx = float(np.mean([s.x for s in second]) - np.mean([s.x for s in first]))
    dy = float(np.mean([s.y for s in second]) - np.mean([s.y for s in first]))
    if relation.where in ("above", "below"):
        apart = min(b.y - b.extent / 2 for b in second) - max(a.y + a.extent / 2 for a in first)
        return apart > -1 / GRID and dy > abs(dx)
    apart = min(b.x - b.extent / 2 for b in second) - max(a.x + a.extent / 2 for a in first)
    return apart > -1 / GRID and dx > abs(dy)
