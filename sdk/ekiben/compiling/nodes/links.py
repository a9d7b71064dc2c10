"""What is made of features and margins: sums, chances, shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Node, Of, Table, Values, finite, finite_row
from ekiben.errors import IntegrityError

if TYPE_CHECKING:
    from ekiben.models import Array


class Linear(Of):
    """Weigh the numbers and add them up: `coef` has shape (n_outputs, of.width); no library takes one that is not finite."""

    def __init__(self, of: Node, coef: Any, intercept: Sequence[float]) -> None:
        super().__init__(of)
        self.coef, self.intercept = np.array(coef, dtype=np.float64), np.array(intercept, dtype=np.float64)
        if self.coef.shape != (len(self.intercept), of.width):
            raise IntegrityError(f"A plan's coefficients must fit its features. Got {self.coef.shape} for {of.width}.")
        self.width = len(self.coef)
        self._fold = of.fold(self.coef[0].tolist()) if self.width == 1 else None
        self._weigh = of.weigh(self.coef)
        self._first = float(self.intercept[0])

    def row(self, values: Values) -> Sequence[float]:
        if self._fold is not None:
            return finite_row((self._fold(values) + self._first,))
        made: list[float] = finite(self._weigh(values) + self.intercept).tolist()
        return made

    def block(self, table: Table) -> Array:
        if not self.of.wide:
            return super().block(table)
        return np.array([self.row(values) for values in zip(*table.columns, strict=True)])

    def apply(self, matrix: Array) -> Array:
        return finite(matrix @ self.coef.T + self.intercept)


class Sigmoid(Of):
    """The logistic function of each number."""

    def row(self, values: Values) -> Sequence[float]:
        return [_expit(value) for value in self._row(values)]

    def apply(self, matrix: Array) -> Array:
        return np.array([[_expit(value) for value in row] for row in matrix.tolist()]).reshape(matrix.shape)


def _expit(value: float) -> float:
    # math.exp in both ways, so that a row alone gives the last bit that it gives among others
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    power = math.exp(value) if value > -745 else 0.0
    return power / (1.0 + power) if value == value else value


class Pair(Of):
    """What is left of 1, and the number itself: the two scores of two classes."""

    def __init__(self, of: Node) -> None:
        super().__init__(of)
        self.width = 2

    def row(self, values: Values) -> Sequence[float]:
        (chance,) = self._row(values)
        return (1.0 - chance, chance)

    def apply(self, matrix: Array) -> Array:
        return np.concatenate([1.0 - matrix, matrix], axis=1)


class Softmax(Of):
    """Powers of e, divided by their sum."""

    def apply(self, matrix: Array) -> Array:
        powers = np.exp(matrix - matrix.max(axis=1, keepdims=True))
        made: Array = powers / powers.sum(axis=1, keepdims=True)
        return made


class Shares(Of):
    """Each number divided by their sum; equal shares where the sum is 0."""

    def apply(self, matrix: Array) -> Array:
        total = matrix.sum(axis=1, keepdims=True)
        even = np.full_like(matrix, 1.0 / matrix.shape[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total == 0, even, matrix / total)


class Power(Of):
    """e to the power of each number."""

    def apply(self, matrix: Array) -> Array:
        made: Array = np.exp(matrix)
        return made
