"""What is made of the answers of several models: votes, averages, medians."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import ByRow, Node, Of, Table, Values
from ekiben.compiling.nodes.links import exp

if TYPE_CHECKING:
    from ekiben.models import Array


def chooser(rule: Mapping[str, Any]) -> Callable[[Sequence[float]], int]:
    """Give the function that chooses a label's number from the numbers of one row."""
    at = rule.get("at", 0.0)
    if rule["rule"] == "above":
        return (lambda numbers: numbers[0] > at) if rule["strict"] else (lambda numbers: numbers[0] >= at)
    if rule["rule"] == "number":
        return lambda numbers: int(numbers[0])
    if rule["rule"] != "largest":
        raise ValueError(rule["rule"])
    return lambda numbers: numbers.index(max(numbers))


def chosen(rule: Mapping[str, Any], numbers: Array) -> Array:
    """Choose the labels' numbers from the numbers of many rows."""
    if rule["rule"] == "above":
        above: Array = numbers[:, 0] > rule["at"] if rule["strict"] else numbers[:, 0] >= rule["at"]
        return above.astype(int)
    if rule["rule"] == "number":
        return numbers[:, 0].astype(int)
    largest: Array = numbers.argmax(axis=1)
    return largest


class Chosen(Of):
    """The numbers that stand for a label: `rows` has one row for each, and `rule` tells which it is."""

    def __init__(self, of: Node, rule: Mapping[str, Any], rows: Sequence[Sequence[float]]) -> None:
        super().__init__(of)
        self._rule, self._choose = dict(rule), chooser(rule)
        self._rows, self._table = [list(row) for row in rows], np.array(rows, dtype=np.float64)
        self.width = self._table.shape[1]

    def row(self, values: Values) -> Sequence[float]:
        return self._rows[self._choose(self._row(values))]

    def apply(self, matrix: Array) -> Array:
        made: Array = self._table[chosen(self._rule, matrix)]
        return made


class Sum(Node):
    """Add up the numbers of several nodes, one node after the other, weighed where there are weights, and divide by `by`."""

    def __init__(self, parts: Sequence[Node], weights: Sequence[float] | None, by: float) -> None:
        self.width = parts[0].width
        if any(part.width != self.width for part in parts):
            raise ValueError([part.width for part in parts])
        self.parts, self._weights, self._by = tuple(parts), weights, by

    def row(self, values: Values) -> Sequence[float]:
        total: Sequence[float] = ()
        for i, part in enumerate(self.parts):
            found = part.row(values)
            if self._weights is not None:
                weight = self._weights[i]
                found = [number * weight for number in found]
            total = [a + b for a, b in zip(total, found, strict=True)] if i else found
        return [number / self._by for number in total]

    def block(self, table: Table) -> Array:
        weights = self._weights or [1.0] * len(self.parts)
        total = self.parts[0].block(table) * weights[0]
        for part, weight in zip(self.parts[1:], weights[1:], strict=True):
            total = total + part.block(table) * weight
        made: Array = total / self._by
        return made


class Median(ByRow):
    """The number at which half of the weights is reached, from the smallest number on."""

    def __init__(self, of: Node, weights: Sequence[float]) -> None:
        super().__init__(of)
        self.width, self._weights = 1, np.array(weights)

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        order = np.argsort(np.array(numbers))
        reached = np.cumsum(self._weights[order])
        return (numbers[order[int((reached >= 0.5 * reached[-1]).argmax())]],)


class Duels(ByRow):
    """The votes of a duel for each pair of classes, in the order 0–1, 0–2, …, 1–2, …: a number above 0 is for the first."""

    def __init__(self, of: Node, n_classes: int) -> None:
        super().__init__(of)
        self.width = n_classes
        self._pairs = list(pairs(n_classes))

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        votes = [0.0] * self.width
        for number, (first, second) in zip(numbers, self._pairs, strict=True):
            votes[first if number > 0 else second] += 1.0
        return votes

    def apply(self, matrix: Array) -> Array:
        won = matrix > 0
        firsts, seconds = (np.eye(self.width)[[pair[side] for pair in self._pairs]] for side in (0, 1))
        made: Array = won @ firsts + ~won @ seconds  # counts, and so the same in any order
        return made


class Confidence(ByRow):
    """Votes for each class with, between them, the sum of the confidences; the first half of the numbers are votes.

    What votes for the second class of a pair is 1 and for the first 0; a confidence above 0 is for the second.
    """

    def __init__(self, of: Node, n_classes: int) -> None:
        super().__init__(of)
        self.width = n_classes
        self._pairs = list(pairs(n_classes))

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        votes, sums, half = [0.0] * self.width, [0.0] * self.width, len(self._pairs)
        for k, (first, second) in enumerate(self._pairs):
            sums[first] -= numbers[half + k]
            sums[second] += numbers[half + k]
            votes[second if numbers[k] else first] += 1.0
        return [vote + total / (3 * (abs(total) + 1)) for vote, total in zip(votes, sums, strict=True)]


def pairs(n_classes: int) -> list[tuple[int, int]]:
    """List each pair of classes once.

    >>> pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(i, j) for i in range(n_classes) for j in range(i + 1, n_classes)]


class Coupled(ByRow):
    """Chances of each class from the margins of each pair, as libsvm couples them.

    `slopes` and `offsets` are of Platt's logistic function for each pair [1]_.

    References
    ----------
    .. [1] Wu, Lin, Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", 2004.
    """

    def __init__(self, of: Node, slopes: Sequence[float], offsets: Sequence[float], n_classes: int) -> None:
        super().__init__(of)
        self.width = n_classes
        self._known = list(zip(pairs(n_classes), slopes, offsets, strict=True))

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        n = self.width
        won = [[0.0] * n for _ in range(n)]
        for number, ((i, j), slope, offset) in zip(numbers, self._known, strict=True):
            won[i][j] = min(max(_platt(number * slope + offset), SMALLEST), 1 - SMALLEST)
            won[j][i] = 1 - won[i][j]
        return _coupled(won, n)


SMALLEST = 1e-7


def _platt(value: float) -> float:
    return exp(-value) / (1.0 + exp(-value)) if value >= 0 else 1.0 / (1 + exp(value))


def _coupled(won: list[list[float]], n: int) -> list[float]:
    """Find the chances that fit best what each class wins against each other, step by step as libsvm does."""
    chances, q = [1.0 / n] * n, [[-won[t][j] * won[j][t] for j in range(n)] for t in range(n)]
    for t in range(n):
        q[t][t] = _added([won[j][t] * won[j][t] for j in range(n) if j != t])
    for _ in range(max(100, n)):
        qp = [_added([q[t][j] * chances[j] for j in range(n)]) for t in range(n)]
        pqp = _added([chances[t] * qp[t] for t in range(n)])
        if max(abs(each - pqp) for each in qp) < 0.005 / n:
            break
        for t in range(n):
            step = (-qp[t] + pqp) / q[t][t]
            chances[t] += step
            pqp = (pqp + step * (step * q[t][t] + 2 * qp[t])) / (1 + step) / (1 + step)
            qp = [(qp[j] + step * q[t][j]) / (1 + step) for j in range(n)]
            chances = [chance / (1 + step) for chance in chances]
    return chances


def _added(numbers: list[float]) -> float:
    """Add one after the other; from Python 3.12 on `sum` is more exact than libsvm."""
    total = 0.0
    for number in numbers:
        total += number
    return total
