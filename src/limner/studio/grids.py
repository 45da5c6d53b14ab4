"""Two settings compared: which pictures a grid needs, and the grid as a labelled picture and as a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import PIL.Image
from PIL import ImageDraw, ImageFont

from limner import images
from limner.errors import InputError
from limner.studio.asking import Asked

NOTHING = "nothing"
AXES = {  # what a person reads -> the field of an `Asked`
    "guidance": "guidance",
    "steps": "steps",
    "seed": "seed",
    "sampler": "sampler",
    "model": "model",
    "prompt": "prompt",
    "draw away from": "negative",
}
NUMBERS = {"guidance": float, "steps": int, "seed": int}
MOST_CELLS = 64
GAP = 12  # pixels
FORMULAS = tuple("=+-@＝＋－＠\t\r\n")  # what a spreadsheet may take for the beginning of one


class Plan(NamedTuple):
    """A grid: what changes along its columns and rows, and what is asked in each cell."""

    x: str  # key of AXES, or NOTHING
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Asked, ...], ...]  # rows of columns


def plan(asked: Asked, x: str, x_text: str, y: str, y_text: str) -> Plan:
    """What a grid needs. Raises: InputError for an axis without values, one setting on both, or too many cells."""
    if x == y and x != NOTHING:
        raise InputError(f"both axes change the {x}; choose another setting for one of them")
    columns, rows = values(x, x_text), values(y, y_text)
    if len(columns) * len(rows) > MOST_CELLS:
        raise InputError(f"{len(columns)} x {len(rows)} pictures are too many; at most {MOST_CELLS} are compared at once")
    cells = tuple(tuple(_set(_set(asked, x, column), y, row) for column in columns) for row in rows)
    return Plan(x, y, tuple(labels(x, columns)), tuple(labels(y, rows)), cells)


def values(axis: str, text: str) -> list[Any]:
    """The values that a person wrote for an axis: numbers or names between commas, prompts line by line.

    Raises: InputError when there are none, or one is no number.
    """
    if axis == NOTHING:
        return [None]
    pattern = r"\n" if axis in ("prompt", "draw away from") else r"[,;\n]"
    parts = [part.strip() for part in re.split(pattern, text)]
    found = [part for part in parts if part]
    if not found:
        raise InputError(f"{axis}: no values to compare; write some, such as {_example(axis)}")
    number = NUMBERS.get(axis)
    return found if number is None else [_number(axis, part, number) for part in found]


def labels(axis: str, found: Sequence[Any]) -> list[str]:
    """What stands beside the cells of an axis."""
    if axis == NOTHING:
        return [""]
    prefix = "" if axis in ("prompt", "model", "sampler") else f"{axis} "
    return [f"{prefix}{value:g}" if isinstance(value, float) else f"{prefix}{value}" for value in found]


def sheet(columns: Sequence[str], rows: Sequence[str], pictures: Mapping[tuple[int, int], PIL.Image.Image]) -> PIL.Image.Image:
    """The grid as one picture on white, a heading over each column and beside each row.

    `pictures` are by (row, column); cells without one stay empty. Raises: InputError without any.
    """
    if not pictures:
        raise InputError("a grid needs at least one picture; none is finished")
    side = max(max(picture.size) for picture in pictures.values())
    cell = max(side, 128)
    font = ImageFont.load_default(max(13, cell // 16))
    top = _height(font) + GAP if any(columns) else 0
    left = min(cell, max(round(font.getlength(row)) for row in rows)) + GAP if any(rows) else 0
    size = (left + len(columns) * (cell + GAP) + GAP, top + len(rows) * (cell + GAP) + GAP)
    paper = PIL.Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(paper)
    for number, column in enumerate(columns):
        words = images.clipped(column, font, cell)
        pen.text((left + GAP + number * (cell + GAP) + cell / 2, GAP), words, fill="black", font=font, anchor="ma")
    for number, row in enumerate(rows):
        words = images.clipped(row, font, cell)
        pen.text((GAP, top + GAP + number * (cell + GAP) + cell / 2), words, fill="black", font=font, anchor="lm")
    for (row_, column_), picture in pictures.items():
        scale = max(1, cell // max(picture.size)) if max(picture.size) < 128 else 1
        drawn = picture.convert("RGB").resize((picture.width * scale, picture.height * scale), PIL.Image.Resampling.NEAREST)
        x = left + GAP + column_ * (cell + GAP) + (cell - drawn.width) // 2
        y = top + GAP + row_ * (cell + GAP) + (cell - drawn.height) // 2
        paper.paste(drawn, (x, y))
    return paper


def table(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV. A text that a spreadsheet would take for a formula gets a quote in front (OWASP, CSV injection)."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    for line in lines:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell for cell in line])
    return file.getvalue()


def _set(asked: Asked, axis: str, value: Any) -> Asked:
    if axis == NOTHING:
        return asked
    changed = asked._replace(**{AXES[axis]: value})
    return changed._replace(lock=True) if axis == "seed" else changed


def _number(axis: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{axis}: '{text[:40]}' is no number; write some, such as {_example(axis)}") from None


def _example(axis: str) -> str:
    examples = {"guidance": "1, 3, 5", "steps": "5, 10, 20", "seed": "0, 1, 2", "sampler": "ddim, ddpm"}
    return examples.get(axis, "a red fox and, on the next line, a blue fox" if axis == "prompt" else "one a line")


def _height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return round(font.getbbox("Ag")[3])
