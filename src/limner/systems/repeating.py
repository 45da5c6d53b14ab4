"""Draw a picture again from the recipe inside it, and say whether it is the same; an edited one from its parent's file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from limner import images, recipe
from limner.config import Frozen, SamplingSettings, parse
from limner.errors import CheckpointError, ConfigError, InputError, UnsupportedError
from limner.recipe import Image, Recipe
from limner.systems import ancestry, base, edits, masks
from limner.systems.base import Dtype, Request
from limner.systems.drawing import Pipe, load_pipe

VERBS = ("draw", "edit", "sketch", "outpaint", "upscale")


class Reproduction(NamedTuple):
    """A picture beside the one drawn again from its recipe."""

    recipe: Recipe
    image: Image  # as drawn now
    largest: int  # difference of one channel of one pixel, 0..255
    share: float  # of the pixels that differ at all
    changed: tuple[str, ...]  # what is not as it was: weights, versions, device; in words

    @property
    def identical(self) -> bool:
        """Whether every pixel is the same."""
        return self.largest == 0


def reproduce(
    source: str | Path | bytes | Image,
    *,
    parents: Sequence[str | Path] = (),
    mask: str | Path | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    dtype: Dtype | None = None,
) -> Reproduction:
    """Draw a picture again and compare: the same weights, words, noise and batch give the same pixels.

    What an edited picture was made from is looked for among `parents` (files or folders) and beside the picture, by its hash.
    `mask` is its mask's file, where that was too large for the recipe. `model` says where the model lies when the recipe's
    name does not; device and type are the recipe's unless given, and a device that is not here is replaced, which `changed`
    then says.

    Raises: InputError for a picture without a recipe, or whose parent is not at hand; CheckpointError for a model that is not
        here or has other stages; UnsupportedError for a picture that was only put together, such as a sheet.
    """
    was = source.recipe if isinstance(source, Image) else recipe.read(source)
    if was.verb not in VERBS:
        which = source if isinstance(source, (str, Path)) else "this picture"
        raise UnsupportedError(f"{which}: was made by '{was.verb:.20}'; can be drawn again: {', '.join(VERBS)}")
    origin = None if was.verb == "draw" else ancestry.parent(was, ancestry.near(source, parents))
    place, moved = _place(was, device)
    kind = dtype or _dtype(was)
    pipe = _as_it_was(_led(load_pipe(model or was.model, device=place, dtype=kind), was), was)
    drawn = _drawn(pipe, was, origin, mask)
    before = source.picture if isinstance(source, Image) else images.open_picture(source)
    largest, share = difference(before, drawn)
    return Reproduction(was, drawn, largest, share, (*moved, *changes(was, drawn.recipe)))


def changes(was: Recipe, now: Recipe) -> tuple[str, ...]:
    """What two recipes do not share of all that pixels depend on beside the request, in words."""
    found = [
        f"weights of stage {a.name}: {a.weights[:12]} then, {b.weights[:12]} now"
        for a, b in zip(was.stages, now.stages, strict=True)
        if a.weights != b.weights
    ]
    before, after = _parts(was), _parts(now)
    found += [
        f"weights of {name}: {before.get(name, '')[:12] or 'none'} then, {after.get(name, '')[:12] or 'none'} now"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if was.config_hash != now.config_hash:
        found.append(f"settings of {now.model}: {was.config_hash[:12]} then, {now.config_hash[:12]} now")
    for name in ("limner", "torch", "device", "dtype"):
        then, today = getattr(was, name), getattr(now, name)
        if then != today:
            found.append(f"{name}: {then or 'unknown'} then, {today} now")
    return tuple(found)


def difference(before: PIL.Image.Image, after: Image) -> tuple[int, float]:
    """The largest difference of a channel, and the share of pixels that differ.

    Raises: InputError when the sizes differ, so that the file was changed after it was drawn.
    """
    if before.size != after.picture.size:
        found, fits = (f"{size[0]}x{size[1]}" for size in (before.size, after.picture.size))
        raise InputError(f"the picture is {found}, its recipe draws {fits}; it was resized after it was drawn")
    apart = np.abs(np.asarray(before.convert("RGB"), np.int16) - np.asarray(after.picture, np.int16))
    return int(apart.max()), float((apart.max(axis=-1) > 0).mean())


def _led(pipe: Pipe, was: Recipe) -> Pipe:
    """The pipe, guided by the noised CLIP of another model where the picture was."""
    clip = was.extra.get("clip")
    return pipe.guided(clip) if isinstance(clip, str) and clip != was.model else pipe


def _as_it_was(pipe: Pipe, was: Recipe) -> Pipe:
    """The pipe with the recipe's stages, sampled as it says."""
    have = [stage.name for stage in pipe.settings.stages]
    want = [stage.name for stage in was.stages]
    if have[: len(want)] != want or not want:
        raise CheckpointError(
            f"the picture was drawn by stages {', '.join(want) or 'none'}; model {pipe.name} has {', '.join(have)}"
        )
    samplings = {
        stage.name: parse(SamplingSettings, stage.model_dump(exclude={"name", "weights"}), where="recipe")
        for stage in was.stages
    }
    return pipe.kept(len(want)).resampled(samplings)


def _drawn(pipe: Pipe, was: Recipe, origin: bytes | None, mask: str | Path | None) -> Image:
    """The picture of the recipe, drawn in the company in which it was drawn."""
    first, together = _batch(was)
    words = {"prompt": was.prompt, "negative": was.negative}
    place = {"seed": was.seed, "first": first, "n": together, "batch": together}
    rest = {name: was.extra.get(name) for name in ("label", "clip_scale")}
    asked = parse(Request, {**words, **place, **rest}, where="recipe")
    stream = pipe.draw(asked) if origin is None else _edited(pipe, was, origin, mask, asked)
    return next(item for item in stream if isinstance(item, Image) and item.recipe.index == was.index)


def _edited(pipe: Pipe, was: Recipe, origin: bytes, mask: str | Path | None, asked: Request) -> Iterator[base.Progress | Image]:
    """The same verb on the same parent."""
    how = parse(_How, {name: was.extra[name] for name in _How.model_fields if name in was.extra}, where="recipe")
    match was.verb:
        case "edit":
            size = images.open_picture(origin).size
            area = masks.restored(was.extra, size, mask)
            return edits.paint(pipe, edits.marked(origin, area, **how.model_dump(exclude={"margins"})), asked)
        case "sketch":
            return edits.paint(pipe, edits.rough(origin, strength=how.strength), asked)
        case "outpaint":
            return edits.paint(pipe, edits.widened(origin, how.margins, soft=how.soft, rounds=how.rounds), asked)
    return edits.enlarge(pipe, origin, asked)


class _How(Frozen):
    """What an edit's recipe says beside the mask."""

    soft: float = 0
    strength: float = 1.0
    rounds: int | None = None
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)


def _parts(made: Recipe) -> dict[str, str]:
    """The networks beside the stages and the sha256 of their weights."""
    parts = made.extra.get("parts")
    return {str(name): str(value) for name, value in parts.items()} if isinstance(parts, dict) else {}


def _batch(was: Recipe) -> tuple[int, int]:
    """First number and size of the batch; the picture alone when the recipe does not say."""
    match was.extra.get("batch"):
        case [int(first), int(together)] if 0 <= first <= was.index < first + together <= first + 10_000:
            return first, together
    return was.index, 1


def _place(was: Recipe, wished: str | None) -> tuple[str, tuple[str, ...]]:
    """A device for the repetition, and what to say of it."""
    if wished is not None:
        return wished, ()
    try:
        base.pick_device(was.device)
    except ConfigError:
        return "auto", (f"device {was.device} is not here",)
    return was.device, ()


def _dtype(was: Recipe) -> Dtype:
    match was.dtype:
        case "float32" | "bfloat16" | "float16":
            return was.dtype
    raise InputError(f"recipe: dtype '{was.dtype[:20]}' is unknown; have: float32, bfloat16, float16")
