"""What is made of how alike a row is to rows that a model keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ekiben.compiling.nodes import Finite, Node, Table, Values, finite, in_parts

if TYPE_CHECKING:
    from ekiben.models import Array

Kernel: TypeAlias = "Callable[[Array], Array]"  # a row's numbers → one number for each row that is kept
ROUNDED = 1e-9  # of the largest number that takes part: more than sums in another order lie apart


class Alike(Finite):
    """Weigh how alike a row is to the rows of `vectors`, and add up: `coef` has shape (width, n_vectors)."""

    def __init__(
        self, of: Node, kernel: Mapping[str, Any], vectors: Any, coef: Any, intercept: Sequence[float]
    ) -> None:
        super().__init__(of)
        held = np.array(vectors, dtype=np.float64)
        self._kernel, self._many = made(kernel, held), many(kernel, held)
        self._n_vectors = len(held)
        self._coef, self._intercept = np.array(coef, dtype=np.float64), np.array(intercept, dtype=np.float64)
        self.width = len(self._intercept)
        if self._coef.shape[0] != self.width:
            raise ValueError(self._coef.shape)

    def row(self, values: Values) -> Sequence[float]:
        found: list[float] = self._one(finite(np.array(self._row(values), dtype=np.float64))).tolist()
        return found

    def apply(self, matrix: Array) -> Array:
        return np.array([self._one(row) for row in matrix]).reshape(len(matrix), self.width)

    def signs(self, table: Table) -> Array:
        """Ask about many rows at once, and about each alone of which a number may be on either side of zero by rounding."""
        if self._many is None:
            return self.block(table)
        matrix = finite(self.of.block(table))
        most = np.abs(self._coef).sum(axis=1)
        parts = [np.zeros((0, self.width))]
        for part in in_parts(matrix, self._n_vectors):
            alike, bound = self._many(part)
            found = alike @ self._coef.T + self._intercept
            unsure = ROUNDED * (bound[:, None] * most + np.abs(self._intercept))
            again = ~(np.abs(found) > unsure).all(axis=1)  # or not finite
            found[again] = self.apply(part[again])
            parts.append(found)
        return np.concatenate(parts)

    def _one(self, row: Array) -> Array:
        found: Array = self._coef @ self._kernel(row) + self._intercept
        return found


class Laplace(Finite):
    """The chance of the second class by a Gaussian process, from how alike a row is to the rows of `vectors`.

    `coef` of shape (n_vectors,) gives the latent mean; what the rows of `spread` give is taken from `itself`, how alike a
    row is to itself, and leaves the latent variance [1]_.

    References
    ----------
    .. [1] Williams, Barber, "Bayesian Classification with Gaussian Processes", 1998, appendix A.
    """

    LAMBDAS = (0.41, 0.4, 0.37, 0.44, 0.39)
    COEFS = (-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654)

    def __init__(self, of: Node, kernel: Mapping[str, Any], vectors: Any, coef: Any, spread: Any) -> None:
        super().__init__(of)
        held = np.array(vectors, dtype=np.float64)
        self._kernel, self._itself = made(kernel, held), itself(kernel)
        self._coef, self._spread = np.array(coef, dtype=np.float64), np.array(spread, dtype=np.float64)
        self.width = 2

    def row(self, values: Values) -> Sequence[float]:
        return self._one(finite(np.array(self._row(values), dtype=np.float64)))

    def apply(self, matrix: Array) -> Array:
        return np.array([self._one(row) for row in matrix]).reshape(len(matrix), self.width)

    def _one(self, row: Array) -> tuple[float, float]:
        alike = self._kernel(row)
        mean, left = float(alike @ self._coef), self._spread @ alike
        return mean, self._chance(mean, self._itself(row) - float(left @ left))

    def _chance(self, mean: float, variance: float) -> float:
        if variance <= 0:
            return math.nan
        alpha = 1 / (2 * variance)
        total = 0.0
        for weight, scale in zip(self.COEFS, self.LAMBDAS, strict=True):
            bent = math.erf(scale * mean * math.sqrt(alpha / (alpha + scale**2)))
            total += weight * (math.sqrt(math.pi / alpha) * bent / (2 * math.sqrt(variance * 2 * math.pi)))
        return total + 0.5 * sum(self.COEFS)


def made(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    """Make the function that tells how alike a row is to each of `vectors`, of shape (n_vectors, n_features)."""
    return KERNELS[doc["kernel"]](doc, vectors)


def itself(doc: Mapping[str, Any]) -> Callable[[Array], float]:
    """Make the function that tells how alike a row is to itself."""
    name = doc["kernel"]
    if name in ("sum", "product"):
        first, second = (itself(part) for part in doc["parts"])
        return (lambda row: first(row) + second(row)) if name == "sum" else (lambda row: first(row) * second(row))
    if name == "exponent":
        base, power = itself(doc["of"]), doc["power"]
        return lambda row: base(row) ** power
    if name == "dot":
        add = doc["add"]
        return lambda row: float(row @ row) + add
    known = doc["value"] if name == "constant" else doc["level"] if name == "white" else 1.0
    return lambda _: known


def _apart(doc: Mapping[str, Any], vectors: Array, power: int) -> Kernel:
    """Make the function that adds up, from the first feature to the last, how far a row is from each vector."""
    scale = np.array(doc.get("scale") or 1.0)
    held = np.ascontiguousarray((vectors / scale).T)

    def apart(row: Array) -> Array:
        difference = held - (row / scale)[:, None]
        if power == 1:
            np.abs(difference, out=difference)
        else:
            difference *= difference
        total: Array = np.add.reduce(difference, axis=0)
        return total

    return apart


def _near(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    apart, gamma = _apart(doc, vectors, 1 if doc["kernel"] == "laplacian" else 2), float(doc["gamma"])
    return lambda row: np.asarray(np.exp(-gamma * apart(row)))


def _linear(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    add = float(doc.get("add", 0.0))
    return lambda row: np.asarray(vectors @ row + add)


def _poly(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    gamma, add, degree = doc["gamma"], doc["add"], doc["degree"]
    return lambda row: (gamma * (vectors @ row) + add) ** degree


def _tanh(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    gamma, add = doc["gamma"], doc["add"]
    return lambda row: np.tanh(gamma * (vectors @ row) + add)


def _matern(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    apart, nu = _apart(doc, vectors, 2), doc["nu"]

    def of(row: Array) -> Array:
        distance = np.sqrt(apart(row))
        if nu == 0.5:
            return np.asarray(np.exp(-distance))
        if nu == 1.5:
            distance = distance * math.sqrt(3)
            return np.asarray((1.0 + distance) * np.exp(-distance))
        distance = distance * math.sqrt(5)
        found: Array = (1.0 + distance + distance**2 / 3.0) * np.exp(-distance)
        return found

    return of


def _quadratic(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    apart, alpha, scale = _apart({}, vectors, 2), doc["alpha"], doc["length"]
    return lambda row: (1 + apart(row) / (2 * alpha * scale**2)) ** -alpha


def _constant(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    return lambda _: np.full(len(vectors), float(doc.get("value", 0.0)))


def _both(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    first, second = (made(part, vectors) for part in doc["parts"])
    if doc["kernel"] == "sum":
        return lambda row: first(row) + second(row)
    return lambda row: first(row) * second(row)


def _exponent(doc: Mapping[str, Any], vectors: Array) -> Kernel:
    of, power = made(doc["of"], vectors), doc["power"]
    return lambda row: of(row) ** power


KERNELS: dict[str, Callable[[Mapping[str, Any], Array], Kernel]] = {
    "constant": _constant,
    "dot": _linear,
    "exponent": _exponent,
    "laplacian": _near,
    "linear": _linear,
    "matern": _matern,
    "poly": _poly,
    "product": _both,
    "quadratic": _quadratic,
    "rbf": _near,
    "sigmoid": _tanh,
    "sum": _both,
    "white": _constant,
}


# ── of many rows at once, up to rounding ────────────────────────────────────────────────────────────────────────────

Many: TypeAlias = "Callable[[Array], tuple[Array, Array]]"  # rows → how alike each is to each vector, and at most


def many(doc: Mapping[str, Any], vectors: Array) -> Many | None:
    """Make what tells how alike many rows are to each of `vectors`, up to rounding, where there is a quicker way than row by row.

    For each row it gives a number beside: what rounding leaves of each is small beside that.
    """
    make = MANY.get(doc["kernel"])
    return None if make is None else make(doc, vectors)


def _many_near(doc: Mapping[str, Any], vectors: Array) -> Many:
    gamma, scale = float(doc["gamma"]), np.array(doc.get("scale") or 1.0)
    held = vectors / scale
    turned, norms = np.ascontiguousarray(held.T), (held * held).sum(axis=1)
    largest = norms.max(initial=0.0)

    def near(rows: Array) -> tuple[Array, Array]:
        scaled = rows / scale
        own = (scaled * scaled).sum(axis=1)
        apart = scaled @ turned
        apart *= -2.0
        apart += norms
        apart += own[:, None]
        np.maximum(apart, 0.0, out=apart)
        apart *= -gamma
        return np.exp(apart, out=apart), 1.0 + gamma * (own + largest)

    return near


def _many_bent(doc: Mapping[str, Any], vectors: Array) -> Many:
    """Of what follows from the products of a row with the vectors: linear, polynomial, sigmoid."""
    name, turned = doc["kernel"], np.ascontiguousarray(vectors.T)
    gamma, add = float(doc.get("gamma", 1.0)), float(doc.get("add", 0.0))
    longest = float(np.sqrt((vectors * vectors).sum(axis=1).max(initial=0.0)))

    def bent(rows: Array) -> tuple[Array, Array]:
        found = rows @ turned
        found *= gamma
        found += add
        bound = abs(gamma) * longest * np.sqrt((rows * rows).sum(axis=1)) + abs(add)
        if name == "sigmoid":
            return np.tanh(found, out=found), 1.0 + bound
        if name == "poly":
            power = int(doc["degree"])
            return _power(found, power), np.maximum(bound, 1.0) ** power * max(power, 1)
        return found, bound

    return bent


def _power(found: Array, power: int) -> Array:
    """Multiply numbers with themselves: quicker than any power."""
    made = np.ones_like(found)
    for _ in range(power):
        made *= found
    return made


MANY: dict[str, Callable[[Mapping[str, Any], Array], Many]] = {
    "linear": _many_bent,
    "poly": _many_bent,
    "rbf": _many_near,
    "sigmoid": _many_bent,
}
