"""What makes fewer numbers of many: sums of them, and ways to centres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Table, Values, finite
from ekiben.errors import IntegrityError, PlanError

if TYPE_CHECKING:
    from ekiben.models import Array


class Project(Finite):
    """The numbers weighed and added up: `coef` has shape (n_components, of.width)."""

    def __init__(self, of: Node, coef: Array, intercept: Sequence[float]) -> None:
        super().__init__(of)
        self._coef, self._added = np.array(coef, dtype=np.float64), np.array(intercept, dtype=np.float64)
        if self._coef.shape != (len(self._added), of.width):
            raise IntegrityError(f"A plan's components must fit its features. Got {self._coef.shape} for {of.width}.")
        self.width, self._weigh = len(self._coef), of.weigh(self._coef)

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = (finite(self._weigh(values)) + self._added).tolist()
        return made

    def block(self, table: Table) -> Array:
        if not self.of.wide:
            return super().block(table)
        return np.array([self.row(values) for values in zip(*table.columns, strict=True)])

    def apply(self, matrix: Array) -> Array:
        made: Array = matrix @ self._coef.T + self._added
        return made


FAR = 1e8  # times the way between the centres: from there on rounding leaves little of which one is nearer


class Distances(Finite):
    """How far each row is from each centre, by the squares of both and their product; a row that is far from all is refused."""

    def __init__(self, of: Node, centres: Array) -> None:
        super().__init__(of)
        self._centres = np.array(centres, dtype=np.float64)
        self._squares = np.einsum("ij,ij->i", self._centres, self._centres)
        self.width = len(self._centres)
        apart = float(np.ptp(self._centres, axis=0).max(initial=0.0))
        self._most = FAR * (apart or max(1.0, float(np.abs(self._centres).max(initial=0.0))))

    def apply(self, matrix: Array) -> Array:
        made = -2.0 * (matrix @ self._centres.T)
        made += np.einsum("ij,ij->i", matrix, matrix)[:, np.newaxis]
        made += self._squares
        distances: Array = np.sqrt(np.maximum(made, 0.0))
        if (distances > self._most).any():
            raise PlanError("A row must be near the centres that it is measured from. Got one far from them.")
        return distances
