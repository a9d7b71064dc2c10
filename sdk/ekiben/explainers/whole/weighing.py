"""A sparse linear model over raw columns, fitted to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ekiben.explainers._context import Matrix
from ekiben.explainers.alternatives.space import Axis
from ekiben.moments import DAY
from ekiben.overviews import Term

LEAST_GAIN = 0.002  # of the whole variance, for a further column
LEAST_SHARE = 0.01  # of the rows, for a category to have a weight of its own
RIDGE = 1e-6  # so that categories that say the same have one answer


class Feature(NamedTuple):
    """What a column gives to a sum: its number, or 1 at a choice or a gap."""

    place: int
    words: str
    code: float | None  # None for the number itself; NaN for a gap
    middle: float  # what a gap counts as
    spread: float
    scale: float = 1.0  # of a number: what a step of its codes is in the words' unit

    def of(self, codes: Matrix) -> Matrix:
        """Give it for rows."""
        own = codes[:, self.place]
        if self.code is None:
            return np.where(np.isnan(own), self.middle, own) * self.scale
        return np.asarray(np.isnan(own) if self.code != self.code else own == self.code, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A linear model: features, weights of shape (n_features, n_numbers), and a constant for each number."""

    features: tuple[Feature, ...]
    weights: Matrix
    intercept: Matrix
    axes: Sequence[Axis] = field(repr=False)

    def predict(self, codes: Matrix) -> Matrix:
        """Give the numbers of rows: (n_rows, n_numbers)."""
        made = np.tile(self.intercept, (len(codes), 1))
        for feature, weights in zip(self.features, self.weights, strict=True):
            made += np.outer(feature.of(codes), weights)
        return made

    def terms(self, keep: Sequence[int]) -> tuple[Term, ...]:
        """Write the terms with the weights at `keep`, the strongest first."""
        made = [
            Term(
                words=feature.words,
                column=self.axes[feature.place].column.name,
                weights=tuple(weights[list(keep)].tolist()),
                spread=feature.spread,
            )
            for feature, weights in zip(self.features, self.weights, strict=True)
        ]
        return tuple(sorted(made, key=lambda term: -term.spread * max(map(abs, term.weights))))


def fit(axes: Sequence[Axis], codes: Matrix, numbers: Matrix, *, n_columns: int) -> Sum:
    """Take one column after the other, always the one that explains most of what is left, by least squares."""
    offered = {place: _features(axis, place, codes) for place, axis in enumerate(axes)}
    whole = float(((numbers - numbers.mean(axis=0)) ** 2).sum())
    chosen: list[Feature] = []
    missed = whole
    while offered and len({feature.place for feature in chosen}) < n_columns:
        tried = {
            place: _missed(codes, numbers, [*chosen, *features]) for place, features in offered.items() if features
        }
        if not tried:
            break
        place = min(tried, key=lambda each: (tried[each], each))
        if missed - tried[place] <= LEAST_GAIN * whole:
            break
        missed = tried[place]
        chosen += offered.pop(place)
    weights, intercept = _weighed(codes, numbers, chosen)
    return Sum(features=tuple(chosen), weights=weights, intercept=intercept, axes=axes)


def _features(axis: Axis, place: int, codes: Matrix) -> list[Feature]:
    """List the features of a column that tell rows apart."""
    own, name = codes[:, place], axis.column.name
    there = own[~np.isnan(own)]
    wanted: list[tuple[str, float | None]] = []
    if axis.choices is None:
        wanted.append((name if axis.column.kind != "datetime" else f"{name}, a day", None))
    else:
        counts = np.bincount(there.astype(int), minlength=len(axis.choices))
        common = int(counts.argmax())  # what all others are held against
        wanted += [
            (f"{name} is {value!r}", float(code))
            for code, value in enumerate(axis.choices)
            if code != common and counts[code] >= LEAST_SHARE * len(own)
        ]
    wanted += [(f"{name} is missing", np.nan)] * (len(there) < len(own))
    middle = float(np.median(there)) if len(there) else 0.0
    scale = axis.step_ns / DAY if axis.column.kind == "datetime" else 1.0
    made = [Feature(place, words, code, middle, 1.0, scale) for words, code in wanted]
    spreads = [float(feature.of(codes).std()) for feature in made]
    return [each._replace(spread=spread) for each, spread in zip(made, spreads, strict=True) if spread > 0]


def _design(codes: Matrix, features: Sequence[Feature]) -> tuple[Matrix, Matrix]:
    """Give centred features on one scale, and their means."""
    matrix = np.column_stack([feature.of(codes) for feature in features])
    means = matrix.mean(axis=0)
    return (matrix - means) / [feature.spread for feature in features], means


def _solved(matrix: Matrix, numbers: Matrix) -> Matrix:
    powers = matrix.T @ matrix + RIDGE * len(matrix) * np.eye(matrix.shape[1])
    return np.asarray(np.linalg.solve(powers, matrix.T @ (numbers - numbers.mean(axis=0))))


def _missed(codes: Matrix, numbers: Matrix, features: Sequence[Feature]) -> float:
    matrix, _ = _design(codes, features)
    return float(((numbers - numbers.mean(axis=0) - matrix @ _solved(matrix, numbers)) ** 2).sum())


def _weighed(codes: Matrix, numbers: Matrix, features: Sequence[Feature]) -> tuple[Matrix, Matrix]:
    if not features:
        return np.empty((0, numbers.shape[1])), numbers.mean(axis=0)
    matrix, means = _design(codes, features)
    weights = _solved(matrix, numbers) / np.array([feature.spread for feature in features])[:, None]
    return weights, numbers.mean(axis=0) - means @ weights
