"""From tasks to pictures: one batch drawn with a model, told step by step. Knows nothing of queues or tables."""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from limner.serving.line import Task
from limner.serving.orders import Order

if TYPE_CHECKING:
    from torch import Tensor

    from limner.recipe import Image
    from limner.systems.base import Progress
    from limner.systems.drawing import Pipe


class Uploads(NamedTuple):
    """The pictures a job came with, as files."""

    picture: bytes = b""
    mask: bytes = b""


class Stepped(NamedTuple):
    """A step of a batch is done."""

    stage: str
    step: int  # of the stage, from 1
    of: int
    share: float  # of the whole batch, 0 to 1
    preview: Tensor  # [B 3 H W] in [-1, 1], one for each task


class Made(NamedTuple):
    """A picture is finished."""

    task: Task
    image: Image


def make(pipe: Pipe, tasks: Sequence[Task], uploads: Uploads) -> Generator[Stepped | Made]:
    """Draw the pictures of some tasks, which must be company (`Waiting.company`). Whoever stops asking has cancelled.

    Raises: LimnerError for what cannot be drawn.
    """
    from limner.recipe import Image

    before = _before(pipe, tasks[0].job.order)
    made = 0
    for item in _painted(pipe, tasks, uploads):
        if isinstance(item, Image):
            yield Made(tasks[made], sized(item, tasks[made].job.order))
            made += 1
        else:
            start, end = before[item.stage]
            yield Stepped(item.stage, item.step, item.of, start + (end - start) * item.step / item.of, item.preview)


def sized(image: Image, order: Order) -> Image:
    """A picture in the size that was ordered: cut to its shape around the centre, then resampled (Lanczos), and said so."""
    import PIL.Image
    from PIL import ImageOps

    width, height = image.picture.size
    size = order.width or width, order.height or height
    if size == (width, height):
        return image
    fitted = ImageOps.fit(image.picture, size, PIL.Image.Resampling.LANCZOS)
    extra = {**image.recipe.extra, "resampled": {"from": [width, height], "filter": "lanczos"}}
    recipe = image.recipe.model_copy(update={"width": size[0], "height": size[1], "extra": extra})
    return type(image)(fitted, recipe)


def preview(picture: Tensor) -> str:
    """A clean picture the network sees on the way as the base64 of a PNG. Shapes: [3 H W]. Units: [-1, 1]."""
    from limner import images

    file = io.BytesIO()
    images.rounded(picture[None].nan_to_num())[0].save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def due(before: float, now: float, wanted: int) -> int | None:
    """The number of the preview that is due after a step, if one is: they lie evenly on the way. Units: shares, 0 to 1."""
    passed = [number for number in range(wanted) if before < (number + 1) / (wanted + 1) <= now]
    return passed[-1] if passed else None


def _painted(pipe: Pipe, tasks: Sequence[Task], uploads: Uploads) -> Iterator[Progress | Image]:
    from limner.systems import drawing, edits

    order = tasks[0].job.order
    match order.verb:
        case "draw":
            yield from pipe.draw_together([drawing.request(task.job.order.prompt, **_wishes(task)) for task in tasks])
        case "edit":
            for task in tasks:
                strength = 1.0 if order.strength is None else order.strength
                yield from edits.edit(
                    pipe, uploads.picture, order.prompt, uploads.mask, soft=order.soft, strength=strength, **_wishes(task)
                )
        case "sketch":
            for task in tasks:
                strength = 0.6 if order.strength is None else order.strength
                yield from edits.sketch(pipe, uploads.picture, order.prompt, strength=strength, **_wishes(task))
        case "outpaint":
            margins = order.margins or (0, 0, 0, 0)
            for task in tasks:
                yield from edits.outpaint(pipe, uploads.picture, order.prompt, margins, soft=order.soft, **_wishes(task))
        case "upscale":
            for task in tasks:
                yield from edits.upscale(pipe, uploads.picture, order.prompt, **_wishes(task))


def _wishes(task: Task) -> Any:
    order = task.job.order
    return {
        "negative": order.negative,
        "seed": order.seed,
        "steps": order.steps,
        "guidance": order.guidance,
        "sampler": order.sampler,
        "first": task.number,
        "n": 1,
    }


def _before(pipe: Pipe, order: Order) -> dict[str, tuple[float, float]]:
    """For each stage the shares of the work that are done before and after it; a step's work goes with its pixels."""
    from limner.systems import base, drawing

    asked = drawing.request(order.prompt, steps=order.steps, guidance=order.guidance, sampler=order.sampler)
    stages = pipe.system.stages[-1:] if order.verb == "upscale" else pipe.system.stages
    work = [base.count_steps(stage, stage.sampling(asked)) * stage.settings.network.side**2 for stage in stages]
    ends = [sum(work[: k + 1]) / sum(work) for k in range(len(work))]
    return {stage.settings.name: (start, end) for stage, start, end in zip(stages, [0.0, *ends], ends, strict=False)}
