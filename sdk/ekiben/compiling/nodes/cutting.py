"""What is cut off, and what is only asked: whether a number is above another one, or missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import Node, Of, Table, Values, bounded, bounded_row, finite, finite_row
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array


class Clip(Of):
    """Keep each number within `low` and `high`; a missing one stays missing."""

    def __init__(self, of: Node, low: float, high: float) -> None:
        super().__init__(of)
        self._low, self._high = low, high

    def row(self, values: Values) -> Sequence[float]:
        low, high = self._low, self._high
        return [low if value < low else min(value, high) for value in bounded_row(self._row(values))]

    def apply(self, matrix: Array) -> Array:
        return np.clip(bounded(matrix), self._low, self._high)


class Exceeds(Of):
    """1 for each number above a threshold, 0 for the others."""

    def __init__(self, of: Node, threshold: float) -> None:
        super().__init__(of)
        self._threshold = threshold

    def row(self, values: Values) -> Sequence[float]:
        found = finite_row(self._row(values))
        return [1.0 if float(value) > self._threshold else 0.0 for value in found]  # an integer as 64 bits hold it

    def apply(self, matrix: Array) -> Array:
        return (finite(matrix) > self._threshold).astype(np.float64)

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return dict.fromkeys(range(self.width), (self._threshold,))


class IsMissing(Node):
    """1 for each value of `keep` that is missing, 0 for the others; one of `refused` may not be missing."""

    def __init__(self, of: Node, keep: Sequence[int], refused: Sequence[int]) -> None:
        self.of, self.width, self._keep, self._refused = of, len(keep), tuple(keep), tuple(refused)

    def row(self, values: Values) -> Sequence[float]:
        given = self.of.row(values) if self.of.raw else bounded_row(self.of.row(values))
        found = [value is None or value != value for value in given]
        if any(found[i] for i in self._refused):
            raise PlanError("A value must be there where none was ever missing. Got none.")
        return [float(found[i]) for i in self._keep]

    def block(self, table: Table) -> Array:
        found = self.of.block(table)
        columns = found if self.of.raw else bounded(found).T.tolist()
        gaps = np.array([[value is None or value != value for value in column] for column in columns]).T
        if gaps[:, self._refused].any():
            raise PlanError("A value must be there where none was ever missing. Got none.")
        return gaps[:, self._keep].astype(np.float64)
