"""The gallery as a page: one grid of icons a kind of prompt, one of scenes with the judge's verdict, and how to make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from limner import images
from limner.errors import LimnerError
from limner.evaluation import drawing, gallery, shapes
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.features import Pixels
from limner.evaluation.gallery import Kind, Prompts
from limner.evaluation.shapes import Judged
from limner.systems.glide import Glide

CELL = 128  # pixels of a picture in a grid
COLUMNS = 6
TITLES: dict[Kind, str] = {
    "seen": "Seen in training",
    "unseen style": "Seen things in a style never seen for them",
    "novel": "Things in a colour never seen for them",
}
FILES: dict[Kind, str] = {"seen": "gallery-seen.png", "unseen style": "gallery-unseen-style.png", "novel": "gallery-novel.png"}
SCENES_FILE = "gallery-scenes.png"


def make(
    icons: Glide,
    scenes: Glide,
    prompts: Prompts,
    folder: Path,
    *,
    notes: str = "",
    command: str = "",
    progress: Callable[[str], None] = lambda text: None,
) -> Path:
    """Draw everything and write the page with its grids; the page's path. `notes` is Markdown that goes in as it is.

    Raises: LimnerError when the disk refuses.
    """
    progress("icons")
    drawn = list(drawing.draw(icons, [prompt.text for prompt in prompts.icons], Wishes(seed=gallery.SEED, batch=8)))
    grids = {}
    for kind, file in FILES.items():
        chosen = [one for one, prompt in zip(drawn, prompts.icons, strict=True) if prompt.kind == kind]
        grids[file] = images.grid([_cell(one.picture) for one in chosen], [one.caption for one in chosen], COLUMNS)
    progress("scenes")
    judged = list(shapes.judged(scenes, shapes.captions(gallery.SCENES), Wishes(seed=gallery.SEED)))
    verdicts = [f"{one.number + 1}: {'right' if one.failure is None else 'wrong'}" for one in judged]
    grids[SCENES_FILE] = images.grid([_cell(one.picture) for one in judged], verdicts, COLUMNS)
    how = [drawing.described(system, Wishes(seed=gallery.SEED)) for system in (icons, scenes)]
    page = folder / "gallery.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, grid in grids.items():
            grid.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(folder / file, optimize=True)
        page.write_text(markdown(prompts, judged, how, notes, command), encoding="utf-8")
    except OSError as error:
        raise LimnerError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return page


def markdown(prompts: Prompts, judged: list[Judged], how: list[Drawing], notes: str, command: str) -> str:
    """The page's text."""
    lines = ["# Gallery", ""]
    lines += [f"Fixed prompts, seed {gallery.SEED}, the first picture of each, nothing picked. Made by `{command}`.", ""]
    lines += [notes.strip(), ""] if notes.strip() else []
    for kind, title in TITLES.items():
        lines += [f"## {title}", "", f"![{title}]({FILES[kind]})", ""]
    lines += [
        f'What counts as seen follows from the training data, `{prompts.data}`, by lot: see "split" in `data/emoji.py`.',
        "",
    ]
    lines += [
        "## Scenes of the shapes world",
        "",
        "Captions that training never gives in any wording, with the judge's verdict.",
    ]
    right = sum(one.failure is None for one in judged)
    lines += [f"{right} of these {len(judged)} are right.", "", f"![Scenes]({SCENES_FILE})", ""]
    lines += ["| | caption | verdict |", "|---|---|---|"]
    lines += [
        f"| {one.number + 1} | {one.caption} | {'right' if one.failure is None else f'wrong ({one.failure}): {one.reason}'} |"
        for one in judged
    ]
    lines += ["", "## How they were drawn", "", *_table(how)]
    return "\n".join(lines) + "\n"


def _table(how: list[Drawing]) -> list[str]:
    lines = ["| model | first stage | later stages | side | type | weights (sha256) |", "|---|---|---|---|---|---|"]
    for one in how:
        hashes = ", ".join(f"{stage} {digest[:12]}" for stage, digest in one.hashes.items())
        first = f"{one.sampler} {one.steps}, guidance {one.guidance:g}"
        lines.append(f"| {one.model} | {first} | {'; '.join(one.later) or '-'} | {one.side} | {one.dtype} | {hashes} |")
    return lines


def _cell(picture: Pixels) -> Image.Image:
    """A picture at the grid's size: small ones enlarged pixel by pixel, large ones averaged."""
    shown = Image.fromarray(picture)
    rule = Image.Resampling.NEAREST if shown.width <= CELL else Image.Resampling.BOX
    return shown.resize((CELL, CELL), rule)
