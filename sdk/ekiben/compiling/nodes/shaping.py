"""What bends numbers, or makes more of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Of, Values, finite, finite_row
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array


class Ufunc(Of):
    """A function of numpy's, number by number; where it is `finite`, only of numbers that are."""

    def __init__(self, of: Node, name: str, finite: bool) -> None:  # noqa: FBT001 -- a document's own word
        super().__init__(of)
        function = getattr(np, name)
        if not isinstance(function, np.ufunc) or function.nin != 1:
            raise ValueError(name)
        self._call, self._finite = function, finite

    def apply(self, matrix: Array) -> Array:
        with np.errstate(all="ignore"):
            made: Array = self._call(finite(matrix) if self._finite else matrix)
        return made


class Norm(Finite):
    """Each row divided by its norm: `l1`, `l2` or `max`; one without a norm stays as it is."""

    def __init__(self, of: Node, kind: str, sparse: bool) -> None:  # noqa: FBT001 -- a document's own word
        super().__init__(of)
        self._kind = kind
        # a dense matrix of next to nothing is not divided by it
        self._least = np.nextafter(0.0, 1.0) if sparse else 10 * np.finfo(np.float64).eps

    def apply(self, matrix: Array) -> Array:
        norms = self._norms(matrix)
        norms[norms < self._least] = 1.0
        return matrix / norms[:, np.newaxis]

    def _norms(self, matrix: Array) -> Array:
        if self._kind == "l2":
            squares: Array = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
            return squares
        sizes = np.abs(matrix)
        norms: Array = sizes.sum(axis=1) if self._kind == "l1" else sizes.max(axis=1)
        return norms


class Bend(Of):
    """Each number bent by its own power: as Yeo and Johnson do, or Box and Cox."""

    def __init__(self, of: Node, kind: str, by: Sequence[float]) -> None:
        super().__init__(of)
        self._bend, self._by = {"yeo-johnson": yeo_johnson, "box-cox": box_cox}[kind], list(by)

    def apply(self, matrix: Array) -> Array:
        made = np.empty_like(matrix)
        with np.errstate(all="ignore"):
            for i, by in enumerate(self._by):
                made[:, i] = self._bend(matrix[:, i], by)
        return made


def yeo_johnson(x: Array, by: float) -> Array:
    """Bend numbers of either sign; Yeo, Johnson, "A New Family of Power Transformations", 2000.

    >>> yeo_johnson(np.array([-1.0, 0.0, 3.0]), 1.0).tolist()
    [-1.0, 0.0, 3.0]
    """
    eps = np.finfo(np.float64).eps
    made = np.zeros_like(x)
    above = x >= 0
    up, down = x[above], x[~above]
    made[above] = np.log1p(up) if abs(by) < eps else np.expm1(by * np.log1p(up)) / by
    made[~above] = -np.expm1((2 - by) * np.log1p(-down)) / (2 - by) if abs(by - 2) > eps else -np.log1p(-down)
    return made


def box_cox(x: Array, by: float) -> Array:
    """Bend positive numbers; Box, Cox, "An Analysis of Transformations", 1964.

    Raises
    ------
    PlanError
        If one of them is not positive.

    Examples
    --------
    >>> box_cox(np.array([1.0, 3.0]), 1.0).tolist()
    [0.0, 2.0]
    """
    if (x <= 0).any():
        raise PlanError("A number must be positive to be bent by Box and Cox. Got one that is not.")
    return np.array([_box_cox(value, by) for value in x.tolist()])


def _box_cox(value: float, by: float) -> float:
    if abs(by) < 1e-19:
        return math.log(value)
    grown = by * math.log(value)
    if grown < 709.78:
        return math.expm1(grown) / by
    return math.copysign(1.0, by) * math.exp(grown - math.log(abs(by))) - 1.0 / by


class Quantiles(Of):
    """Where each number stands among the quantiles of its column, from 0 to 1, or what stands there in the normal distribution."""

    def __init__(self, of: Node, quantiles: Array, references: Sequence[float], normal: bool) -> None:  # noqa: FBT001
        super().__init__(of)
        self._quantiles, self._references = np.array(quantiles, dtype=np.float64), np.array(references)
        self._normal = normal

    def apply(self, matrix: Array) -> Array:
        columns = [self._column(matrix[:, i], quantiles) for i, quantiles in enumerate(self._quantiles)]
        return np.stack(columns, axis=1)

    def _column(self, x: Array, quantiles: Array) -> Array:
        # from both sides, so that a number that is several quantiles at once stands in their middle
        up = np.interp(x, quantiles, self._references)
        down = np.interp(-x, -quantiles[::-1], -self._references[::-1])
        made: Array = np.where(np.isnan(x), x, 0.5 * (up - down))
        made[x + NEAR > quantiles[-1] if self._normal else x == quantiles[-1]] = 1.0
        made[x - NEAR < quantiles[0] if self._normal else x == quantiles[0]] = 0.0
        return np.array([_normal(chance) for chance in made.tolist()]) if self._normal else made


NEAR = 1e-7  # so near to the first or last quantile a number stands at the end
ENDS = NormalDist().inv_cdf(NEAR - math.ulp(1.0)), NormalDist().inv_cdf(1 - (NEAR - math.ulp(1.0)))


def _normal(chance: float) -> float:
    """Give the number below which a part of the normal distribution lies, not further out than the ends."""
    low, high = ENDS
    if chance != chance:
        return chance
    if not 0.0 < chance < 1.0:
        return low if chance <= 0.0 else high
    return min(max(NormalDist().inv_cdf(chance), low), high)


class Products(Finite):
    """Products of the numbers: each is an earlier one times a number; -1 is no earlier one, and without a number it is 1."""

    def __init__(self, of: Node, factors: Sequence[tuple[int, int]], keep: Sequence[int]) -> None:
        super().__init__(of)
        self.width, self._factors, self._keep = len(keep), [tuple(each) for each in factors], list(keep)
        self._whole = self._keep == list(range(len(self._factors)))

    def row(self, values: Values) -> Sequence[float]:
        found = finite_row(self._row(values))
        made: list[float] = []
        for before, number in self._factors:
            one = 1.0 if number < 0 else found[number]
            made.append(one if before < 0 else made[before] * one)
        return made if self._whole else [made[i] for i in self._keep]

    def apply(self, matrix: Array) -> Array:
        made = np.empty((len(self._factors), len(matrix)))
        for i, (before, number) in enumerate(self._factors):
            one = 1.0 if number < 0 else matrix[:, number]
            made[i] = one if before < 0 else made[before] * one
        return made[self._keep].T
