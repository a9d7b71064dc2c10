"""How near a row is to what is kept of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Of, Values, finite
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

FAR, CLOSE = 1e6, 1e-9  # a distance, and what of it is a difference that may be lost


class Bells(Finite):
    """The logarithm of a bell curve for each class, with `begun`: `mean` and `spread` have shape (width, of.width)."""

    def __init__(self, of: Node, mean: Any, spread: Any, prior: Sequence[float], begun: Sequence[float]) -> None:
        super().__init__(of)
        self._mean, self._spread = np.array(mean, dtype=np.float64), np.array(spread, dtype=np.float64)
        self._prior, self._begun = np.array(prior), np.array(begun)
        self.width = len(self._mean)

    def row(self, values: Values) -> Sequence[float]:
        apart = finite(np.array(self._row(values), dtype=np.float64)) - self._mean
        found: list[float] = (self._prior + (self._begun - 0.5 * (apart**2 / self._spread).sum(axis=1))).tolist()
        return found

    def apply(self, matrix: Array) -> Array:
        far = [
            ((matrix - mean) ** 2 / spread).sum(axis=1) for mean, spread in zip(self._mean, self._spread, strict=True)
        ]
        made: Array = self._prior + (self._begun - 0.5 * np.stack(far, axis=1))
        return made


class Ellipsoids(Finite):
    """How far a row is from the mean of each class along the class's own axes, of shape (of.width, n_axes)."""

    def __init__(self, of: Node, means: Any, axes: Sequence[Any], add: Sequence[float], prior: Sequence[float]) -> None:
        super().__init__(of)
        self._classes = [(np.array(mean), np.array(axis)) for mean, axis in zip(means, axes, strict=True)]
        self._add, self._prior = np.array(add), np.array(prior)
        self.width = len(self._classes)

    def apply(self, matrix: Array) -> Array:
        far = [(((matrix - mean) @ axes) ** 2).sum(axis=1) for mean, axes in self._classes]
        made: Array = -0.5 * (np.stack(far, axis=1) + self._add) + self._prior
        return made


class Centres(Finite):
    """The distance to each centre, below 0: squared or, where `straight`, along the axes; `scale` divides, `add` is added."""

    def __init__(
        self, of: Node, centres: Any, scale: Sequence[float], add: Sequence[float], straight: bool, squared: bool
    ) -> None:
        super().__init__(of)
        self._scale, self._add = np.array(scale, dtype=np.float64), np.array(add, dtype=np.float64)
        self._centres = np.array(centres, dtype=np.float64) / self._scale
        self._straight, self._squared = straight, squared
        self.width = len(self._centres)

    def apply(self, matrix: Array) -> Array:
        apart = (matrix / self._scale)[:, None, :] - self._centres
        far = np.abs(apart).sum(axis=2) if self._straight else (apart**2).sum(axis=2)
        if self._straight and self._squared:
            far = far**2
        made: Array = self._add - far
        _refuse_ties(made)
        return made


def _refuse_ties(near: Array) -> None:
    """Refuse rows so far from all classes that which one is nearest, and by how much, hangs on how a library rounds."""
    if near.shape[1] > 1:
        second, first = np.partition(near, -2, axis=1)[:, -2:].T
        if ((first < -FAR) & (first - second <= CLOSE * np.abs(first))).any():
            raise PlanError("A row must be nearer to one class than to the others. Got one that is far from all.")


class Occurrences(Of):
    """Add up what `tables` tell of whole numbers, feature by feature: each has shape (width, n_values)."""

    def __init__(self, of: Node, tables: Sequence[Any], add: Sequence[float]) -> None:
        super().__init__(of)
        self._tables = [np.array(table, dtype=np.float64) for table in tables]
        self._rows = [table.T.tolist() for table in self._tables]
        self._add = list(add)
        self.width = len(self._add)

    def row(self, values: Values) -> Sequence[float]:
        total = [0.0] * self.width
        for number, rows in zip(self._row(values), self._rows, strict=True):
            total = [a + b for a, b in zip(total, _told(rows, number), strict=True)]
        return [a + b for a, b in zip(total, self._add, strict=True)]

    def apply(self, matrix: Array) -> Array:
        total = np.zeros((len(matrix), self.width))
        for column, rows in zip(matrix.T.tolist(), self._rows, strict=True):
            total += np.array([_told(rows, number) for number in column]).reshape(len(matrix), self.width)
        made: Array = total + np.array(self._add)
        return made


def _told(rows: list[list[float]], number: float) -> list[float]:
    """Find what is told of a number, cut to a whole one; the library refuses one below 0 or beyond those it counted."""
    if not 0 <= number < len(rows):
        raise PlanError("A number must be one that the model counted. Got another.")
    return rows[int(number)]
