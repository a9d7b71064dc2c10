"""What is made of features and margins: sums, chances, shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import ByRow, Core, Node, Of, Table, Values, bounded, finite, finite_row
from ekiben.errors import IntegrityError
from ekiben.loops import loops

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
            margin = self._fold(values) + self._first
            return (margin,) if margin - margin == 0 else finite_row((margin,))
        made: list[float] = finite(self._weigh(values) + self.intercept).tolist()
        return made

    def block(self, table: Table) -> Array:
        if not self.of.wide:
            return super().block(table)
        return np.array([self.row(values) for values in zip(*table.columns, strict=True)])

    def sums(self, table: Table) -> Array:
        """Give what `block` does, up to rounding, without the numbers that are 0."""
        return self.block(table) if self.of.wide else finite(self.of.weighed(table, self.coef) + self.intercept)

    def apply(self, matrix: Array) -> Array:
        return finite(matrix @ self.coef.T + self.intercept)


class Linear32(Of):
    """Weigh the numbers and add them up in 32 bits, one after the other behind the intercept; a missing one adds nothing."""

    def __init__(self, of: Node, coef: Any, intercept: Sequence[float]) -> None:
        super().__init__(of)
        self._coef = np.array(coef, dtype=np.float32)
        self._begun = np.array(intercept, dtype=np.float32)
        self.width = len(self._begun)

    def apply(self, matrix: Array) -> Array:
        with np.errstate(over="ignore"):
            narrow = bounded(matrix.astype(np.float32))  # the library refuses what 32 bits cannot hold
        weighed = np.nan_to_num(narrow[:, None, :] * self._coef, nan=0.0, posinf=np.inf, neginf=-np.inf)
        begun = np.broadcast_to(self._begun[:, None], (len(matrix), self.width, 1))
        made: Array = np.add.accumulate(np.concatenate([begun, weighed], axis=2), axis=2)[:, :, -1]
        return made.astype(np.float64)


class Sigmoid(ByRow):
    """The logistic function of each number."""

    def row(self, values: Values) -> Sequence[float]:
        return [expit(number) for number in self._row(values)]

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        return [expit(number) for number in numbers]

    def apply(self, matrix: Array) -> Array:
        small = powers(-np.abs(matrix))
        made: Array = np.where(matrix >= 0, 1.0, small) / (1.0 + small)
        return made


def expit(value: float) -> float:
    """Give the logistic function of a number."""
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    power = exp(value)
    return power / (1.0 + power)


def exp(value: float) -> float:
    """Give e to the power of a number: infinity for one that is too large, as libraries do."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def powers(matrix: Array) -> Array:
    """Give e to the power of each number, to the bits of `exp`; `matrix` is the caller's to lose."""
    if loops is None:
        return np.array([exp(number) for number in matrix.ravel().tolist()]).reshape(matrix.shape)
    made: Array = np.ascontiguousarray(matrix, dtype=np.float64)
    loops.powers(made)
    return made


class Pair(Of):
    """What is left of 1, and the number itself: the two scores of two classes."""

    def __init__(self, of: Node) -> None:
        super().__init__(of)
        self.width = 2
        if isinstance(of, Sigmoid) and isinstance(of.of, Core):
            self.row = _chances  # type: ignore[method-assign,assignment]

    def row(self, values: Values) -> Sequence[float]:
        (chance,) = self._row(values)
        return (1.0 - chance, chance)

    def apply(self, matrix: Array) -> Array:
        return np.concatenate([1.0 - matrix, matrix], axis=1)


def _chances(margins: Sequence[float]) -> Sequence[float]:
    """Give the chances of two classes, as the two nodes do one after the other."""
    (margin,) = margins
    chance = 1.0 / (1.0 + math.exp(-margin)) if margin >= 0 else expit(margin)
    return (1.0 - chance, chance)


class Softmax(ByRow):
    """Powers of e, divided by their sum."""

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        top = max(numbers)
        found = [exp(number - top) for number in numbers]
        total = sum(found)
        return [power / total for power in found]

    def apply(self, matrix: Array) -> Array:
        found = powers(matrix - matrix.max(axis=1, keepdims=True))
        totals = np.array([*map(sum, found.tolist())])  # as Python adds up, which numpy does in another order
        made: Array = found / totals.reshape(-1, 1)
        return made


class Posterior(Of):
    """Chances of log chances that do not add up to 1 yet.

    Their sum is counted from the largest ones on, as scipy does, to the last bit: what calibrates chances may be steep.
    """

    def apply(self, matrix: Array) -> Array:
        top = matrix.max(axis=1, keepdims=True)
        largest = matrix == top
        n_largest = largest.sum(axis=1, keepdims=True, dtype=np.float64)
        others = np.exp(np.where(largest, -np.inf, matrix) - top).sum(axis=1, keepdims=True)
        total = np.log1p(np.where(others == 0, others, others / n_largest)) + np.log(n_largest) + top
        made: Array = np.exp(matrix - total)
        return made


class Shares(ByRow):
    """Each number divided by their sum; where that is 0, equal shares or, where `strict`, none."""

    def __init__(self, of: Node, strict: bool | None) -> None:
        super().__init__(of)
        self._none = math.nan if strict else 1.0 / of.width

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        total = sum(numbers)
        return [number / total for number in numbers] if total != 0 else [self._none] * len(numbers)


class Power(ByRow):
    """e to the power of each number."""

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        return [exp(number) for number in numbers]

    def apply(self, matrix: Array) -> Array:
        return powers(matrix.copy())


class SignedSquare(ByRow):
    """Each number times itself, with the sign it had."""

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        return [math.copysign(number * number, number) for number in numbers]


class SoftPlus(ByRow):
    """The logarithm of 1 and e to the power of each number."""

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        return [math.log1p(exp(number)) for number in numbers]
