"""Write decisions to a file, or into a table of Arrow, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from ekiben import codecs, gathering, tables
from ekiben._optional import require
from ekiben.errors import SpecError
from ekiben.gathering import FACTS, Gathered

REPEATED = ("endpoint", "arm", "model", "digest")  # the same texts again and again
Parts = Callable[[], Iterator[Gathered]]


def table(found: Iterable[Gathered]) -> Any:
    """Make one table of Arrow of decisions; what repeats in all of them is held once.

    A column whose values are of several kinds is one of texts.
    """
    arrow = require("pyarrow", to="read records as Arrow")
    parts = [_part(each) for each in found]
    if not parts:
        return arrow.table({name: arrow.nulls(0) for name in FACTS})
    schema = reduce(_joined, (part.schema for part in parts))
    whole = arrow.concat_tables([_fitted(part, schema) for part in parts])
    for name in REPEATED:
        at = whole.column_names.index(name)
        whole = whole.set_column(at, name, whole.column(at).dictionary_encode())
    return whole


def _part(found: Gathered) -> Any:
    arrow = require("pyarrow", to="read records as Arrow")
    made = {name: _array(cells) for name, cells in found.columns.items()}
    made["time"] = made["time"].cast(arrow.timestamp("ns", "UTC"))
    return arrow.table(made)


def _array(cells: Any) -> Any:
    arrow = require("pyarrow", to="read records as Arrow")
    if isinstance(cells, np.ndarray):
        return arrow.array(cells)
    try:
        return arrow.array(cells)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):  # values of several kinds
        return _texts(cells)


def _texts(cells: Iterable[Any]) -> Any:
    """Tell values of several kinds as texts: what is none is JSON."""
    arrow = require("pyarrow", to="read records as Arrow")
    told = [cell if cell is None or isinstance(cell, str) else codecs.encode(cell).decode() for cell in cells]
    return arrow.array(told, arrow.string())


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(parts: Parts, out: Path) -> int:
    """Write decisions to a file whose name says its form, in constant memory, and tell how many there are.

    The decisions are read twice: only the last of them tells which columns there are.

    Parameters
    ----------
    parts
        Called for each reading.
    out
        A file of CSV, JSON or Parquet; it is there once it is whole.

    Raises
    ------
    SpecError
        If its name ends otherwise.
    """
    forms: dict[str, Callable[[Parts, Path], int]] = {".csv": _csv, ".json": _json, ".parquet": _parquet}
    if out.suffix not in forms:
        raise SpecError(f"The file must end in {', '.join(forms)}. Got {out.name!r}.")
    beside = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        n = forms[out.suffix](parts, beside)
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    return n


def _frames(parts: Parts) -> Iterator[Any]:
    """Give a frame for each few decisions, all with the same columns."""
    names = list(dict.fromkeys(name for part in parts() for name in part.columns)) or list(FACTS)
    yield gathering.frame([]).reindex(columns=names)
    for part in parts():
        yield gathering.frame([part]).reindex(columns=names)


def _csv(parts: Parts, out: Path) -> int:
    n = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        for i, frame in enumerate(_frames(parts)):
            frame.to_csv(file, index=False, header=i == 0)
            n += len(frame)
    return n


def _json(parts: Parts, out: Path) -> int:
    n = 0
    with out.open("w", encoding="utf-8") as file:
        file.write("[")
        for frame in _frames(parts):
            rows = as_json(frame)[1:-1]
            file.write("," + rows if n and rows else rows)
            n += len(frame)
        file.write("]")
    return n


def as_json(frame: Any) -> str:
    """Write the rows of a frame as JSON, each number and moment in full, where pandas would round both.

    >>> import pandas as pd
    >>> as_json(pd.DataFrame({"score": [0.1 + 0.2, None]}))
    '[{"score":0.30000000000000004},{"score":null}]'
    """
    return codecs.encode(tables.as_rows(frame)).decode()


def _parquet(parts: Parts, out: Path) -> int:
    arrow, parquet = require("pyarrow", to="write Parquet"), require("pyarrow.parquet", to="write Parquet")
    schema = reduce(_joined, (_part(part).schema for part in parts()), arrow.schema([]))
    n = 0
    with parquet.ParquetWriter(out, schema) as writer:
        for part in parts():
            writer.write_table(_fitted(_part(part), schema))
            n += part.n_rows
    return n


def _joined(schema: Any, other: Any) -> Any:
    """Give a schema that holds what either holds; a column of kinds that do not go together becomes one of texts."""
    arrow = require("pyarrow", to="read records as Arrow")
    try:
        return arrow.unify_schemas([schema, other], promote_options="permissive")
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        fields = {field.name: field for field in schema}
        for field in other:
            fields[field.name] = _either(fields.get(field.name, field), field)
        return arrow.schema(list(fields.values()))


def _either(one: Any, other: Any) -> Any:
    arrow = require("pyarrow", to="read records as Arrow")
    try:
        kinds = [arrow.schema([field]) for field in (one, other)]
        return arrow.unify_schemas(kinds, promote_options="permissive").field(0)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        return arrow.field(one.name, arrow.string())


def _fitted(part: Any, schema: Any) -> Any:
    """Give a table the columns of a schema; those that it lacks have no values."""
    arrow, known = require("pyarrow", to="read records as Arrow"), {*part.column_names}
    made = [
        _cast(part.column(field.name), field.type) if field.name in known else arrow.nulls(len(part), field.type)
        for field in schema
    ]
    return arrow.table(made, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    arrow = require("pyarrow", to="read records as Arrow")
    if column.type == kind:
        return column
    if arrow.types.is_string(kind) and not arrow.types.is_null(column.type):
        return _texts(column.to_pylist())
    return column.cast(kind, safe=False)
