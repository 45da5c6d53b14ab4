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
from limner.recipe import Image
from limner.systems import base, drawing, masks
from limner.systems.base import Drawn, Hint, Progress, Request
from limner.systems.drawing import Pipe, Wishes

Source: TypeAlias = str | Path | bytes | PIL.Image.Image | Image
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
    """A picture to be painted on: what is there, where paint may go, and what the result records."""

    verb: str
    picture: PIL.Image.Image  # RGB
    mask: PIL.Image.Image  # L, 255 = repaint; all 255 for a sketch
    parent: str  # sha256 of the file the picture came from
    extra: dict[str, Any]


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
    opened, parent = _opened(picture)
    marked = masks.read(mask, opened.size)
    facts = {"mask": masks.digest(marked), "soft": soft, "strength": strength}
    return _painted(pipe, Canvas("edit", opened, marked, parent, facts), prompt, soft, strength, rounds, wishes)


def sketch(
    pipe: Pipe, picture: Source, prompt: str, *, strength: float = 0.6, **wishes: Unpack[Wishes]
) -> Iterator[Progress | Image]:
    """Turn a rough picture into what the words say, keeping its layout (SDEdit section 3).

    `strength` is how much of the noise is put on first: near 0 the sketch comes back, 1 forgets it.

    Raises: as `edit`.
    """
    opened, parent = _opened(picture)
    all_of_it = PIL.Image.new("L", opened.size, 255)
    return _painted(pipe, Canvas("sketch", opened, all_of_it, parent, {"strength": strength}), prompt, 0, strength, 1, wishes)


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
    opened, parent = _opened(picture)
    left, top, right, bottom = margins
    if min(margins) < 0 or not any(margins):
        raise InputError(f"outpaint: margins must be 0 or more and one above 0; got {margins}")
    if (opened.width + left + right) * (opened.height + top + bottom) > images.LARGEST:
        raise InputError(f"outpaint: the picture would have more than {images.LARGEST // 2**20} Mpixel; ask for less")
    wide = ImageOps.expand(opened, (left, top, right, bottom), fill=(255, 255, 255))
    mask = PIL.Image.new("L", wide.size, 255)
    mask.paste(0, (left, top, left + opened.width, top + opened.height))
    canvas = Canvas("outpaint", wide, mask, parent, {"margins": list(margins), "soft": soft})
    return _painted(pipe, canvas, prompt, soft, 1.0, rounds, wishes)


def upscale(pipe: Pipe, picture: Source, prompt: str = "", **wishes: Unpack[Wishes]) -> Iterator[Progress | Image]:
    """Enlarge a picture by the model's last stage alone.

    Raises: as `edit`; UnsupportedError for a model of one stage.
    """
    stage = pipe.system.stages[-1]
    low_side = stage.settings.low_side
    if low_side is None:
        raise UnsupportedError(f"{pipe.name}: has no stage that enlarges; take a model with an upsampler, such as glide-emoji")
    opened, parent = _opened(picture)
    asked = drawing.request(prompt, **wishes)
    low_res = images.to_tensor([images.square(opened, low_side)])
    return _enlarged(pipe, stage, asked, low_res, Canvas("upscale", opened, opened.convert("L"), parent, {}))


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


def _painted(
    pipe: Pipe, canvas: Canvas, prompt: str, soft: float, strength: float, rounds: int | None, wishes: Wishes
) -> Iterator[Progress | Image]:
    """Check a request at once, then paint it."""
    if not 0 < strength <= 1:
        raise InputError(f"strength: must be above 0 and at most 1; got {strength:g}")
    if rounds is not None and not 1 <= rounds <= 50:
        raise InputError(f"rounds: must be 1 to 50; got {rounds}")
    if soft < 0:
        raise InputError(f"soft: must be 0 pixels or more; got {soft:g}")
    asked = drawing.request(prompt, **wishes)
    pipe.check(asked)
    return _paint(pipe, asked, canvas, soft, strength, rounds)


def _paint(
    pipe: Pipe, asked: Request, canvas: Canvas, soft: float, strength: float, rounds: int | None
) -> Iterator[Progress | Image]:
    marked = canvas.mask.getbbox()
    if marked is None:  # nothing to do: the picture as it is
        for index in range(asked.first, asked.first + asked.n):
            yield _finished(pipe, asked, canvas, index, canvas.picture)
        return
    view = window(canvas.picture.size, marked)
    hints = _hints(pipe, canvas, view, strength, rounds)
    fade = masks.softened(canvas.mask, soft)
    for item in pipe.system.draw(asked, hints):
        if isinstance(item, Drawn):
            new = pipe.system.pictures(item.picture[None])[0]
            yield _finished(pipe, asked, canvas, item.number, _pasted(canvas.picture, new, view, fade))
        else:
            yield item


def _hints(pipe: Pipe, canvas: Canvas, view: Window, strength: float, rounds: int | None) -> dict[int, Hint]:
    """What every stage is told: the window at its own side; only the first starts part-way."""
    picture, mask = _cut(canvas.picture, view), canvas.mask.crop(view.box)  # beyond the border Pillow fills with 0: known
    whole = canvas.mask.getextrema() == (255, 255)
    hints = {}
    for stage in pipe.system.stages:
        network = stage.settings.network
        image = images.to_tensor([picture.resize((network.side, network.side), PIL.Image.Resampling.BICUBIC)])
        first = stage.number == 0
        repaint = None if whole else masks.cells(mask, network.side)
        again = 1 if whole or network.inpaint or not first else rounds or ROUNDS
        if repaint is not None or (first and strength < 1):
            hints[stage.number] = Hint(image, repaint, strength if first else 1.0, again)
    return hints


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
    made = pipe.recipe(asked, index, picture.size)
    extra = {**made.extra, **canvas.extra}
    return Image(picture, made.model_copy(update={"verb": canvas.verb, "parents": (canvas.parent,), "extra": extra}))


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


def _opened(source: Source) -> tuple[PIL.Image.Image, str]:
    """A picture as RGB with the SHA-256 of the file it came from (of its PNG, when it came from none)."""
    if isinstance(source, Image):
        source = source.to_bytes()
    if isinstance(source, PIL.Image.Image):
        return source.convert("RGB"), hashlib.sha256(source.convert("RGB").tobytes()).hexdigest()
    _, data = images.read_bytes(source)
    return images.open_picture(source), hashlib.sha256(data).hexdigest()
