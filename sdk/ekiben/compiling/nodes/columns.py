"""Where numbers come from: the contract's columns, side by side, picked, or shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import NAN, Coded, Fold, Node, Of, Row, Table, Values, Weigh

if TYPE_CHECKING:
    from ekiben.models import Array


class Columns(Node):
    """Numbers of the contract's columns: booleans are 0 and 1, a missing value is NaN."""

    def __init__(self, places: Sequence[int], nullable: bool) -> None:
        self.places, self.width = tuple(places), len(places)
        self._get = itemgetter(*places) if self.width > 1 else only(places[0])
        if not nullable:
            self.row = self._get  # type: ignore[method-assign,assignment]

    def row(self, values: Values) -> Sequence[Any]:
        return [NAN if value is None else value for value in self._get(values)]

    def block(self, table: Table) -> Array:
        made = np.empty((table.n_rows, self.width))
        for i, place in enumerate(self.places):
            made[:, i] = np.array(table.columns[place], dtype=np.float64)  # None is NaN
        return made

    def weighed(self, table: Table, weights: Array) -> Array:
        columns = [table.columns[place] for place in self.places]
        if not all(isinstance(column, Coded) for column in columns):
            return super().weighed(table, weights)
        total = np.zeros((table.n_rows, len(weights)))
        for column, weight in zip(columns, weights.T, strict=True):
            total += column.spread(np.multiply.outer(column.as_numbers(), weight))  # type: ignore[attr-defined]
        return total


def only(place: int) -> Callable[[Values], tuple[Any]]:
    """Get one value as `itemgetter` gets several."""
    return lambda values: (values[place],)


class Raw(Node):
    """Values of the contract's columns as they are, None where one is missing."""

    raw = True

    def __init__(self, places: Sequence[int]) -> None:
        self.places, self.width = tuple(places), len(places)
        self.row = itemgetter(*places) if self.width > 1 else only(places[0])  # type: ignore[method-assign,assignment]

    def block(self, table: Table) -> list[Sequence[Any]]:
        return [table.columns[place] for place in self.places]


class Fill(Node):
    """Put a value where one is missing, among values of any kind; a column without one stays as it is."""

    raw = True

    def __init__(self, of: Node, fill: Sequence[Any]) -> None:
        self.of, self.width, self._fill = of, of.width, tuple(fill)

    def row(self, values: Values) -> Sequence[Any]:
        found = zip(self.of.row(values), self._fill, strict=True)
        return [fill if value is None or value != value else value for value, fill in found]

    def block(self, table: Table) -> list[Sequence[Any]]:
        return [_filled(column, fill) for column, fill in zip(self.of.block(table), self._fill, strict=True)]


def _filled(column: Sequence[Any], fill: Any) -> Sequence[Any]:
    if isinstance(column, Coded):
        return Coded(_filled(column.values, fill), column.ids)
    return [fill if value is None or value != value else value for value in column]  # a frame's numbers have NaN


class Beside(Node):
    """Values of any kind and numbers, side by side; a number that is missing is None like any other."""

    raw = True

    def __init__(self, parts: Sequence[Node]) -> None:
        self.parts, self.width = tuple(parts), sum(part.width for part in parts)

    def row(self, values: Values) -> Sequence[Any]:
        made: list[Any] = []
        for part in self.parts:
            found = part.row(values)
            made += found if part.raw else [None if number != number else number for number in found]
        return made

    def block(self, table: Table) -> list[Sequence[Any]]:
        made: list[Sequence[Any]] = []
        for part in self.parts:
            found = part.block(table)
            made += found if part.raw else [_gaps_as_none(column) for column in found.T.tolist()]
        return made


def _gaps_as_none(column: list[float]) -> list[float | None]:
    return [None if number != number else number for number in column]


class Pick(Node):
    """Some of the values, in another order."""

    raw = True

    def __init__(self, of: Node, keep: Sequence[int]) -> None:
        self.of, self.width, self.keep = of, len(keep), tuple(keep)

    def row(self, values: Values) -> Sequence[Any]:
        found = self.of.row(values)
        return [found[i] for i in self.keep]

    def block(self, table: Table) -> list[Sequence[Any]]:
        found = self.of.block(table)
        return [found[i] for i in self.keep]


class Numbers(Pick):
    """Some of the values, which are numbers: NaN where one is missing."""

    raw: bool = False

    def row(self, values: Values) -> Sequence[Any]:
        return [NAN if value is None else value for value in super().row(values)]

    def block(self, table: Table) -> Any:
        made = np.empty((table.n_rows, self.width))
        for i, column in enumerate(super().block(table)):
            made[:, i] = np.array(column, dtype=np.float64)
        return made


class Join(Node):
    """The numbers of several nodes, side by side."""

    def __init__(self, parts: Sequence[Node]) -> None:
        self.parts, self.width = tuple(parts), sum(part.width for part in parts)
        self._rows = [part.row for part in parts]
        self.wide = any(part.wide for part in parts)

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = []
        for row in self._rows:
            made += row(values)
        return made

    def block(self, table: Table) -> Array:
        return np.concatenate([part.block(table) for part in self.parts], axis=1)

    def fold(self, weights: Sequence[float]) -> Fold:
        folds, start = [], 0
        for part in self.parts:
            folds.append(part.fold(weights[start : start + part.width]))
            start += part.width
        if len(folds) == 2:
            first, second = folds
            return lambda values: first(values) + second(values)
        return lambda values: sum([fold(values) for fold in folds])

    def weigh(self, weights: Array) -> Weigh:
        weighers, start = [], 0
        for part in self.parts:
            weighers.append(part.weigh(weights[:, start : start + part.width]))
            start += part.width
        return lambda values: np.add.reduce([weigh(values) for weigh in weighers])

    def weighed(self, table: Table, weights: Array) -> Array:
        total, start = np.zeros((table.n_rows, len(weights))), 0
        for part in self.parts:
            total += part.weighed(table, weights[:, start : start + part.width])
            start += part.width
        return total


class Select(Of):
    """Some of the numbers, in another order."""

    def __init__(self, of: Node, keep: Sequence[int], *, whole: bool = False) -> None:
        super().__init__(of, whole=whole)
        self.width, self.keep = len(keep), list(keep)
        self._get = itemgetter(*keep) if len(keep) > 1 else only(keep[0])

    def row(self, values: Values) -> Sequence[float]:
        found: Sequence[float] = self._get(self._row(values))
        return found

    def apply(self, matrix: Array) -> Array:
        return matrix[:, self.keep]


class Shared(Node):
    """A node that several others stand on, asked once for each row."""

    def __init__(self, of: Node) -> None:
        self.of, self.width = of, of.width
        self.raw = of.raw

    def row(self, values: Values) -> Sequence[float]:
        if not isinstance(values, Row):
            return self.of.row(values)
        if self.of not in values.memo:
            values.memo[self.of] = self.of.row(values)
        found: Sequence[float] = values.memo[self.of]
        return found

    def block(self, table: Table) -> Array:
        if self.of not in table.memo:
            table.memo[self.of] = self.of.block(table)
        found: Array = table.memo[self.of]
        return found


class Constant(Node):
    """The same numbers for every row, of which another node may refuse some."""

    def __init__(self, numbers: Sequence[float], of: Node | None = None) -> None:
        self._numbers, self.width, self.of = tuple(numbers), len(numbers), of

    def row(self, values: Values) -> Sequence[float]:
        if self.of is not None:
            self.of.row(values)
        return self._numbers

    def block(self, table: Table) -> Array:
        if self.of is not None:
            self.of.block(table)
        return np.tile(np.array(self._numbers, dtype=np.float64), (table.n_rows, 1))
