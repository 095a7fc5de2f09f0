"""Tables of many runs: a row per run, as CSV and as Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ngpd_fl.config import InputError
from ngpd_fl.records.files import atomic_write

Row = dict[str, Any]


def write_rows(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Write ``NAME.csv`` and ``NAME.parquet``, the same columns and values in both."""
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    # Into open files: the library has no paths that are not UTF-8.
    with atomic_write(folder / f"{name}.csv") as partial, partial.open("wb") as file:
        pyarrow.csv.write_csv(table, file)
    with atomic_write(folder / f"{name}.parquet") as partial, partial.open("wb") as file:
        pyarrow.parquet.write_table(table, file)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a ``.parquet`` file; raise ``InputError`` if it is damaged."""
    try:
        with path.open("rb") as file:
            rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: damaged ({error})") from error
    return rows


def _column(values: list[Any]) -> pa.Array:
    """Return a column of one type: text in JSON form if it holds lists, or numbers mixed with text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) > 1 or kinds & {list, dict}:
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(values, None if kinds else pa.string())
