"""Conditions on raw columns: over codes for a search, in the user's words for a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ekiben.compiling import Coded
from ekiben.explanations.reasons import english
from ekiben.moments import day, moment
from ekiben.schema import Column, Kind, Schema
from ekiben.values import is_missing

QUANTILES = (0.25, 0.5, 0.75)
MOST_ITEMS = 6  # of a list, in a rule
NUMERIC: tuple[Kind, ...] = ("number", "integer")

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rule: TypeAlias = "tuple[Predicate, ...]"


class Predicate(NamedTuple):
    """A column's code lies in [low, high], both included."""

    column: int
    low: int
    high: int

    def both(self, other: Predicate) -> Predicate:
        """Join two predicates on one column."""
        return Predicate(self.column, max(self.low, other.low), min(self.high, other.high))


def rule_of(predicates: Sequence[Predicate]) -> Rule:
    """Join the predicates on each column, in order of the columns.

    >>> rule_of([Predicate(1, 0, 2), Predicate(0, 3, 3), Predicate(1, 2, 3)])
    (Predicate(column=0, low=3, high=3), Predicate(column=1, low=2, high=2))
    """
    joined: dict[int, Predicate] = {}
    for one in predicates:
        joined[one.column] = joined[one.column].both(one) if one.column in joined else one
    return tuple(joined[column] for column in sorted(joined))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One column of the background: its distinct values, and for each row the number of its value and its code.

    A number's or date's code is its bin, and one more for missing; any other value's code is the number of the value.
    Bins end at quantiles that are values of the column, so that a rule as written is the rule as meant.
    """

    column: Column
    values: tuple[Any, ...]
    places: Mapping[Any, int]
    ids: Codes
    codes: Codes
    numbers: npt.NDArray[np.float64] | None
    cuts: tuple[Any, ...] | None
    told: tuple[Any, ...]

    @classmethod
    def of(cls, column: Column, values: Sequence[Any]) -> Known:
        """Look at a column of plain values."""
        places: dict[Any, int] = {}
        ids = np.array([places.setdefault(_key(value), len(places)) for value in values], dtype=np.int64)
        first = np.unique(ids, return_index=True)[1]
        distinct = tuple(None if is_missing(values[i]) else values[i] for i in first.tolist())
        scale = [_scaled(column, value) for value in distinct]
        numbers = np.array(scale, dtype=np.float64) if column.kind in NUMERIC else None
        cuts: tuple[Any, ...] | None = None
        told: tuple[Any, ...] = ()
        codes = ids
        if column.kind in (*NUMERIC, "datetime"):
            cuts, told = _cuts(scale, distinct, ids)
            codes = np.array([_bin(cuts, value) for value in scale], dtype=np.int64)[ids]
        return cls(
            column=column,
            values=distinct,
            places=places,
            ids=ids,
            codes=codes,
            numbers=numbers,
            cuts=cuts,
            told=told,
        )

    def code(self, value: Any) -> int:
        """Give the code of one value, known or not."""
        if self.cuts is not None:
            return _bin(self.cuts, _scaled(self.column, value))
        return self.places.get(_key(value), len(self.values))

    def predicates(self, place: int, code: int) -> Iterator[Predicate]:
        """List what holds of a code: one bound at a cut, or the code itself."""
        if self.cuts is None or code > len(self.cuts):
            yield Predicate(place, code, code)
            return
        for cut in range(len(self.cuts)):
            yield Predicate(place, 0, cut) if code <= cut else Predicate(place, cut + 1, len(self.cuts))

    def said(self, predicate: Predicate, value: Any) -> str:
        """Say in the user's words a predicate that holds of `value`."""
        name = self.column.name
        if is_missing(value):
            return english("condition", "missing", column=name)
        if self.cuts is None:
            return f"{name} == {_told(value)}"
        above = self._spelt(predicate.low - 1) if predicate.low > 0 else None
        most = self._spelt(predicate.high) if predicate.high < len(self.cuts) else None
        if above is not None and most is not None:
            return f"{above} < {name} <= {most}"
        return f"{name} <= {most}" if most is not None else f"{name} > {above}"

    def _spelt(self, cut: int) -> str:
        if self.column.kind == "datetime":
            return day(str(self.told[cut])) if self.column.is_days else str(self.told[cut])
        return _spelt(float(self.told[cut]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Reference rows to draw from, as the numbers of their values and as codes: the same for every explained row."""

    columns: tuple[Known, ...]
    codes: Codes  # (n_columns, n_rows)

    @classmethod
    def of(cls, columns: Sequence[Sequence[Any]], schema: Schema) -> Background:
        """Look at columns of plain values, in the order of the contract."""
        known = tuple(Known.of(*pair) for pair in zip(schema.columns, columns, strict=True))
        return cls(columns=known, codes=np.stack([each.codes for each in known]))

    @property
    def n_rows(self) -> int:
        """Number of rows to draw from."""
        return self.codes.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The background with one row to explain, whose number is that behind the last of the background.

    `held` says of each predicate of the row in which rows it holds: (n_predicates, n_background + 1).
    """

    background: Background
    row: tuple[Any, ...]
    predicates: tuple[Predicate, ...]
    held: Mask
    columns: tuple[Coded, ...]

    @classmethod
    def of(cls, background: Background, row: Sequence[Any]) -> Table:
        """Put a row of plain values beside the background."""
        own = [known.code(value) for known, value in zip(background.columns, row, strict=True)]
        pairs = enumerate(zip(background.columns, own, strict=True))
        found = tuple(one for place, (known, code) in pairs for one in known.predicates(place, code))
        return cls(
            background=background,
            row=tuple(row),
            predicates=found,
            held=_held(background, found),
            columns=tuple(map(_coded, background.columns, row)),
        )

    @property
    def n_background(self) -> int:
        """Number of background rows, and so the number of the explained row."""
        return self.background.n_rows

    def holds(self, predicates: Sequence[Predicate]) -> Mask:
        """Say in which rows of the background all predicates hold."""
        met = np.ones(self.n_background, dtype=bool)
        for one in predicates:
            codes = self.background.codes[one.column]
            met &= (one.low <= codes) & (codes <= one.high)
        return met

    def meets(self, predicates: Sequence[Predicate]) -> bool:
        """Say whether all predicates hold for the explained row."""
        codes = [self.background.columns[one.column].code(self.row[one.column]) for one in predicates]
        return all(one.low <= code <= one.high for one, code in zip(predicates, codes, strict=True))

    def patched(self, rows: Codes) -> list[Coded]:
        """Lay rows whose value in column i comes from row `rows[i]`, as columns: `rows` is (n_columns, n_rows)."""
        return [Coded(each.values, each.ids[of], each.numbers) for each, of in zip(self.columns, rows, strict=True)]

    def said(self, predicate: Predicate) -> str:
        """Say a predicate in the user's words."""
        return self.background.columns[predicate.column].said(predicate, self.row[predicate.column])


def _held(background: Background, predicates: Sequence[Predicate]) -> Mask:
    held = np.ones((len(predicates), background.n_rows + 1), dtype=bool)
    if predicates:
        column, low, high = np.array(predicates).T
        codes = background.codes[column]
        held[:, :-1] = (low[:, None] <= codes) & (codes <= high[:, None])
    return held


def _coded(known: Known, value: Any) -> Coded:
    """Put a value behind those that are known."""
    numbers = known.numbers
    if numbers is not None:
        numbers = np.append(numbers, _scaled(known.column, value))
    ids = np.append(known.ids, len(known.values))
    return Coded((*known.values, None if is_missing(value) else value), ids, numbers)


def _key(value: Any) -> Any:
    """Tell values apart as a reader does: 1 is not True, a list is told as text, and all that is missing is the same."""
    if is_missing(value):
        return None
    return (isinstance(value, bool), str(value) if isinstance(value, list) else value)


def _scaled(column: Column, value: Any) -> Any:
    """Put a number or a date on a line; NaN or None where there is none."""
    if column.kind in NUMERIC:
        return np.nan if value is None else float(value)
    if column.kind != "datetime" or is_missing(value):
        return None
    found = moment(value)
    return None if found is None else found.ns


def _cuts(scale: Sequence[Any], distinct: Sequence[Any], ids: Codes) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Cut a line at quantiles of its rows, but not at its end; give the cuts, and the values they were."""
    order = sorted((i for i, each in enumerate(scale) if _is_finite(each)), key=lambda i: scale[i])
    if not order:
        return (), ()
    reached = np.cumsum(np.bincount(ids, minlength=len(scale))[order])
    at = [int(np.searchsorted(reached, 1 + int(q * (reached[-1] - 1)))) for q in QUANTILES]
    kept = [order[i] for i in dict.fromkeys(at) if i < len(order) - 1]
    return tuple(scale[i] for i in kept), tuple(distinct[i] for i in kept)


def _is_finite(value: Any) -> bool:
    return value is not None and bool(value - value == 0)


def _bin(cuts: tuple[Any, ...], value: Any) -> int:
    if value is None or value != value:
        return len(cuts) + 1
    return sum(cut < value for cut in cuts)


def _told(value: Any) -> str:
    """Write a value that is no number; a long list by its beginning."""
    if isinstance(value, list) and len(value) > MOST_ITEMS:
        return f"[{', '.join(map(repr, value[:MOST_ITEMS]))}, … ({len(value)})]"
    return repr(value)


def _spelt(cut: float) -> str:
    """Write a number as briefly as it stays that number."""
    texts = (format(cut, ".2f"), format(cut, ".6g"), repr(float(cut)))
    return next(text for text in texts if float(text) == cut)
