"""Rows as points: what a reference holds of each column as numbers, and how far apart two rows are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

import numpy as np
import numpy.typing as npt

from ekiben.explainers._context import Matrix
from ekiben.moments import DAY, SECOND, iso, moment
from ekiben.schema import Column, Schema
from ekiben.values import is_missing

MOST_DIGITS = 6  # after the point, for a column whose values have so few
DIGITS, MOST_PLACES = 15, 300  # that a float has; and after the point, of the smallest
FINER = 3  # digits finer than its spread is a number that has more
DATES = (DAY, SECOND, 1_000)  # nanoseconds in the step of a column of dates
UNKNOWN = -1.0  # the code of a choice that the reference does not hold
LARGEST = 2.0**53

NARROW = re.compile(r"^(half)?float(16|32)?(?:\[pyarrow\])?$")  # Arrow calls 32 bits `float`

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One column as numbers: a number itself, a date as steps since 1970, of anything else the place among `choices`.

    Parameters
    ----------
    column
        The column of the contract.
    choices
        What is known of a column without an order; None for numbers and dates.
    grid
        The step between two values: a change ends on one of its multiples.
    digits
        How many digits after the point such a value has.
    spread
        The distance between the quartiles, or where that is 0 the range.
    span
        The range seen.
    seen
        The distinct numbers of the reference, rising.
    step_ns
        Of dates: nanoseconds in 1.
    """

    column: Column
    choices: tuple[Any, ...] | None = None
    grid: float = 1.0
    digits: int = 0
    spread: float = 1.0
    span: float = 1.0
    seen: Matrix
    step_ns: int = 1

    @classmethod
    def of(cls, column: Column, values: Sequence[Any]) -> Axis:
        """Look at what the reference holds of a column."""
        if _has_order(column, values):
            return cls._of_numbers(column, values)
        seen = [value for value in values if not is_missing(value)]
        known: Sequence[Any] = (False, True) if column.kind == "boolean" else (column.categories or ())
        choices = {_key(value): value for value in (*known, *seen)}
        return cls(column=column, choices=tuple(choices.values()), seen=np.empty(0))

    @classmethod
    def _of_numbers(cls, column: Column, values: Sequence[Any]) -> Axis:
        step_ns = _step_ns(values) if column.kind == "datetime" else 1
        every = np.array([_code(column, value, step_ns) for value in values if not is_missing(value)], dtype=np.float64)
        codes = np.unique(every)
        if not len(codes):
            return cls(column=column, seen=codes, step_ns=step_ns)
        span = float(codes[-1] - codes[0]) or 1.0
        spread = float(np.subtract(*np.quantile(every, (0.75, 0.25)))) or span
        digits = 0 if column.kind != "number" else _digits(codes, spread)
        return cls(
            column=column,
            grid=10.0**-digits,
            digits=digits,
            spread=spread,
            span=span,
            seen=codes,
            step_ns=step_ns,
        )

    @property
    def is_ordered(self) -> bool:
        """Whether its codes are numbers, and not places."""
        return self.choices is None

    @property
    def narrow(self) -> Any:
        """The type of a frame's numbers that hold fewer digits than JSON's; None for any other."""
        found = NARROW.search(self.column.dtype.lower()) if self.column.kind == "number" else None
        return None if found is None else np.dtype("float16" if found[1] else f"float{found[2] or 32}")

    def codes(self, values: Sequence[Any]) -> Matrix:
        """Give the numbers of values; NaN for a missing one."""
        if self.choices is None:
            found = [np.nan if is_missing(value) else _code(self.column, value, self.step_ns) for value in values]
        else:
            places = {_key(each): place for place, each in enumerate(self.choices)}
            found = [np.nan if is_missing(value) else places.get(_key(value), UNKNOWN) for value in values]
        return np.array(found, dtype=np.float64)

    def values(self, codes: Matrix, own: Any, own_code: float) -> list[Any]:
        """Give the values of codes; what has the code of a row's own value is that value."""
        if self.choices is not None:
            table = [*self.choices, None, own]  # -2 is missing, and -1 what nobody knows
            return [table[place] for place in np.where(np.isnan(codes), -2, codes).astype(int).tolist()]
        listed: list[Any] = codes.tolist()
        if self.column.kind == "number" and not np.isnan(codes).any():
            return listed
        return [own if code == own_code else None if code != code else self._said(code) for code in listed]

    def _said(self, code: float) -> Any:
        if self.column.kind != "datetime":
            return int(code) if self.column.kind == "integer" else code
        whole, part = divmod(code, 1.0)  # a row may have a time of day that the reference has not
        told = iso(int(whole) * self.step_ns + int(round(part * self.step_ns, -3)), aware=self.column.is_aware)
        return told.partition("T")[0] if self.column.items == "date" else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The rows of a reference as points, of shape (n_rows, n_columns); NaN is missing."""

    axes: tuple[Axis, ...]
    points: Matrix

    @classmethod
    def of(cls, schema: Schema, columns: Sequence[Sequence[Any]]) -> Space:
        """Code a reference, given in columns of plain values."""
        axes = tuple(Axis.of(column, values) for column, values in zip(schema.columns, columns, strict=True))
        return cls(axes=axes, points=points(axes, columns))

    def effort(self, codes: Matrix, own: Matrix) -> Matrix:
        """Add up, for each point, how far its columns lie from one: in spreads, 1 for another choice and for a gap."""
        return np.asarray(self._apart(codes, own, np.array([axis.spread for axis in self.axes])).sum(axis=1))

    def gower(self, codes: Matrix, own: Matrix) -> Matrix:
        """Give the distance of each point to one, from 0 to 1: the mean over columns, in ranges [1]_.

        References
        ----------
        .. [1] Gower, "A General Coefficient of Similarity and Some of Its Properties", 1971.
        """
        apart = self._apart(codes, own, np.array([axis.span for axis in self.axes]))
        return np.asarray(np.minimum(apart, 1).mean(axis=1))

    def _apart(self, codes: Matrix, own: Matrix, scales: Matrix) -> Matrix:
        other = changed(codes, own)
        counted = np.isnan(codes) | np.isnan(own) | [not axis.is_ordered for axis in self.axes]
        return np.where(counted, other, np.abs(codes - own) / scales)

    def narrowed(self, columns: Sequence[list[Any]]) -> list[list[Any]]:
        """Give values as a frame of narrower numbers holds them."""
        return [
            column
            if axis.narrow is None
            else [None if each is None else float(axis.narrow.type(each)) for each in column]
            for axis, column in zip(self.axes, columns, strict=True)
        ]

    def values(self, codes: Matrix, row: Sequence[Any], own: Matrix) -> list[list[Any]]:
        """Give changed copies of a row as columns of plain values; `own` is the row itself as a point."""
        return [axis.values(codes[:, i], row[i], own[i]) for i, axis in enumerate(self.axes)]


def changed(codes: Matrix, own: Matrix) -> Flags:
    """Tell which cells of points differ from one."""
    return np.asarray((codes != own) & ~(np.isnan(codes) & np.isnan(own)))


def points(axes: Sequence[Axis], columns: Sequence[Sequence[Any]]) -> Matrix:
    """Code rows that come in columns of plain values."""
    return np.column_stack([axis.codes(values) for axis, values in zip(axes, columns, strict=True)])


def _has_order(column: Column, values: Sequence[Any]) -> bool:
    """Tell whether a column is one of numbers or dates that are held exactly."""
    if column.kind not in ("number", "integer", "datetime"):
        return False
    return column.kind != "integer" or all(abs(value) < LARGEST for value in values if not is_missing(value))


def _key(value: Any) -> Any:
    if is_missing(value):
        return None
    return value if isinstance(value, str | int | float) else str(value)


def _code(column: Column, value: Any, step_ns: int) -> float:
    if column.kind != "datetime":
        return float(value)
    found = moment(value)
    assert found is not None
    return found.ns / step_ns


def _step_ns(values: Sequence[Any]) -> int:
    """Find the longest step that all dates of a reference are multiples of."""
    found = [moment(value) for value in values if not is_missing(value)]
    return next((step for step in DATES if all(one is None or one.ns % step == 0 for one in found)), DATES[-1])


def _digits(codes: Matrix, spread: float) -> int:
    """Count the digits after the point of numbers that have few; of others, those that tell a thousandth of their spread."""
    few = next((n for n in range(MOST_DIGITS + 1) if np.array_equal(np.round(codes, n), codes)), None)
    if few is not None:
        return few
    finest = DIGITS - floor(log10(np.abs(codes).max()))
    return min(max(FINER - floor(log10(spread)), 0), max(DIGITS, finest), MOST_PLACES)
