"""The rows that a model keeps which are nearest to a row, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Table, Values, finite, in_parts
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

TIED = "The nearest rows must be nearer than the others. Got some as near."
AT_ONE = "A row must be apart from those that the model keeps. Got one that is not."
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
        self._counts = bool((self._known == np.round(self._known)).all())
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

    def signs(self, table: Table) -> Array:
        """Look for the nearest of many rows at once, and at each alone of which two numbers may be the largest by rounding."""
        n = self._n
        if self._power != 2 or n is None or self.width < 2 or 8 * n >= len(self._norms):
            return self.block(table)
        parts = [self._together(part, n) for part in in_parts(finite(self.of.block(table)), len(self._norms))]
        return np.concatenate([np.zeros((0, self.width)), *parts])

    def _together(self, rows: Array, n: int) -> Array:
        """Look closely at those rows alone that may be among the n + 1 nearest."""
        own = (rows * rows).sum(axis=1)
        if not np.isfinite(own).all():
            return self.apply(rows)
        rough = rows @ self._held
        rough *= -2.0
        rough += self._norms
        rough += own[:, None]
        n_groups = min(len(self._norms), max(64, 8 * (n + 1)))
        grouped = rough[:, : len(self._norms) // n_groups * n_groups].reshape(len(rows), -1, n_groups).min(axis=1)
        most = np.partition(grouped, n, axis=1)[:, n] + CLOSE * (own + self._norms.max())  # there are n + 1 up to here
        places, near = np.nonzero(rough <= most[:, None])
        apart = np.abs(self._held[:, near] - rows.T[:, places])
        squared = np.add.reduce(apart * apart, axis=0)
        if self._inverse and not self._exact and (squared < CLOSE * (self._norms[near] + own[places])).any():
            raise PlanError(AT_ONE)
        distances = np.sqrt(squared)
        order = np.lexsort((distances, places))
        starts = np.searchsorted(places, np.arange(len(rows)))
        nth, beyond = distances[order[starts + n - 1]], distances[order[starts + n]]
        if (beyond - nth <= CLOSE * beyond).any():
            raise PlanError(TIED)
        nearest = order[starts[:, None] + np.arange(n)]
        weights = 1.0 / distances[nearest] if self._inverse else np.ones(nearest.shape)
        found = (self._known[near[nearest]] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1)[:, None]
        second, first = np.partition(found, (-2, -1), axis=1)[:, -2:].T
        unsure = ~(first - second > CLOSE * np.abs(first))  # or not finite, where a row is one of those that are kept
        if not self._inverse and self._counts:
            unsure[:] = False  # counts are the same in any order
        found[unsure] = self.apply(rows[unsure])
        return np.asarray(found)

    def _distances(self, row: Array) -> Array:
        """Give the distances, and see that they are no smaller than what a library's rounding leaves of them."""
        apart = np.abs(self._held - row[:, None])
        if self._power == 1:
            return np.asarray(np.add.reduce(apart, axis=0))
        if self._power != 2:
            return np.asarray(np.add.reduce(apart**self._power, axis=0) ** (1 / self._power))
        squared = np.add.reduce(apart * apart, axis=0)
        if self._inverse and not self._exact and (squared < CLOSE * (self._norms + float(row @ row))).any():
            raise PlanError(AT_ONE)
        return np.asarray(np.sqrt(squared))

    def _nearest(self, distances: Array) -> Array:
        n = self._n or 1
        if n >= len(distances):
            return np.arange(len(distances))
        order = np.argpartition(distances, (n - 1, n))
        if _same(distances[order[n - 1]], distances[order[n]]):
            raise PlanError(TIED)
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
