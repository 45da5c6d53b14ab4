"""Draw the sheets of docs/editing.md anew: `python benchmarks/editing.py`. Fixed inputs, seed 0, nothing picked.

Twelve mask edits, three scenes, six sketches, three outpaints, and what strength does; the figures go into a JSON file beside
this one. The largest difference outside the masks is computed from the pictures; it must be 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from limner import catalog, images
from limner.config import parse
from limner.data import shapes_edits
from limner.data.shapes import illustrate
from limner.errors import LimnerError
from limner.evaluation import bench_report, machine, strength
from limner.evaluation import edits as judge
from limner.evaluation.drawing import Wishes
from limner.evaluation.share import Share
from limner.recipe import Image
from limner.systems import choosing, edits, masks, scenes
from limner.systems.base import Progress
from limner.systems.drawing import Pipe, load_pipe

HERE = Path(__file__).parent
INPUTS = HERE / "editing_inputs"
SEED = 0
CELL = 128  # pixels of a picture on a sheet
PARTS = ["masks", "scenes", "sketches", "outpaints", "strength", "judge"]
BEGIN, END = "<!-- figures: written by benchmarks/editing.py -->", "<!-- end of figures -->"
STRENGTHS = tuple(round(0.1 * k, 1) for k in range(1, 11))
MASK_EDITS = (  # input, boxes, prompt; the shapes' come from the fixed list of `shapes_edits`, two a verb
    ("apple", "128,0,128,256", "a red apple"),
    ("banana", "0,128,256,128", "a banana"),
    ("fox", "0,0,256,40;0,216,256,40;0,40,30,176;226,40,30,176", "a fox against a blue background"),
    ("mushroom", "0,0,256,120", "a mushroom"),
    ("penguin", "70,20,116,110", "a penguin"),
    ("pizza", "88,88,80,80", "a pizza"),
)
OUTPAINTS = (  # input, margins (left, top, right, bottom), prompt
    ("fox", (0, 0, 128, 0), "a fox and a banana"),
    ("apple", (64, 64, 64, 64), "a small red apple"),
)
SHAPES_OUTPAINT = ("a large blue square", (0, 16, 0, 0), "a small red circle above a large blue square")
SKETCHES = (  # what is scribbled, prompt
    ("apple", "a red apple"),
    ("banana", "a banana"),
    ("tree", "a deciduous tree"),
)
SHAPES_SKETCHES = (  # sketched as, prompt
    ("a large blue square", "a large blue circle"),
    ("a small red circle above a large green square", "a small red triangle above a large green square"),
    ("a large yellow circle", "a large orange square"),
)
SCENES: dict[str, list[dict[str, object]]] = {
    "shapes 1": [
        {"prompt": "a large blue square"},
        {"prompt": "a small red circle above a large blue square", "mask": "2,0,28,11"},
        {"prompt": "a small yellow triangle above a large blue square", "mask": "2,0,28,11"},
        {"prompt": "a small yellow triangle above a large green square", "mask": "0,11,32,21"},
    ],
    "shapes 2": [
        {"prompt": "a large purple circle"},
        {"prompt": "a large orange circle", "mask": "all", "strength": 0.7},
        {"prompt": "a large orange circle and a small black square", "mask": "0,0,10,32"},
        {"prompt": "a large orange circle", "mask": "0,0,10,32"},
    ],
    "icons": [
        {"picture": str(INPUTS / "fox.png")},
        {"prompt": "a fox against a blue background", "mask": MASK_EDITS[2][1]},
        {"prompt": "a green fox", "mask": "all", "strength": 0.6},
        {"prompt": "a green fox", "mask": "64,64,128,128"},
    ],
}


class Pipes(NamedTuple):
    """A generator and what repaints for it."""

    draws: Pipe
    paints: Pipe
    draws_from: str  # name or folder
    paints_from: str


class Row(NamedTuple):
    """Pictures that belong together, each with its words."""

    pictures: list[Pillow.Image]
    words: list[str]


def main() -> int:
    """Parse the command line, draw, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="glide-emoji", help="generator of icons: a name or a folder")
    options.add_argument("--inpaint-model", help="what repaints icons; default: the generator's sibling, or itself")
    options.add_argument("--shapes-model", default="glide-shapes", help="generator of scenes of shapes")
    options.add_argument("--shapes-inpaint-model", help="what repaints shapes; default: as for icons")
    options.add_argument("--out", type=Path, default=HERE.parent / "docs", help="folder of the sheets")
    options.add_argument("--figures", type=Path, help="JSON of the figures; default: beside this file, named for the machine")
    options.add_argument("--pairs", type=int, default=128, help="sketches a strength is averaged over")
    options.add_argument("-n", type=int, default=300, help="edits that are judged")
    options.add_argument("--only", choices=PARTS, action="append", help="these parts alone; repeatable")
    asked = options.parse_args()
    try:
        icons, shapes = _pipes(asked.model, asked.inpaint_model), _pipes(asked.shapes_model, asked.shapes_inpaint_model)
        hardware = bench_report.hardware(machine.here(icons.draws.system.device))
        place = asked.figures or HERE / f"editing_{hardware}_{time.strftime('%Y-%m')}.json"
        before = json.loads(place.read_text(encoding="utf-8")) if asked.only and place.exists() else {}
        figures = _all(icons, shapes, asked, before)
        place.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        page = asked.out / "editing.md"
        if page.exists():
            page.write_text(_with_figures(page.read_text(encoding="utf-8"), figures), encoding="utf-8")
    except LimnerError as error:
        print(f"editing: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(figures, indent=2))
    return 0


def _all(icons: Pipes, shapes: Pipes, asked: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Draw and measure what was asked for; the figures, over those of an earlier run for what was not."""
    wanted = asked.only or PARTS
    figures = {**before, "seed": SEED, "date": time.strftime("%Y-%m-%d"), "command": "python benchmarks/editing.py"}
    figures["models"] = {p.name: p.system.hashes for pair in (icons, shapes) for p in pair[:2]}
    figures["machine"] = machine.here(icons.draws.system.device).model_dump()
    outside: dict[str, int] = dict(before.get("differences", {}))
    for name, make, columns in (
        ("masks", _mask_edits, 8),
        ("scenes", _scenes, 4),
        ("sketches", _sketches, 6),
        ("outpaints", _outpaints, 6),
    ):
        if name in wanted:
            print(f"drawing {name}", file=sys.stderr)
            rows = list(make(icons, shapes, outside))
            _sheet(rows, columns, asked.out / f"editing-{name}.png")
    if outside:
        figures["largest difference outside the masks"] = max(outside.values())
        figures["differences"] = outside
    if "strength" in wanted:
        print("drawing strengths", file=sys.stderr)
        found = strength.sweep(shapes.draws, STRENGTHS, pairs=asked.pairs, seed=SEED)
        _plot(found).save(asked.out / "editing-strength.png", optimize=True)
        turns = {"leaves the sketch": found.leaves_the_sketch, "nears the caption": found.nears_the_caption}
        figures["strength"] = found.model_dump(mode="json") | turns
    if "judge" in wanted:
        print("judging edits", file=sys.stderr)
        trained = {} if shapes.paints is shapes.draws else {"trained": shapes.paints}
        painters = {**trained, "replacement": shapes.draws}
        figures["judge"] = judge.evaluate(painters, Wishes(seed=SEED), n=asked.n).model_dump(mode="json")
    return figures


def _with_figures(page: str, figures: dict[str, Any]) -> str:
    """The page with its block of figures written anew; the rest is for people to write."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    here, models = figures["machine"], ", ".join(figures["models"])
    lines = [f"{figures['date']}, {here['processor']}, {here['cores']} cores, float32, seed {figures['seed']}, with {models}."]
    if "differences" in figures:
        most = figures["largest difference outside the masks"]
        lines += [
            "",
            f"Largest difference outside the masks of the {len(figures['differences'])} pictures below: **{most}** of 255.",
        ]
    if "judge" in figures:
        lines += ["", f"Edits judged: {figures['judge']['asked']} unseen ones, with 95 % intervals.", ""]
        lines += ["| | " + " | ".join(one["method"] for one in figures["judge"]["methods"]) + " |"]
        lines += ["|---" * (1 + len(figures["judge"]["methods"])) + "|"]
        lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in _rows(figures["judge"]["methods"])]
    if "strength" in figures:
        found = figures["strength"]
        lines += [
            "",
            f"Strength, mean of {found['pairs']} pairs:",
            "",
            "| strength | to the sketch | to the caption |",
            "|---|---|---|",
        ]
        lines += [f"| {p['strength']:g} | {p['to_sketch']:.1f} | {p['to_caption']:.3f} |" for p in found["points"]]
        said = [
            ("rises", "turns back")[not found["leaves the sketch"]],
            ("falls", "turns back")[not found["nears the caption"]],
        ]
        lines += ["", f"From each strength to the next the distance to the sketch {said[0]}, that to the caption {said[1]}."]
    return f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}"


def _rows(methods: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The lines of the table of both methods."""

    def said(share: dict[str, Any]) -> str:
        return str(Share.model_validate(share))

    yield "model", [one["drawing"]["model"] for one in methods]
    yield "**right**", [said(one["right"]) for one in methods]
    for verb in judge.ASKED:
        yield verb, [said(one["by_verb"][verb]) for one in methods]
    yield "seam error on plain ground, of 255", [f"{one['seam']['error']:.2f}" for one in methods]
    yield "seam error through shapes, of 255", [f"{one['cut_seam']['error']:.2f}" for one in methods]
    yield "halves of shapes restored", [said(one["restored"]) for one in methods]
    yield "largest difference outside", [str(one["outside"]) for one in methods]


def _pipes(model: str, painter: str | None) -> Pipes:
    draws = load_pipe(model, dtype="float32")
    place = painter or str(choosing.painter(model))
    own = catalog.find(place) == catalog.find(model)
    return Pipes(draws, draws if own else load_pipe(place, dtype="float32"), model, model if own else place)


def _mask_edits(icons: Pipes, shapes: Pipes, outside: dict[str, int]) -> Iterator[Row]:
    for verb in ("add", "recolour", "remove"):
        for k, one in enumerate(shapes_edits.edits(verb, 2)):
            old = Pillow.fromarray(one.picture(shapes.paints.side))
            mask = one.mask(shapes.paints.side)
            new = _one(edits.edit(shapes.paints, old, one.caption, mask, seed=SEED))
            outside[f"{verb} {k + 1}"] = _outside(old, new, mask)
            yield Row([_outlined(old, mask), _cell(new)], [one.sentence, one.caption])
    for name, mask, prompt in MASK_EDITS:
        old = images.open_picture(INPUTS / f"{name}.png")
        new = _one(edits.edit(icons.paints, old, prompt, mask, seed=SEED))
        outside[name] = _outside(old, new, mask)
        yield Row([_outlined(old, mask), _cell(new)], [name, prompt])


def _scenes(icons: Pipes, shapes: Pipes, outside: dict[str, int]) -> Iterator[Row]:
    for name, steps in SCENES.items():
        pair = icons if name == "icons" else shapes
        placed = [{"model": pair.draws_from if _by_generator(step) else pair.paints_from, **step} for step in steps]
        script = parse(scenes.Script, {"steps": placed, "defaults": {"seed": SEED}}, where=name)
        loaded = {catalog.find(pair.paints_from): pair.paints, catalog.find(pair.draws_from): pair.draws}
        with tempfile.TemporaryDirectory() as folder:
            play = scenes.play(scenes.Scene(script, name, HERE), folder, loaded.__getitem__)
            pictures = [images.open_picture(item.path) for item in play if isinstance(item, scenes.Shot)]
        for number, (before, after) in enumerate(pairwise(pictures), start=2):
            if not _by_generator(steps[number - 1]):
                outside[f"{name}, step {number}"] = _outside(before, after, str(steps[number - 1]["mask"]))
        yield Row([_cell(picture) for picture in pictures], [step.prompt or "(given)" for step in script.steps])


def _by_generator(step: dict[str, object]) -> bool:
    """Whether a step is drawn as a whole."""
    return step.get("mask") in (None, scenes.EVERYTHING)


def _sketches(icons: Pipes, shapes: Pipes, outside: dict[str, int]) -> Iterator[Row]:
    for scribble, prompt in SKETCHES:
        old = _scribbled(scribble)
        yield Row([_cell(old), _cell(_one(edits.sketch(icons.draws, old, prompt, seed=SEED)))], ["sketch", prompt])
    for shown, prompt in SHAPES_SKETCHES:
        old = Pillow.fromarray(illustrate(shown, shapes.draws.side, seed=SEED))
        yield Row([_cell(old), _cell(_one(edits.sketch(shapes.draws, old, prompt, seed=SEED)))], [shown, prompt])


def _outpaints(icons: Pipes, shapes: Pipes, outside: dict[str, int]) -> Iterator[Row]:
    shown, margins, prompt = SHAPES_OUTPAINT
    given: list[tuple[str, Pillow.Image, tuple[int, int, int, int], str, Pipe]]
    given = [(shown, Pillow.fromarray(illustrate(shown, shapes.paints.side, seed=SEED)), margins, prompt, shapes.paints)]
    for name, edges, words in OUTPAINTS:
        given.append((name, images.open_picture(INPUTS / f"{name}.png"), edges, words, icons.paints))
    for name, old, (left, top, right, bottom), words, pipe in given:
        new = _one(edits.outpaint(pipe, old, words, (left, top, right, bottom), seed=SEED))
        kept = new.crop((left, top, left + old.width, top + old.height))
        outside[f"outpaint {name}"] = int(np.abs(np.asarray(kept, int) - np.asarray(old, int)).max())
        yield Row([_cell(old), _cell(new)], [name, words])


def _one(stream: Iterator[Progress | Image]) -> Pillow.Image:
    return next(item.picture for item in stream if isinstance(item, Image))


def _outside(old: Pillow.Image, new: Pillow.Image, boxes: str | None) -> int:
    """The largest difference of a channel outside the mask."""
    kept = np.asarray(masks.boxes(boxes or "", old.size)) == 0
    return int(np.abs(np.asarray(old, int) - np.asarray(new, int))[kept].max(initial=0))


def _cell(picture: Pillow.Image) -> Pillow.Image:
    scale = CELL / max(picture.size)
    rule = Pillow.Resampling.NEAREST if scale >= 1 else Pillow.Resampling.BOX
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), rule)


def _outlined(picture: Pillow.Image, boxes: str) -> Pillow.Image:
    """The picture with its boxes drawn around in magenta."""
    cell = _cell(picture)
    scale, draw = cell.width / picture.width, ImageDraw.Draw(cell)
    for box in boxes.split(";"):
        x, y, w, h = (float(number) * scale for number in box.split(","))
        draw.rectangle((x, y, x + w - 1, y + h - 1), outline=(255, 0, 255), width=2)
    return cell


def _scribbled(what: str) -> Pillow.Image:
    """A rough drawing in two or three flat colours: 256 x 256 pixels."""
    picture = Pillow.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(picture)
    match what:
        case "apple":
            draw.ellipse((50, 70, 206, 226), fill=(210, 40, 40))
            draw.line((128, 80, 140, 36), fill=(110, 70, 30), width=12)
        case "banana":
            draw.pieslice((30, 20, 226, 226), 20, 160, fill=(250, 210, 60))
            draw.ellipse((56, 0, 200, 150), fill="white")
        case "tree":
            draw.rectangle((112, 150, 144, 240), fill=(130, 80, 40))
            draw.ellipse((44, 20, 212, 176), fill=(60, 160, 60))
    return picture


def _sheet(rows: list[Row], columns: int, path: Path) -> None:
    """All rows on one sheet, written with 256 colours."""
    pictures, words = [p for row in rows for p in row.pictures], [w for row in rows for w in row.words]
    grid = images.grid(pictures, words, columns)
    grid.quantize(256, Pillow.Quantize.MEDIANCUT, dither=Pillow.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB", file=sys.stderr)


def _plot(found: strength.Sweep) -> Pillow.Image:
    """Both distances over strength, each from 0 to its largest."""
    width, height, left, right, top, bottom = 640, 320, 56, 56, 34, 44
    picture = Pillow.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    span, rise = width - left - right, height - top - bottom
    for k in range(6):
        x, y = left + span * k / 5, top + rise * k / 5
        draw.line((left, y, width - right, y), fill=(228, 228, 228))
        draw.text((x, height - bottom + 6), f"{k / 5:.1f}", fill="black", font=font, anchor="ma")
    curves = (
        ("to the sketch (steps of 255)", [p.to_sketch for p in found.points], (200, 60, 30), left - 6, "rm", left, "la"),
        ("to the caption (share of false facts)", [p.to_caption for p in found.points], (30, 80, 200), width - right + 6, "lm",
         width - right, "ra"),
    )  # fmt: skip
    for name, values, colour, at, side, title_at, title_side in curves:
        most = max(values) or 1.0
        points = [(left + span * p.strength, top + rise * (1 - v / most)) for p, v in zip(found.points, values, strict=True)]
        draw.line(points, fill=colour, width=3)
        for x, y in points:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        for k in range(6):
            draw.text((at, top + rise * k / 5), f"{most * (1 - k / 5):.2g}", fill=colour, font=font, anchor=side)
        draw.text((title_at, 8), name, fill=colour, font=font, anchor=title_side)
    draw.text((left + span / 2, height - 18), f"strength; mean of {found.pairs} pairs", fill="black", font=font, anchor="ma")
    return picture.quantize(64)


if __name__ == "__main__":
    sys.exit(main())
