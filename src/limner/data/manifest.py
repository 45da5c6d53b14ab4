"""Tables that name pictures and their captions: CSV, TSV, JSONL, Parquet, and the COCO captions JSON.

Columns: image, path, file_name or file; and caption, captions or text (a list gives several captions to one picture).
Paths are relative to the table's folder, or to the one given as `images`; a Parquet column may hold the pictures.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from limner.data import parquet
from limner.data.listing import ADDRESS, BAD_LINE, NO_CAPTION, NO_PICTURE, Listing, Place, Record, Skipped, read_captions
from limner.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".json")
PATH_COLUMNS = ("image", "path", "file_name", "file")
CAPTION_COLUMNS = ("caption", "captions", "text")

Row = Mapping[str, Any] | None  # None = a line that is none


def list_manifest(path: Path, images: Path | None = None) -> Listing:
    """Every picture a table names, in its order.

    Raises: DataError when the table cannot be read or lacks the columns.
    """
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                return _listed(_csv_rows(path), path, images or path.parent)
            case ".jsonl":
                return _listed(_jsonl_rows(path), path, images or path.parent)
            case ".parquet":
                return _listed(parquet.rows(path, (*PATH_COLUMNS, *CAPTION_COLUMNS)), path, images or path.parent)
            case _:
                return _coco(path, images)
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _listed(rows: Iterable[Row], path: Path, images: Path) -> Listing:
    records, skipped = [], Skipped()
    columns: tuple[str, str] | None = None
    for number, row in enumerate(rows, 1):
        if row is None:
            skipped.add(BAD_LINE, f"{path.name}:{number}")
            continue
        columns = columns or _columns(row, path)
        where, texts = row.get(columns[0]), row.get(columns[1])
        captions = read_captions(texts if isinstance(texts, list) else [texts])
        reason = _unusable(where) or (captions if isinstance(captions, str) else "")
        if reason:
            skipped.add(reason, where if isinstance(where, str) and where else f"{path.name}:{number}")
        elif isinstance(where, parquet.Held):
            records.append(Record(f"{path.name}/{where.row}", Place(str(path), where.row, None, columns[0]), tuple(captions)))
        else:
            records.append(Record(str(where), Place(str(images / str(where))), tuple(captions)))
    return Listing(records, skipped)


def _columns(row: Mapping[str, Any], path: Path) -> tuple[str, str]:
    of_path = next((name for name in PATH_COLUMNS if name in row), None)
    of_caption = next((name for name in CAPTION_COLUMNS if name in row), None)
    if of_path is None or of_caption is None:
        missing, names = ("a picture", PATH_COLUMNS) if of_path is None else ("a caption", CAPTION_COLUMNS)
        raise DataError(
            f"{path}: no column with {missing}; it has {', '.join(map(str, row)) or 'none'}, it needs one of {', '.join(names)}"
        )
    return of_path, of_caption


def _unusable(where: object) -> str:
    """Why a cell cannot be a picture's path, or ""."""
    if isinstance(where, parquet.Held):
        return ""
    if not isinstance(where, str) or not where.strip() or "\0" in where:
        return NO_PICTURE
    return ADDRESS if "://" in where else ""


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for row in reader:
            yield None if None in row else row  # more cells than columns
        if not reader.line_num:
            raise DataError(f"{path}: the table is empty")


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                yield row if isinstance(row, dict) else None


def _coco(path: Path, images: Path | None) -> Listing:
    """COCO captions: `images` with id and file_name, `annotations` with image_id and caption."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise DataError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), list) for key in ("images", "annotations")):
        raise DataError(f"{path}: not a COCO captions file; it needs the lists 'images' and 'annotations'")
    skipped = Skipped()
    captions: dict[object, list[object]] = {}
    for note in tree["annotations"]:
        if isinstance(note, dict) and isinstance(note.get("image_id"), int | str):
            captions.setdefault(note["image_id"], []).append(note.get("caption"))
        else:
            skipped.add(BAD_LINE, f"{path.name}: an annotation without image_id")
    pictures = [p for p in tree["images"] if isinstance(p, dict) and isinstance(p.get("id"), int | str)]
    folder = images or _coco_folder(path, pictures)
    records = []
    for picture in pictures:
        where = picture.get("file_name")
        texts = read_captions(captions.get(picture["id"], ()))
        reason = _unusable(where) or (texts if isinstance(texts, str) else "")
        if reason:
            skipped.add(NO_CAPTION if picture["id"] not in captions else reason, str(where or picture["id"]))
        else:
            records.append(Record(str(where), Place(str(folder / str(where))), tuple(texts)))
    return Listing(records, skipped)


def _coco_folder(path: Path, pictures: list[dict[str, Any]]) -> Path:
    """Where a COCO file's pictures lie: beside it, in images/, or as in the release (annotations/captions_X.json, X/)."""
    split = path.stem.removeprefix("captions_")
    candidates = (path.parent, path.parent / "images", path.parent / split, path.parent.parent / split)
    first = next((p["file_name"] for p in pictures if isinstance(p.get("file_name"), str)), "")
    return next((folder for folder in candidates if first and "\0" not in first and (folder / first).is_file()), path.parent)
