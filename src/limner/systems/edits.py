"""Editing a picture: repaint a region, start from a sketch, go on beyond the border, enlarge. Written once, on the cascade.

Models trained to inpaint are told what is known; all others have the known pixels put back into every clean picture,
each step taken several times (RePaint). A pixel outside the mask is the input's own, bit for bit, at the input's own size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, Unpack

import numpy as np
import PIL.Image
import torch
from PIL import ImageOps

from limner import images
from limner.errors import InputError, UnsupportedError
from limner.recipe import Image, Recipe
from limner.systems import base, drawing, masks
from limner.systems.base import Drawn, Hint, Progress, Request
from limner.systems.drawing import Pipe, Wishes

Source: TypeAlias = str | Path | bytes | PIL.Image.Image | Image
SKETCHY = 0.6  # how far a sketch is left unless said otherwise
ROUNDS = 4  # times a step is taken by models that were not trained to inpaint


class Window(NamedTuple):
    """The square of a picture that the model sees, in the picture's pixels; it may reach beyond the border."""

    left: int
    top: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """As Pillow wants it."""
        return self.left, self.top, self.left + self.side, self.top + self.side


@dataclass(frozen=True)
class Canvas:
    """A picture to be painted on: what is there, where paint may go and how, and what the result records of it."""

    verb: str
    picture: PIL.Image.Image  # RGB
    mask: PIL.Image.Image  # L, 255 = repaint; all 255 for a sketch
    parent: str  # sha256 of the file the picture came from
    facts: dict[str, Any]  # for the recipe
    soft: float = 0
    strength: float = 1.0
    rounds: int | None = None  # None = the model's own: 1 where it was trained to inpaint, else ROUNDS


def edit(
    pipe: Pipe,
    picture: Source,
    prompt: str,
    mask: str | Path | bytes | PIL.Image.Image,
    *,
    soft: float = 0,
    strength: float = 1.0,
    rounds: int | None = None,
    **wishes: Unpack[Wishes],
) -> Iterator[Progress | Image]:
    """Repaint what the mask marks (see `masks.read`) as the words say; every other pixel stays exactly as it is.

    `soft` fades the new into the old over so many pixels inside the mask; `strength` below 1 starts from what is there;
    `rounds` is how often each step is taken by a model that was not trained to inpaint.

    Raises: InputError for a picture, mask or prompt that cannot be used; ConfigError for a setting that does not fit.
    """
    return paint(pipe, marked(picture, mask, soft=soft, strength=strength, rounds=rounds), drawing.request(prompt, **wishes))


def sketch(
    pipe: Pipe, picture: Source, prompt: str, *, strength: float = SKETCHY, **wishes: Unpack[Wishes]
) -> Iterator[Progress | Image]:
    """Turn a rough picture into what the words say, keeping its layout (SDEdit section 3).

    `strength` is how much of the noise is put on first: near 0 the sketch comes back, 1 forgets it.

    Raises: as `edit`.
    """
    return paint(pipe, rough(picture, strength=strength), drawing.request(prompt, **wishes))


def outpaint(
    pipe: Pipe,
    picture: Source,
    prompt: str,
    margins: tuple[int, int, int, int],
    *,
    soft: float = 0,
    rounds: int | None = None,
    **wishes: Unpack[Wishes],
) -> Iterator[Progress | Image]:
    """Go on with a picture beyond its border. Units: margins (left, top, right, bottom) in pixels.

    Raises: as `edit`.
    """
    return paint(pipe, widened(picture, margins, soft=soft, rounds=rounds), drawing.request(prompt, **wishes))


def upscale(pipe: Pipe, picture: Source, prompt: str = "", **wishes: Unpack[Wishes]) -> Iterator[Progress | Image]:
    """Enlarge a picture by the model's last stage alone.

    Raises: as `edit`; UnsupportedError for a model of one stage.
    """
    return enlarge(pipe, picture, drawing.request(prompt, **wishes))


def enlarge(pipe: Pipe, picture: Source, asked: Request) -> Iterator[Progress | Image]:
    """`upscale` for a checked request. Raises: as there."""
    stage = pipe.system.stages[-1]
    low_side = stage.settings.low_side
    if low_side is None:
        raise UnsupportedError(f"{pipe.name}: has no stage that enlarges; take a model with an upsampler, such as glide-emoji")
    origin = _opened(picture)
    pipe.check(asked)
    low_res = images.to_tensor([images.square(origin.picture, low_side)])
    facts = origin.facts | (
        {"lost": lost} if (lost := [*origin.facts.get("lost", ()), *_not_enlarged(origin, low_side)]) else {}
    )
    canvas = Canvas("upscale", origin.picture, origin.picture.convert("L"), origin.parent, facts)
    return _enlarged(pipe, stage, asked, low_res, canvas)


def _not_enlarged(origin: _Origin, low_side: int) -> list[str]:
    """What of a picture the last stage is not shown, in words. Units: side of the stage's input in pixels."""
    size, short = f"{origin.picture.width}x{origin.picture.height}", min(origin.picture.size)
    cut = [f"of {size} the middle {short}x{short} is enlarged"] if max(origin.picture.size) > short else []
    return cut + ([f"it was made smaller first, from {short}x{short} to {low_side}x{low_side}"] if short > low_side else [])


def marked(
    picture: Source,
    mask: str | Path | bytes | PIL.Image.Image,
    *,
    soft: float = 0,
    strength: float = 1.0,
    rounds: int | None = None,
) -> Canvas:
    """What `edit` paints on. Raises: InputError for a picture, mask or setting that cannot be used."""
    origin = _opened(picture)
    area = masks.read(mask, origin.picture.size)
    facts = origin.facts | masks.written(mask, area)
    return _checked(Canvas("edit", origin.picture, area, origin.parent, facts, soft, strength, rounds))


def rough(picture: Source, *, strength: float = SKETCHY) -> Canvas:
    """What `sketch` paints on. Raises: as `marked`."""
    origin = _opened(picture)
    everything = PIL.Image.new("L", origin.picture.size, 255)
    return _checked(Canvas("sketch", origin.picture, everything, origin.parent, origin.facts, strength=strength))


def widened(picture: Source, margins: tuple[int, int, int, int], *, soft: float = 0, rounds: int | None = None) -> Canvas:
    """What `outpaint` paints on. Raises: as `marked`."""
    origin = _opened(picture)
    old = origin.picture
    if len(margins) != 4 or not all(isinstance(side, int) and side >= 0 for side in margins) or not any(margins):
        raise InputError(f"outpaint: margins must be four whole numbers of 0 or more, one above 0; got {margins}")
    left, top, right, bottom = margins
    if (old.width + left + right) * (old.height + top + bottom) > images.LARGEST:
        raise InputError(f"outpaint: the picture would have more than {images.LARGEST // 2**20} Mpixel; ask for less")
    wide = ImageOps.expand(old, (left, top, right, bottom), fill=(255, 255, 255))
    mask = PIL.Image.new("L", wide.size, 255)
    mask.paste(0, (left, top, left + old.width, top + old.height))
    facts = origin.facts | {"margins": list(margins)}
    return _checked(Canvas("outpaint", wide, mask, origin.parent, facts, soft, rounds=rounds))


def window(size: tuple[int, int], box: tuple[int, int, int, int]) -> Window:
    """The square of a picture to work on: its shorter side where the marked box fits, placed around it, else its longer.

    Units: pixels; box (left, top, right, bottom).
    """
    width, height = size
    short = min(size)
    if max(box[2] - box[0], box[3] - box[1]) <= short:
        left = min(max((box[0] + box[2] - short) // 2, 0), width - short)
        top = min(max((box[1] + box[3] - short) // 2, 0), height - short)
        return Window(left, top, short)
    side = max(size)
    return Window((width - side) // 2, (height - side) // 2, side)


def paint(pipe: Pipe, canvas: Canvas, asked: Request) -> Iterator[Progress | Image]:
    """Paint a request on a canvas; whatever can be refused is refused at once.

    Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
    """
    pipe.check(asked)
    return _paint(pipe, asked, canvas)


def recorded(pipe: Pipe, canvas: Canvas, asked: Request, index: int, size: tuple[int, int]) -> Recipe:
    """What picture `index` painted on a canvas remembers. Units: size (width, height) in pixels."""
    made = pipe.recipe(asked, index, size)
    how = {"soft": canvas.soft, "strength": canvas.strength, "rounds": _rounds(pipe.system.stages[0], canvas)}
    extra = {**made.extra, **canvas.facts, **({} if canvas.verb == "upscale" else how)}
    return made.model_copy(update={"verb": canvas.verb, "parents": (canvas.parent,), "extra": extra})


def _checked(canvas: Canvas) -> Canvas:
    """Refuse what no canvas can be painted with."""
    if not 0 < canvas.strength <= 1:
        raise InputError(f"strength: must be above 0 and at most 1; got {canvas.strength:g}")
    if canvas.rounds is not None and not 1 <= canvas.rounds <= 50:
        raise InputError(f"rounds: must be 1 to 50; got {canvas.rounds}")
    if not 0 <= canvas.soft <= masks.SOFTEST:
        raise InputError(f"soft: must be 0 to {masks.SOFTEST} pixels; got {canvas.soft:g}")
    box = canvas.mask.getbbox()
    if box is not None and window(canvas.picture.size, box).side ** 2 > images.LARGEST:
        size = f"{canvas.picture.width}x{canvas.picture.height}"
        raise InputError(f"the picture is {size}, too long to be seen at once; mark a shorter part or cut the picture")
    return canvas


def _paint(pipe: Pipe, asked: Request, canvas: Canvas) -> Iterator[Progress | Image]:
    box = canvas.mask.getbbox()
    if box is None:  # nothing to do: the picture as it is
        for index in range(asked.first, asked.first + asked.n):
            yield _finished(pipe, asked, canvas, index, canvas.picture)
        return
    view = window(canvas.picture.size, box)
    hints = _hints(pipe, canvas, view)
    fade = masks.softened(canvas.mask, canvas.soft)
    for item in pipe.system.draw(asked, hints):
        if isinstance(item, Drawn):
            new = pipe.system.pictures(item.picture[None])[0]
            yield _finished(pipe, asked, canvas, item.number, _pasted(canvas.picture, new, view, fade))
        else:
            yield item


def _hints(pipe: Pipe, canvas: Canvas, view: Window) -> dict[int, Hint]:
    """What every stage is told: the window at its own side; only the first starts part-way."""
    picture, mask = _cut(canvas.picture, view), canvas.mask.crop(view.box)  # beyond the border Pillow fills with 0: known
    whole = _whole(canvas)
    hints = {}
    for stage in pipe.system.stages:
        network = stage.settings.network
        image = images.to_tensor([picture.resize((network.side, network.side), PIL.Image.Resampling.BICUBIC)])
        first = stage.number == 0
        repaint = None if whole else masks.cells(mask, network.side)
        if repaint is not None or (first and canvas.strength < 1):
            strength, rounds = (canvas.strength, _rounds(stage, canvas)) if first else (1.0, 1)
            hints[stage.number] = Hint(image, repaint, strength, rounds)
    return hints


def _whole(canvas: Canvas) -> bool:
    """Whether nothing of the picture is to be kept."""
    return canvas.mask.getextrema() == (255, 255)


def _rounds(stage: base.Stage, canvas: Canvas) -> int:
    """How often the first stage takes a step."""
    return 1 if _whole(canvas) or stage.settings.network.inpaint else canvas.rounds or ROUNDS


def _enlarged(
    pipe: Pipe, stage: base.Stage, asked: Request, low_res: torch.Tensor, canvas: Canvas
) -> Iterator[Progress | Image]:
    sampling = stage.settings.sampling
    with torch.no_grad():
        words = stage.words([asked.prompt, asked.negative])
    of = base.count_steps(stage, sampling)
    for index in range(asked.first, asked.first + asked.n):
        steps = base.run(stage, sampling, words, seed=asked.seed, indices=[index], low_res=low_res.to(stage.device))
        x = low_res
        for number, step in enumerate(base.without_grad(steps), start=1):
            yield Progress(stage.settings.name, number, of, (index,), step.x0)
            x = step.x
        yield _finished(pipe, asked, canvas, index, pipe.system.pictures(x)[0])


def _finished(pipe: Pipe, asked: Request, canvas: Canvas, index: int, picture: PIL.Image.Image) -> Image:
    return Image(picture, recorded(pipe, canvas, asked, index, picture.size))


def _pasted(old: PIL.Image.Image, new: PIL.Image.Image, view: Window, fade: PIL.Image.Image) -> PIL.Image.Image:
    """The new window laid over the old picture where the fade lets it through; 0 leaves a pixel bit for bit."""
    sized = PIL.Image.new("RGB", old.size)
    sized.paste(new.resize((view.side, view.side), PIL.Image.Resampling.LANCZOS), (view.left, view.top))
    return PIL.Image.composite(sized, old, fade)


def _cut(picture: PIL.Image.Image, view: Window) -> PIL.Image.Image:
    """The window's pixels; beyond the border the outermost ones go on."""
    columns = np.clip(np.arange(view.left, view.left + view.side), 0, picture.width - 1)
    rows = np.clip(np.arange(view.top, view.top + view.side), 0, picture.height - 1)
    return PIL.Image.fromarray(np.asarray(picture)[rows][:, columns])


class _Origin(NamedTuple):
    """An opened picture, the SHA-256 of its file (of its pixels, when it came from none), and what a recipe says of it."""

    picture: PIL.Image.Image
    parent: str
    facts: dict[str, Any]


def _opened(source: Source) -> _Origin:
    if isinstance(source, Image):
        source = source.to_bytes()
    if isinstance(source, PIL.Image.Image):
        opened, file = images.flat(source), ""
    else:
        where, data = images.read_bytes(source)
        opened, file = images.decoded(data, where), hashlib.sha256(data).hexdigest()
    pixels = masks.digest(opened.picture)
    facts = {"pixels": pixels} | ({"lost": list(opened.lost)} if opened.lost else {})
    return _Origin(opened.picture, file or pixels, facts)
