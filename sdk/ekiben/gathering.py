"""Gather decisions into the columns of a frame, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import codecs, protocol
from ekiben.recording.segments import Decision, Header, Record

if TYPE_CHECKING:
    import pandas as pd

N_ROWS = 2_000  # records that are gathered at once; more take longer, as they leave the processor's caches
FACTS = ("id", "row", "time", "endpoint", "unit", "arm", "propensity", "model", "digest", "latency_ms")
EXACT = 2**53  # above, not every integer is a float
REPEATED = 0.5  # a column with less different texts, as a share of its rows, holds each of them once
Cells = Any  # the values of a column: an array of numbers, or a list
Row = tuple[Any, ...]  # the facts of a decision, the time in nanoseconds, then its inputs


@dataclass(frozen=True, slots=True)
class Gathered:
    """Decisions that have the same columns."""

    columns: dict[str, Cells]

    @property
    def n_rows(self) -> int:
        """How many there are."""
        return len(self.columns["id"])


def of_records(header: Header, found: Iterable[Record]) -> Iterator[Gathered]:
    """Gather the records of a segment."""
    coming = iter(found)
    while some := list(islice(coming, N_ROWS)):
        rows = [row for record in some for row in _rows(header, record)]
        yield from _gathered(header.columns, rows, _predictions([record.outputs for record in some], len(rows)))


def of_decisions(found: Iterable[tuple[Sequence[str], Decision]]) -> Iterator[Gathered]:
    """Gather decisions, each with the names of its columns."""
    for names, those in groupby(found, key=lambda each: tuple(each[0])):
        coming = (told for _, told in those)
        while some := list(islice(coming, N_ROWS)):
            rows = [_row(told) for told in some]
            yield from _gathered(names, rows, [codecs.decode(told.output) for told in some])


def _rows(header: Header, record: Record) -> Iterator[Row]:
    model, digest = header.arms.get(record.arm, ("", ""))
    ms = round(record.us / 1000, 4)
    beside = (record.ns, record.endpoint, record.unit, record.arm, record.propensity, model, digest, ms)
    for row, values in enumerate(record.inputs):
        yield (record.id, row, *beside, *values)


def _row(told: Decision) -> Row:
    who = (told.id, told.row, told.ns, told.endpoint, told.unit, told.arm, told.propensity)
    return (*who, told.model, told.digest, round(told.us / 1000, 4), *told.inputs)


def _predictions(outputs: Sequence[bytes], n_rows: int) -> list[Any]:
    """Read the lists of predictions of several records, all at once."""
    found: list[Any] = codecs.decode(b"[" + b",".join(outputs) + b"]")
    told = list(chain.from_iterable(found))
    if len(told) != n_rows:
        raise ValueError("A record must hold a prediction for each of its rows.")
    return told


def _gathered(names: Sequence[str], rows: Sequence[Row], predictions: Sequence[Any]) -> Iterator[Gathered]:
    """Turn decisions into columns; those whose answers have other parts are gathered apart."""
    if not rows:
        return
    answered = protocol.alike(predictions) if len(rows) > 1 else None
    if answered is None and len(rows) > 1:
        half = len(rows) // 2
        yield from _gathered(names, rows[:half], predictions[:half])
        yield from _gathered(names, rows[half:], predictions[half:])
        return
    if answered is None:
        answered = {name: [value] for name, value in protocol.flat(predictions[0]).items()}
    keys = (*FACTS, *(f"input.{name}" for name in names))
    columns = dict(zip(keys, map(list, zip(*rows, strict=True)), strict=True))
    columns |= {f"output.{name}": cells for name, cells in answered.items()}
    yield Gathered({name: _packed(cells) for name, cells in columns.items()})


def _packed(cells: list[Any]) -> Cells:
    """Hold numbers of one kind as an array, and texts that come again and again once."""
    kinds = {*map(type, cells)}
    if kinds == {float}:
        return np.array(cells)
    if kinds == {int}:
        found = np.array(cells)  # of integers beyond 64 bits it is none of int64
        return found if found.dtype == np.int64 else cells
    if str in kinds and kinds <= {str, type(None)} and len(texts := {*cells}) < REPEATED * len(cells):
        known = {text: text for text in texts}
        return [known[text] for text in cells]
    return cells


# ── the frame ───────────────────────────────────────────────────────────────────────────────────────────────────────


def frame(found: Iterable[Gathered]) -> pd.DataFrame:
    """Make one frame of decisions, the oldest first."""
    import pandas as pd

    parts = list(found)
    if not parts:
        return pd.DataFrame({name: [] for name in FACTS})
    order = _order(parts)
    if len({tuple(part.columns) for part in parts}) > 1:
        made = _of_rows(parts, order)
    else:
        made = _of_columns({name: [part.columns[name] for part in parts] for name in parts[0].columns}, order)
    made["time"] = pd.to_datetime(made["time"], utc=True)
    return made


def _order(parts: Sequence[Gathered]) -> Any:
    """Give the places of decisions by their time, their id and their row; None where they are in order."""
    times, ids, rows = ([part.columns[name] for part in parts] for name in ("time", "id", "row"))
    if (np.diff(np.concatenate(times)) > 0).all():
        return None
    keys = list(zip(*(chain.from_iterable(map(_listed, column)) for column in (times, ids, rows)), strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)


def _of_columns(columns: dict[str, list[Cells]], order: Any) -> pd.DataFrame:
    import pandas as pd

    made: dict[str, Any] = {}
    for name, parts in columns.items():
        if all(isinstance(part, np.ndarray) for part in parts):
            made[name] = np.concatenate(parts)
        else:
            made[name] = _cells(list(chain.from_iterable(map(_listed, parts))))
    if order is not None:
        made = {name: cells[order] for name, cells in made.items()}
    return pd.DataFrame(made)


def _of_rows(parts: Sequence[Gathered], order: Any) -> pd.DataFrame:
    """Make a frame of decisions of several columns, such as those of a service whose contract has grown."""
    import pandas as pd

    rows = [
        dict(zip(part.columns, row, strict=True))
        for part in parts
        for row in zip(*map(_listed, part.columns.values()), strict=True)
    ]
    rows = rows if order is None else [rows[i] for i in order]
    made = pd.DataFrame(rows)
    for name in map(str, made.select_dtypes("float64")):
        cells = [row.get(name) for row in rows]
        if _are_whole(cells):
            made[name] = _objects(cells)
    return made


def _cells(cells: list[Any]) -> Any:
    """Hold values as pandas reads them from rows; but integers that are no floats stay what they are beside missing ones."""
    import pandas as pd

    return _objects(cells) if _are_whole(cells) else pd.DataFrame([(cell,) for cell in cells])[0].to_numpy()


def _are_whole(cells: list[Any]) -> bool:
    """Tell whether values are integers and missing ones, and a float would lose some of them."""
    kinds = {*map(type, cells)}
    return kinds == {int, type(None)} and any(cell is not None and abs(cell) > EXACT for cell in cells)


def _objects(cells: list[Any]) -> Any:
    held = np.empty(len(cells), dtype=object)
    held[:] = cells
    return held


def _listed(cells: Cells) -> list[Any]:
    found: list[Any] = cells.tolist() if isinstance(cells, np.ndarray) else cells
    return found
