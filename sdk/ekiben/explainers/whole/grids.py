"""At which values of a column a model is asked: always values of the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ekiben.errors import SpecError
from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Matrix
from ekiben.explainers.whole.asking import Table
from ekiben.values import is_missing

ENDS = (0.01, 0.99)  # beyond them few rows tell anything, and the last one is somebody


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values of one column, each by a row that holds it, and the share of rows that hold it or lie nearest."""

    place: int
    rows: Rows
    values: tuple[Any, ...]
    is_ordered: bool
    shares: tuple[float, ...]

    @property
    def is_gap(self) -> list[bool]:
        """Which of the values are missing ones."""
        return [value is None for value in self.values]


def grid(table: Table, place: int, n_values: int) -> Grid:
    """Choose at most so many values: quantiles of numbers and dates, the most frequent of all else; and a missing one."""
    _refuse_texts(table, place)
    axis, codes = table.axis(place), table.code(place)
    there = np.flatnonzero(~np.isnan(codes))
    if axis.is_ordered:
        chosen = at_quantiles(codes[there], np.linspace(*ENDS, n_values), n_values)
    else:
        distinct, counts = np.unique(codes[there], return_counts=True)
        chosen = np.sort(distinct[np.argsort(-counts, kind="stable")[:n_values]])
    rows = [int(there[np.argmax(codes[there] == code)]) for code in chosen]
    gaps = np.flatnonzero(np.isnan(codes))[:1].tolist()
    shares = [*_shares(codes[there], chosen, axis.is_ordered), *([float(np.isnan(codes).sum())] if gaps else [])]
    return Grid(
        place=place,
        rows=np.array([*rows, *gaps], dtype=np.int64),
        values=tuple(_plain(table.columns[place][row]) for row in (*rows, *gaps)),
        is_ordered=axis.is_ordered,
        shares=tuple(share / len(codes) for share in shares),
    )


def given(table: Table, place: int, n_given: int) -> Grid:
    """Take the values of the last rows, in their order and a missing one last; what the rows before hold is counted."""
    axis, codes, n_rows = table.axis(place), table.code(place), table.n_rows - n_given
    rows = np.arange(n_rows, table.n_rows)
    order = rows[np.argsort(codes[rows] if axis.is_ordered else np.isnan(codes[rows]), kind="stable")]
    known = codes[:n_rows][~np.isnan(codes[:n_rows])]
    present = codes[order][~np.isnan(codes[order])]
    gaps = [float(np.isnan(codes[:n_rows]).sum())] * (len(order) - len(present))
    return Grid(
        place=place,
        rows=order.astype(np.int64),
        values=tuple(_plain(table.columns[place][row]) for row in order),
        is_ordered=axis.is_ordered,
        shares=tuple(share / n_rows for share in (*_shares(known, present, axis.is_ordered), *gaps)),
    )


def at_quantiles(codes: Matrix, quantiles: Matrix, most: int) -> Matrix:
    """Give all distinct numbers where they are few, else those at the quantiles: numbers that there are, rising."""
    distinct = np.unique(codes)
    if len(distinct) <= most:
        return distinct
    return np.asarray(np.unique(np.quantile(codes, quantiles, method="inverted_cdf")))


def _shares(codes: Matrix, chosen: Matrix, is_ordered: bool) -> list[float]:
    """Count the rows at each value, of numbers those that lie nearest to it."""
    if not is_ordered:
        return [float((codes == code).sum()) for code in chosen]
    middles = (chosen[1:] + chosen[:-1]) / 2
    counts = np.bincount(np.searchsorted(middles, codes, side="left"), minlength=len(chosen))
    return [float(count) for count in counts]


def has_grid(table: Table, place: int) -> bool:
    """Tell whether the values of a column are few or have an order."""
    column = table.context.schema.columns[place]
    return column.kind != "list" and (column.kind != "text" or column.categories is not None)


def _refuse_texts(table: Table, place: int) -> None:
    if not has_grid(table, place):
        column = table.context.schema.columns[place]
        noun = column.noun if column.kind == "list" else "text of more than 200 values"
        raise SpecError(
            f"A curve needs a column of numbers, dates, booleans or categories. Got {column.name!r}, a {noun}. "
            "Give the values to ask about: grid=[…]."
        )


def _plain(value: Any) -> Any:
    return None if is_missing(value) else value
