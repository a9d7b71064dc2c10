"""Conditions on raw columns: over codes for a search, in the user's words for a reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ekiben.explainers._columns import Rows
from ekiben.moments import is_date
from ekiben.schema import Schema
from ekiben.tables import comparable
from ekiben.values import is_missing, plain_list

QUANTILES = (0.25, 0.5, 0.75)
MOST_ITEMS = 6  # of a list, in a rule

Cuts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, order=True)
class Predicate:
    """A column's code lies in [low, high], both included."""

    column: int
    low: int
    high: int

    def both(self, other: Predicate) -> Predicate:
        """Join two predicates on one column."""
        return Predicate(self.column, max(self.low, other.low), min(self.high, other.high))


def rule_of(predicates: Sequence[Predicate]) -> list[Predicate]:
    """Join the predicates on each column, in order of the columns.

    >>> rule_of([Predicate(1, 0, 2), Predicate(0, 3, 3), Predicate(1, 2, 3)])
    [Predicate(column=0, low=3, high=3), Predicate(column=1, low=2, high=2)]
    """
    columns = sorted({predicate.column for predicate in predicates})
    return [reduce(Predicate.both, (one for one in predicates if one.column == column)) for column in columns]


def cut_points(background: pd.DataFrame, schema: Schema) -> dict[str, Cuts]:
    """Cut each numeric column at quantiles that are values of it, so that a rule as written is the rule as meant."""
    numeric = [column.name for column in schema.columns if column.kind in ("number", "integer")]
    return {name: _cuts(_floats(background[name])) for name in numeric}


def _cuts(values: Cuts) -> Cuts:
    present = values[np.isfinite(values)]
    if not len(present):
        return np.empty(0)
    cuts = np.unique(np.quantile(present, QUANTILES, method="lower"))
    return np.asarray(cuts[cuts < present.max()])


def _floats(values: pd.Series) -> Cuts:
    return np.asarray(pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Background rows with the explained row below them, and both as codes.

    A number's code is its bin, and one more for missing; any other value's code is its own, missing among them.
    """

    frame: pd.DataFrame
    cuts: dict[str, Cuts]
    codes: Rows
    predicates: tuple[Predicate, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, cuts: dict[str, Cuts]) -> Table:
        """Code a table."""
        codes = np.column_stack([_codes(frame[name], cuts.get(str(name))) for name in frame])
        found = tuple(_predicates(codes[-1], [cuts.get(str(name)) for name in frame]))
        return cls(frame=frame, cuts=cuts, codes=codes, predicates=found)

    @property
    def n_background(self) -> int:
        """Number of background rows, and so the number of the explained row."""
        return len(self.frame) - 1

    def holds(self, predicates: Sequence[Predicate]) -> npt.NDArray[np.bool_]:
        """Say in which rows all predicates hold."""
        met = np.ones(len(self.codes), dtype=bool)
        for one in predicates:
            met &= (one.low <= self.codes[:, one.column]) & (self.codes[:, one.column] <= one.high)
        return met

    def holding(self, rows: Rows) -> Rows:
        """Say which of the explained row's predicates hold in patched rows: (n_rows, n_predicates) of 0 and 1."""
        columns = np.array([one.column for one in self.predicates])
        codes = self.codes[rows[:, columns], columns]
        low, high = ([getattr(one, side) for one in self.predicates] for side in ("low", "high"))
        return np.asarray((low <= codes) & (codes <= high), dtype=np.int64)

    def said(self, predicate: Predicate) -> str:
        """Say a predicate in the user's words."""
        name = str(self.frame.columns[predicate.column])
        value = self.frame[name].iloc[-1]
        if is_missing(value):
            return f"{name} is missing"
        if name not in self.cuts:
            return f"{name} == {_told(value)}"
        return _range(name, self.cuts[name], predicate)


def _told(value: Any) -> str:
    """Write a value that is no number: a date as ISO 8601, a long list by its beginning."""
    if is_date(value):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    items = plain_list(value)
    if items is not None and len(items) > MOST_ITEMS:
        return f"[{', '.join(map(repr, items[:MOST_ITEMS]))}, … ({len(items)})]"
    return repr(value.tolist() if hasattr(value, "tolist") else value)


def _codes(values: pd.Series, cuts: Cuts | None) -> Rows:
    if cuts is None:
        told = comparable(values.to_frame("cells"))["cells"]  # a list cannot be hashed
        return np.asarray(pd.factorize(told, use_na_sentinel=False)[0], dtype=np.int64)
    numbers = _floats(values)
    return np.where(np.isnan(numbers), len(cuts) + 1, np.searchsorted(cuts, numbers)).astype(np.int64)


def _predicates(row: Rows, cuts: Sequence[Cuts | None]) -> Iterator[Predicate]:
    """List what holds of the explained row: one bound at a cut, or one code."""
    for column, (code, bounds) in enumerate(zip(row.tolist(), cuts, strict=True)):
        if bounds is None or code > len(bounds):
            yield Predicate(column, code, code)
            continue
        for cut in range(len(bounds)):
            yield Predicate(column, 0, cut) if code <= cut else Predicate(column, cut + 1, len(bounds))


def _range(name: str, cuts: Cuts, predicate: Predicate) -> str:
    above = _spelt(cuts[predicate.low - 1]) if predicate.low > 0 else None
    most = _spelt(cuts[predicate.high]) if predicate.high < len(cuts) else None
    if above is not None and most is not None:
        return f"{above} < {name} <= {most}"
    return f"{name} <= {most}" if most is not None else f"{name} > {above}"


def _spelt(cut: float) -> str:
    """Write a number as briefly as it stays that number."""
    texts = (format(cut, ".2f"), format(cut, ".6g"), repr(float(cut)))
    return next(text for text in texts if float(text) == cut)
