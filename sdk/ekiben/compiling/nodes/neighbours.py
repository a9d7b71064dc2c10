"""The rows that a model keeps which are nearest to a row, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Values, finite
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

CLOSE = 1e-9  # two distances, relative to the larger numbers they are made of, that a library may see either way


class Neighbours(Finite):
    """Average what is known of the nearest kept rows: `known` has shape (n_vectors, width).

    The `n` nearest ones, or all within `radius`; each counts the same or, where `inverse`, by 1 / distance. `power` is
    Minkowski's. Where which ones are nearest hangs on how a library rounds, there is no answer here; `exact` says that it
    takes distances from differences, so that a row at distance 0 is known as one.
    """

    def __init__(
        self,
        of: Node,
        vectors: Any,
        known: Any,
        n: int | None,
        radius: float | None,
        power: float,
        inverse: bool,
        exact: bool,
    ) -> None:
        super().__init__(of)
        held = np.array(vectors, dtype=np.float64)
        self._held, self._norms = np.ascontiguousarray(held.T), (held**2).sum(axis=1)
        self._known = np.array(known, dtype=np.float64)
        self._n, self._radius, self._power = n, radius, power
        self._inverse, self._exact = inverse, exact
        self.width = self._known.shape[1]

    def row(self, values: Values) -> Sequence[float]:
        found: list[float] = self._one(finite(np.array(self._row(values), dtype=np.float64))).tolist()
        return found

    def apply(self, matrix: Array) -> Array:
        return np.array([self._one(row) for row in matrix]).reshape(len(matrix), self.width)

    def _one(self, row: Array) -> Array:
        distances = self._distances(row)
        nearest = self._within(distances) if self._n is None else self._nearest(distances)
        known = self._known[nearest]
        if not self._inverse:
            made: Array = np.add.reduce(known, axis=0) / len(known)
            return made
        return _by_distance(known, distances[nearest])

    def _distances(self, row: Array) -> Array:
        """Give the distances, and see that they are no smaller than what a library's rounding leaves of them."""
        apart = np.abs(self._held - row[:, None])
        if self._power == 1:
            return np.asarray(np.add.reduce(apart, axis=0))
        if self._power != 2:
            return np.asarray(np.add.reduce(apart**self._power, axis=0) ** (1 / self._power))
        squared = np.add.reduce(apart * apart, axis=0)
        if self._inverse and not self._exact and (squared < CLOSE * (self._norms + float(row @ row))).any():
            raise PlanError("A row must be apart from those that the model keeps. Got one that is not.")
        return np.asarray(np.sqrt(squared))

    def _nearest(self, distances: Array) -> Array:
        n = self._n or 1
        if n >= len(distances):
            return np.arange(len(distances))
        order = np.argpartition(distances, (n - 1, n))
        if _same(distances[order[n - 1]], distances[order[n]]):
            raise PlanError("The nearest rows must be nearer than the others. Got some as near.")
        return order[:n]

    def _within(self, distances: Array) -> Array:
        radius = self._radius or 0.0
        nearest: Array = np.nonzero(distances <= radius)[0]
        if not len(nearest) or (np.abs(distances - radius) <= CLOSE * radius).any():
            raise PlanError("Some kept rows must be within the radius, and none on it. Got others.")
        return nearest


def _same(a: float, b: float) -> bool:
    return b - a <= CLOSE * b


def _by_distance(known: Array, distances: Array) -> Array:
    same = distances == 0
    weights = same.astype(np.float64) if same.any() else 1.0 / distances
    found: Array = (known * weights[:, None]).sum(axis=0) / weights.sum()
    return found
