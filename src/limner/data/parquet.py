"""Parquet tables: rows without their pictures, and one picture's bytes by its row (as Hugging Face data sets hold them).

A row's bytes cost reading its row group, so a few groups are kept; for long training pack such a table into shards.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from limner.errors import DataError

GROUPS_KEPT = 4


class Held(NamedTuple):
    """Stands for a picture that lies in the table itself, in this row."""

    row: int


def library(path: Path) -> Any:
    """pyarrow.parquet. Raises: DataError saying what to install."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; install limner[train]") from None


def rows(path: Path, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The wanted columns row by row; a column of pictures gives Held rows instead of bytes.

    Raises: DataError when the file is no Parquet.
    """
    parquet = library(path)
    arrow = importlib.import_module("pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = [name for name in schema.names if name in wanted]
            if not names:
                yield dict.fromkeys(schema.names)  # so that the message can name them
                return
            held = [name for name in names if _holds_bytes(schema.field(name).type)]
            plain = [name for name in names if name not in held]
            number = 0
            for batch in file.iter_batches(columns=plain):
                for row in batch.to_pylist() if plain else ({} for _ in range(len(batch))):
                    yield row | dict.fromkeys(held, Held(number))
                    number += 1
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _holds_bytes(kind: Any) -> bool:
    types = importlib.import_module("pyarrow").types
    if types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def row_bytes(path: str, column: str, row: int) -> bytes:
    """The picture in a row, b"" when there is none. Raises: OSError when the file cannot be read (any more)."""
    arrow = importlib.import_module("pyarrow")
    try:
        file = library(Path(path)).ParquetFile(path)
        with file:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if row < size:
                    break
                row -= size
        cell = _group(path, column, group)[row].as_py()
    except (arrow.ArrowException, IndexError, KeyError) as error:
        raise OSError(f"{path}: {error}") from None
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return data if isinstance(data, bytes) else b""


@lru_cache(maxsize=GROUPS_KEPT)
def _group(path: str, column: str, group: int) -> Any:
    with library(Path(path)).ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(column)
