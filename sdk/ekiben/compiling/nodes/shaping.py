"""What bends numbers, or makes more of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import Doc, Finite, Node, Of, Values, bounded, bounded_row, finite, finite_row
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

FAR = 1e8  # from 0, where a sum of 64 bits is rounded by some 1e-8


class Ufunc(Of):
    """A function of numpy's, number by number; where it is `finite`, only of numbers that are."""

    def __init__(self, of: Node, name: str, finite: bool) -> None:
        super().__init__(of)
        function = getattr(np, name)
        if not isinstance(function, np.ufunc) or function.nin != 1:
            raise ValueError(name)
        self._call, self._finite = function, finite
        self._waves = finite and name == "cos"

    def apply(self, matrix: Array) -> Array:
        with np.errstate(all="ignore"):
            made: Array = self._call(finite(matrix) if self._finite else matrix)
        if self._waves and (np.abs(matrix) > FAR).any():
            raise PlanError(
                "A wave must be asked near 0, as sums far from it are rounded by more than a wave. Got one far from it."
            )
        return bounded(made)


class Norm(Finite):
    """Each row divided by its norm: `l1`, `l2` or `max`; one without a norm stays as it is."""

    def __init__(self, of: Node, kind: str, sparse: bool) -> None:
        super().__init__(of)
        self._kind = kind
        # a dense matrix of next to nothing is not divided by it
        self._least = np.nextafter(0.0, 1.0) if sparse else 10 * np.finfo(np.float64).eps

    def apply(self, matrix: Array) -> Array:
        norms = self._norms(matrix)
        norms[norms < self._least] = 1.0
        made: Array = matrix / norms[:, np.newaxis]
        return made

    def _norms(self, matrix: Array) -> Array:
        if self._kind == "l2":
            squares: Array = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
            return squares
        sizes = np.abs(matrix)
        norms: Array = sizes.sum(axis=1) if self._kind == "l1" else sizes.max(axis=1)
        return norms


class YeoJohnson(Of):
    """Each number bent by its own power, above and below zero; Yeo, Johnson, "A New Family of Power Transformations", 2000."""

    def __init__(self, of: Node, by: Sequence[float]) -> None:
        super().__init__(of)
        eps = np.finfo(np.float64).eps
        above = np.array(by)
        self._above, self._below = (
            np.where(np.abs(above) < eps, 0.0, above),
            np.where(np.abs(above - 2) > eps, 2 - above, 0),
        )
        self._straight = bool((self._above != 0).all() and (self._below != 0).all())

    def apply(self, matrix: Array) -> Array:
        with np.errstate(all="ignore"):
            positive = bounded(matrix) >= 0
            by, grown = np.where(positive, self._above, self._below), np.log1p(np.abs(matrix))
            bent = np.expm1(by * grown) / by
            bent = bent if self._straight else np.where(by == 0, grown, bent)
            return np.where(positive, bent, -bent)


class BoxCox(Of):
    """Each positive number bent by its own power; Box, Cox, "An Analysis of Transformations", 1964."""

    def __init__(self, of: Node, by: Sequence[float]) -> None:
        super().__init__(of)
        self._by = list(by)

    def row(self, values: Values) -> Sequence[float]:
        return [box_cox(value, by) for value, by in zip(self._row(values), self._by, strict=True)]

    def apply(self, matrix: Array) -> Array:
        columns = zip(matrix.T.tolist(), self._by, strict=True)
        return np.array([[box_cox(value, by) for value in column] for column, by in columns]).T


def box_cox(value: float, by: float) -> float:
    """Bend a positive number; a missing one stays missing.

    Raises
    ------
    PlanError
        If it is not positive, or infinite, which a power below 0 would hide.

    Examples
    --------
    >>> box_cox(3.0, 1.0)
    2.0
    """
    if value <= 0 or value == math.inf:
        raise PlanError("A number must be positive and finite to be bent by Box and Cox. Got one that is not.")
    if abs(by) < 1e-19:
        return math.log(value)
    grown = by * math.log(value)
    if grown < 709.78:
        return math.expm1(grown) / by
    return math.copysign(1.0, by) * math.exp(grown - math.log(abs(by))) - 1.0 / by


class Quantiles(Of):
    """Where each number stands among the quantiles of its column, from 0 to 1, or what stands there in the normal distribution."""

    def __init__(self, of: Node, quantiles: Array, references: Sequence[float], normal: bool) -> None:
        super().__init__(of)
        places = [float(each) for each in references]
        turned = [-place for place in reversed(places)]
        self._columns = []
        for column in np.asarray(quantiles, dtype=np.float64).tolist():
            self._columns.append((column, [-quantile for quantile in reversed(column)]))
        self._up, self._down, self._normal = places, turned, normal
        self._near = NEAR if normal else 0.0

    def row(self, values: Values) -> Sequence[float]:
        return [
            self._place(float(value), *columns)  # an integer as 64 bits hold it
            for value, columns in zip(bounded_row(self._row(values)), self._columns, strict=True)
        ]

    def _place(self, value: float, quantiles: list[float], turned: list[float]) -> float:
        if value != value:
            return value
        if self._is_at(value - self._near, quantiles[0], below=True):
            place = 0.0
        elif self._is_at(value + self._near, quantiles[-1], below=False):
            place = 1.0
        else:  # from both sides, so that a number that is several quantiles at once stands in their middle
            place = 0.5 * (between(value, quantiles, self._up) - between(-value, turned, self._down))
        return normal(place) if self._normal else place

    def _is_at(self, value: float, end: float, *, below: bool) -> bool:
        return (value < end if below else value > end) if self._normal else value == end

    def apply(self, matrix: Array) -> Array:
        found = bounded(matrix)
        columns = [self._placed(found[:, i], *map(np.array, columns)) for i, columns in enumerate(self._columns)]
        return np.stack(columns, axis=1)

    def _placed(self, x: Array, quantiles: Array, turned: Array) -> Array:
        made = 0.5 * (np.interp(x, quantiles, self._up) - np.interp(-x, turned, self._down))
        made[x + self._near > quantiles[-1] if self._normal else x == quantiles[-1]] = 1.0
        made[x - self._near < quantiles[0] if self._normal else x == quantiles[0]] = 0.0
        if not self._normal:
            return made
        return np.array([place if place != place else normal(place) for place in made.tolist()])


NEAR = 1e-7  # so near to the first or last quantile a number stands at the end


def between(value: float, points: Sequence[float], places: Sequence[float]) -> float:
    """Find the place of a value on the straight lines between points.

    >>> between(1.5, [0.0, 1.0, 2.0], [0.0, 10.0, 30.0])
    20.0
    """
    i = bisect_right(points, value) - 1
    if i < 0:
        return places[0]
    if i == len(points) - 1 or points[i] == value:
        return places[i]
    return (places[i + 1] - places[i]) / (points[i + 1] - points[i]) * (value - points[i]) + places[i]


def normal(chance: float) -> float:
    """Give the number below which a part of the normal distribution lies, not further out than the ends."""
    low, high = ENDS
    if not NEAR <= chance <= 1 - NEAR:
        return low if chance < NEAR else high
    return min(max(normal_quantile(chance), low), high)


TAIL = math.exp(-2)
ROOT = 2.5066282746310007  # of twice pi, as it is rounded there
CENTRE_P = (
    -59.9633501014107895267,
    98.0010754185999661536,
    -56.6762857469070293439,
    13.9312609387279679503,
    -1.23916583867381258016,
)
CENTRE_Q = (
    1.95448858338141759834,
    4.67627912898881538453,
    86.3602421390890590575,
    -225.462687854119370527,
    200.260212380060660359,
    -82.0372256168333339912,
    15.9056225126211695515,
    -1.18331621121330003142,
)
TAIL_P = (
    4.05544892305962419923,
    31.5251094599893866154,
    57.1628192246421288162,
    44.0805073893200834700,
    14.6849561928858024014,
    2.18663306850790267539,
    -0.140256079171354495875,
    -3.50424626827848203418e-2,
    -8.57456785154685413611e-4,
)
TAIL_Q = (
    15.7799883256466749731,
    45.3907635128879210584,
    41.3172038254672030440,
    15.0425385692907503408,
    2.50464946208309415979,
    -0.142182922854787788574,
    -3.80806407691578277194e-2,
    -9.33259480895457427372e-4,
)


def normal_quantile(chance: float) -> float:
    """Give the number below which a part of the normal distribution lies, to the bit as `scipy.special.ndtri` gives it.

    A tree behind it has its thresholds at such numbers: one bit more or less would be another leaf. For parts above 2e-14,
    and below 1 by as much; by the rational functions of [1]_.

    References
    ----------
    .. [1] Moshier, "Methods and Programs for Mathematical Functions", 1989; the Cephes library.

    Examples
    --------
    >>> normal_quantile(0.5), normal_quantile(0.025)
    (0.0, -1.9599639845400545)
    """
    is_above = chance > 1.0 - TAIL
    part = 1.0 - chance if is_above else chance
    if part > TAIL:
        part -= 0.5
        square = part * part
        bent = square * _polynomial(square, CENTRE_P) / _polynomial(square, CENTRE_Q, 1.0)
        return (part + part * bent) * ROOT
    far = math.sqrt(-2.0 * math.log(part))
    near = 1.0 / far
    found = far - math.log(far) / far - near * _polynomial(near, TAIL_P) / _polynomial(near, TAIL_Q, 1.0)
    return found if is_above else -found


def _polynomial(x: float, coefs: Sequence[float], first: float = 0.0) -> float:
    total = first
    for coef in coefs:
        total = total * x + coef
    return total


ENDS = normal_quantile(NEAR - math.ulp(1.0)), normal_quantile(1 - (NEAR - math.ulp(1.0)))


class Products(Finite):
    """Products of the numbers: each is an earlier one times a number; -1 is no earlier one, and without a number it is 1."""

    def __init__(self, of: Node, factors: Sequence[tuple[int, int]], keep: Sequence[int]) -> None:
        super().__init__(of)
        self.width, self._factors, self._keep = len(keep), [tuple(each) for each in factors], list(keep)
        self._whole = self._keep == list(range(len(self._factors)))

    def row(self, values: Values) -> Sequence[float]:
        found = [*map(float, finite_row(self._row(values)))]  # of integers Python would keep every digit
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


class Splines(Finite):
    """The splines of each number: `knots` has shape (n_columns, n_knots); de Boor, "A Practical Guide to Splines", 1978.

    `outside` says what is beyond the knots of the fit: as `ends` gives it (`constant`, `linear`), the first and last
    piece (`continue`), the same again (`periodic`), or nothing (`error`). `ends` holds values and slopes at the first
    and the last knot, of shape (n_columns, 4, n_splines).
    """

    def __init__(self, of: Node, doc: Doc) -> None:
        super().__init__(of)
        self._knots, self._ends = np.array(doc["knots"], dtype=np.float64), np.array(doc["ends"], dtype=np.float64)
        self._degree, self._outside, self._n = int(doc["degree"]), doc["outside"], int(doc["n_splines"])
        self._kept = [i for i in range(self._n * of.width) if doc["bias"] or (i + 1) % self._n]
        self.width, self._last = len(self._kept), self._knots.shape[1] - self._degree - 2
        self._low, self._high = self._knots[:, self._degree], self._knots[:, self._last + 1]

    def apply(self, matrix: Array) -> Array:
        below, above = matrix < self._low, matrix > self._high
        if self._outside == "error" and (below | above).any():
            raise PlanError("A number must lie within the knots of a spline. Got one beyond them.")
        x = matrix
        if self._outside == "periodic":
            x = self._low + (x - self._low) % (self._high - self._low)
        elif self._outside != "continue":
            x = np.clip(x, self._low, self._high)
        made = self._pieces(x)
        if self._outside in ("constant", "linear"):
            for beyond, knot, i in ((below, self._low, 0), (above, self._high, 2)):
                slopes = self._ends[:, i + 1] * (self._outside == "linear")
                straight = self._ends[:, i] + (matrix - knot)[:, :, np.newaxis] * slopes
                made = np.where(beyond[:, :, np.newaxis], straight, made)
        return made.reshape(len(matrix), -1)[:, self._kept]

    def _pieces(self, x: Array) -> Array:
        """Give each spline at each number, of shape (n_rows, n_columns, n_splines)."""
        first = (self._knots <= x[:, :, np.newaxis]).sum(axis=2) - 1
        first = np.minimum(np.maximum(first, self._degree), self._last)
        knots, start = self._knots.reshape(-1), first + np.arange(x.shape[1]) * self._knots.shape[1]
        pieces = [np.ones_like(x)]
        for j in range(1, self._degree + 1):
            before, pieces = pieces, [np.zeros_like(x) for _ in range(j + 1)]
            for n in range(1, j + 1):
                right, left = knots[start + n], knots[start + n - j]
                gap = right - left
                weight = np.where(gap == 0, 0.0, before[n - 1] / np.where(gap == 0, 1.0, gap))
                pieces[n - 1] += weight * (right - x)
                pieces[n] = weight * (x - left)
        made = np.zeros((*x.shape, self._n))
        flat, row = made.reshape(-1), (np.arange(x.size) * self._n).reshape(x.shape)
        for j, piece in enumerate(pieces):
            flat[row + (first - self._degree + j) % self._n] += piece
        return made
