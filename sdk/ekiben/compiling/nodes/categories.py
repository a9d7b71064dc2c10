"""What is made of categories: one number each, numbers from a table, or the number of a bin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from ekiben.compiling.nodes import NAN, Coded, Finite, Fold, Node, Table, Values, bounded, bounded_row, finite_row
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

T = TypeVar("T")


class Encoder(Node):
    """A node on values of any kind, or on numbers, of which no encoder takes one that is infinite."""

    def __init__(self, of: Node) -> None:
        self.of = of
        self._row = of.row if of.raw else (lambda values: bounded_row(of.row(values)))

    def below(self, table: Table) -> Any:
        """Give the values of the node below for many rows: an array, or for a raw node one sequence a column."""
        found = self.of.block(table)
        return found if self.of.raw else bounded(found)


class OneHot(Encoder):
    """One number a category and column: 1 for the one that came, 0 for the others.

    `tables` gives for each column the places of its values; a value that is in none has the place of `others`, and where
    that is None it is nowhere: its numbers are 0. A place of -1 is of a category that was dropped.
    """

    def __init__(
        self,
        of: Node,
        tables: Sequence[tuple[Sequence[Any], Sequence[int]]],
        others: Sequence[int | None],
        refused: Sequence[bool],
        width: int,
    ) -> None:
        super().__init__(of)
        self.width = width
        self._places = [dict(zip(map(_key, values), places, strict=True)) for values, places in tables]
        self._others = [
            None if refuse else -1 if other is None else other for other, refuse in zip(others, refused, strict=True)
        ]
        self._pairs = list(zip(self._places, self._others, strict=True))

    def row(self, values: Values) -> Sequence[float]:
        made = [0.0] * self.width
        for value, (places, other) in zip(self._row(values), self._pairs, strict=True):
            place = places.get(value, other)
            if place is None or value != value:
                place = _place(places, other, value)
            if place >= 0:
                made[place] = 1.0
        return made

    def block(self, table: Table) -> Array:
        found = self.below(table)
        made = np.zeros((table.n_rows, self.width))
        for i in range(self.of.width):
            column = found[i] if self.of.raw else found[:, i].tolist()
            places = _array_of(*self._pairs[i], column, np.intp)
            known = places >= 0
            made[np.nonzero(known)[0], places[known]] = 1.0
        return made

    def fold(self, weights: Sequence[float]) -> Fold:
        row = self._row
        pairs = [
            (
                {value: weights[place] if place >= 0 else 0.0 for value, place in places.items()},
                None if other is None else weights[other] if other >= 0 else 0.0,
            )
            for places, other in self._pairs
        ]
        known = [told.get for told, _ in pairs]

        def folded(values: Values) -> float:
            came = row(values)
            found = [get(value) for get, value in zip(known, came, strict=True)]
            if None in found:  # a value that is in no table, or is spelled in another way there
                found = [_place(*pair, value) for pair, value in zip(pairs, came, strict=True)]
            return sum(found)  # type: ignore[arg-type]

        return folded

    def weighed(self, table: Table, weights: Array) -> Array:
        found = self.of.block(table)
        if not self.of.raw or not all(isinstance(column, Coded) for column in found):
            return super().weighed(table, weights)
        by_place = np.vstack([weights.T, np.zeros(len(weights))])  # the place -1, of nothing, is the last
        total = np.zeros((table.n_rows, len(weights)))
        for pair, column in zip(self._pairs, found, strict=True):
            total += column.spread(by_place[_all_of(*pair, column.values)])
        return total


class Lookup(Encoder):
    """Numbers for each value of each column, from a table: what an ordinal or a target encoder gives; None is NaN."""

    def __init__(
        self, of: Node, tables: Sequence[tuple[Sequence[Any], Sequence[Sequence[float]]]], others: Sequence[Any]
    ) -> None:
        super().__init__(of)
        self._known = [
            {_key(value): _numbers(row) for value, row in zip(values, rows, strict=True)} for values, rows in tables
        ]
        self._others = [None if other is None else _numbers(other) for other in others]
        self.width = sum(len(rows[0]) for _, rows in tables)

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = []
        for i, value in enumerate(self._row(values)):
            made += _place(self._known[i], self._others[i], value)
        return made

    def block(self, table: Table) -> Array:
        found = self.below(table)
        parts = [
            _array_of(self._known[i], self._others[i], found[i] if self.of.raw else found[:, i].tolist(), None)
            for i in range(self.of.width)
        ]
        return np.concatenate(parts, axis=1)


class Bins(Finite):
    """The number of the bin that each number falls into: of `edges`, how many are not above it."""

    def __init__(self, of: Node, edges: Sequence[Sequence[float]]) -> None:
        super().__init__(of)
        self._edges = [list(each) for each in edges]

    def row(self, values: Values) -> Sequence[float]:
        found = finite_row(self._row(values))
        # as a float, as an integer above 2**53 may be beside an edge that it is in 64 bits
        return [float(bisect_right(edges, float(value))) for value, edges in zip(found, self._edges, strict=True)]

    def apply(self, matrix: Array) -> Array:
        columns = [np.searchsorted(edges, matrix[:, i], side="right") for i, edges in enumerate(self._edges)]
        return np.stack(columns, axis=1).astype(np.float64)

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return dict(enumerate(self._edges))


def _numbers(row: Sequence[float | None]) -> list[float]:
    return [NAN if number is None else number for number in row]


def _key(value: Any) -> Any:
    """Let every missing value be the same one: NaN is not equal to itself."""
    return None if value is None or value != value else value


def _array_of(known: Mapping[Any, Any], other: Any, column: Sequence[Any], dtype: Any) -> Array:
    """Find what stands for each value of a column; of a coded one for each distinct value."""
    if isinstance(column, Coded):
        return column.spread(np.array(_all_of(known, other, column.values), dtype=dtype))
    return np.array(_all_of(known, other, column), dtype=dtype)


def _all_of(known: Mapping[Any, T], other: T | None, column: Sequence[Any]) -> list[T]:
    """Find what stands for each value of a column; only for those that are not known as they are one by one."""
    found = list(map(known.get, column))
    if None not in found:
        return cast("list[T]", found)
    return [_place(known, other, value) if place is None else place for place, value in zip(found, column, strict=True)]


def _place(known: Mapping[Any, T], other: T | None, value: Any) -> T:
    """Find what stands for a value, a missing one too."""
    found = known.get(_key(value), other)
    if found is None:
        raise PlanError("A category must be one that the encoder knows. Got another.")
    return found
