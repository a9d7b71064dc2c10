"""What a plan is made of: small steps that answer one row in Python and many rows in numpy, to the same numbers.

A node takes the values of a row, in the order of the contract's columns and as JSON gives them, and gives its own numbers
(or, where it is `raw`, values of any kind). `row` is for one row; `block` is for columns of many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

Values: TypeAlias = Sequence[Any]
Doc: TypeAlias = dict[str, Any]
Fold: TypeAlias = Callable[[Values], float]
Weigh: TypeAlias = "Callable[[Values], Array]"
NAN = math.nan
WIDEST = 4000  # numbers of texts that are made whole for each row, for a step that needs them
NEAR = 500_000  # numbers that stay in the processor's cache
WIDE = 200  # from here on a sum goes through those alone that are not 0


class Row(tuple[Any, ...]):  # noqa: SLOT001 -- a tuple can have no slots beside its own
    """The values of one row, with what shared nodes, and trees, made of them."""

    memo: dict[object, Any]

    @classmethod
    def of(cls, values: Values) -> Row:
        """Give values a memo of their own, where they have none."""
        if isinstance(values, Row):
            return values
        row = cls(values)
        row.memo = {}
        return row


class Table:
    """The columns of many rows, with what shared nodes made of them."""

    __slots__ = ("columns", "memo", "n_rows")

    def __init__(self, columns: Sequence[Sequence[Any]], n_rows: int) -> None:
        self.columns, self.n_rows = columns, n_rows
        self.memo: dict[object, Any] = {}


class Coded(Sequence[Any]):
    """A column of few values in many rows: its `values`, None for a missing one, and for each row the number of its own.

    It is a sequence as any other; nodes that know it look at each value once.
    """

    __slots__ = ("ids", "numbers", "values")

    def __init__(self, values: Sequence[Any], ids: Array, numbers: Array | None = None) -> None:
        self.values, self.ids, self.numbers = values, ids, numbers

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Coded(self.values, self.ids[index], self.numbers)
        return self.values[self.ids[index]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.ids.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Give the numbers of all rows; NaN for a missing one."""
        return np.asarray(self.as_numbers()[self.ids], dtype=dtype)

    def as_numbers(self) -> Array:
        """Give the number of each value."""
        if self.numbers is None:
            self.numbers = np.array(self.values, dtype=np.float64)
        return self.numbers

    def spread(self, found: Array) -> Array:
        """Give each row what was found for its value."""
        made: Array = found.take(self.ids, axis=0)
        return made


class Held(Sequence[Any]):
    """A column of numbers in an array: nodes that compute take it whole, others get each number as a plain value."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: Array) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        found = self.numbers[index]
        return Held(found) if isinstance(index, slice) else found.item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.numbers.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.numbers, dtype=dtype)


class Node:
    """One step; `width` numbers for each row."""

    raw: bool = False
    wide: bool = False  # whether its numbers are so many that `fold` and `weigh` are asked in place of `block`
    width: int

    def row(self, values: Values) -> Sequence[Any]:
        """Answer one row."""
        raise NotImplementedError

    def block(self, table: Table) -> Any:
        """Answer many rows: an array of shape (n_rows, width), or for a raw node one sequence a column."""
        raise NotImplementedError

    def signs(self, table: Table) -> Array:
        """Answer many rows, maybe quicker, by numbers of the same signs as those of `block`; what counts has the same largest, too."""
        found: Array = self.block(table)
        return found

    def fold(self, weights: Sequence[float]) -> Fold:
        """Give the function that weighs and adds up the numbers of one row; `weights` has one a number."""
        row, kept = self.row, tuple(weights)
        return lambda values: sum(map(mul, row(values), kept))

    def weigh(self, weights: Array) -> Weigh:
        """Give the function that does so for several outputs; `weights` has shape (n_outputs, width)."""
        row = self.row
        return lambda values: weights @ np.array(row(values), dtype=np.float64)

    def weighed(self, table: Table, weights: Array) -> Array:
        """Weigh and add up the numbers of many rows: (n_rows, n_outputs), up to rounding what `block` and `weights` give."""
        made: Array = self.block(table) @ weights.T
        return made

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        """Tell for numbers of the node below where this one changes its mind."""
        return {}


class Of(Node):
    """A node on numbers of another node; numpy alone where `row` is not written for one row.

    `whole` says that its library looks for a missing or infinite number first, and refuses it.
    """

    def __init__(self, of: Node, *, whole: bool = False) -> None:
        self.of, self.width, self._whole = of, of.width, whole
        self._row = (lambda values: finite_row(of.row(values))) if whole else of.row

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = self.apply(np.array([self._row(values)], dtype=np.float64))[0].tolist()
        return made

    def block(self, table: Table) -> Array:
        return self.apply(self.below(table))

    def below(self, table: Table) -> Array:
        """Give the numbers of the node below for many rows, where the library takes them."""
        found: Array = self.of.block(table)
        return finite(found) if self._whole else found

    def apply(self, matrix: Array) -> Array:
        """Turn numbers of shape (n_rows, of.width) into numbers of shape (n_rows, width)."""
        raise NotImplementedError


class ByRow(Of):
    """A node on numbers that is written for one row: many rows get, to the last bit, what each gets alone."""

    def row(self, values: Values) -> Sequence[float]:
        return self.one(self._row(values))

    def apply(self, matrix: Array) -> Array:
        return np.array([self.one(row) for row in matrix.tolist()], dtype=np.float64).reshape(len(matrix), self.width)

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        """Turn `of.width` numbers into `width` numbers."""
        raise NotImplementedError


class Core(Node):
    """What a plan's core gave for a row, as the nodes on it see it."""

    def __init__(self, width: int) -> None:
        self.width = width

    def row(self, values: Values) -> Sequence[float]:
        return values

    def block(self, table: Table) -> Any:
        return table.columns


class Finite(Of):
    """A node on numbers that its library refuses where one of them is missing or infinite."""

    def block(self, table: Table) -> Array:
        return self.apply(finite(self.of.block(table)))

    def row(self, values: Values) -> Sequence[float]:
        found = np.array([self._row(values)], dtype=np.float64)
        made: list[float] = self.apply(finite(found))[0].tolist()
        return made


def in_parts(matrix: Array, width: int) -> list[Array]:
    """Cut rows into parts for which so many numbers a row, made of each, stay near."""
    n_rows = max(1, NEAR // max(width, 1))
    return [matrix[i : i + n_rows] for i in range(0, len(matrix), n_rows)]


def finite(matrix: Array) -> Array:
    """Refuse numbers of which one is missing or infinite."""
    if not np.isfinite(matrix).all():
        raise PlanError("A number must be finite where the model takes no other. Got one that is not.")
    return matrix


def bounded(matrix: Array) -> Array:
    """Refuse numbers of which one is infinite, which no step takes; one may be missing."""
    if np.isinf(matrix).any():
        raise PlanError("A number must be finite where the model takes no other. Got one that is not.")
    return matrix


def bounded_row(numbers: Sequence[float]) -> Sequence[float]:
    """Refuse numbers of one row of which one is infinite; one may be missing."""
    total = sum(numbers)
    if total - total == 0:  # as below
        return numbers
    for number in numbers:
        if number - number != 0 and number == number:
            raise PlanError("A number must be finite where the model takes no other. Got one that is not.")
    return numbers


def finite_row(numbers: Sequence[float]) -> Sequence[float]:
    """Refuse numbers of one row of which one is missing or infinite."""
    total = sum(numbers)
    if total - total == 0:  # nearly every row; large ones may add up to infinity all the same
        return numbers
    for number in numbers:
        if number - number != 0:
            raise PlanError("A number must be finite where the model takes no other. Got one that is not.")
    return numbers
