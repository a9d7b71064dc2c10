"""A shallow tree over raw columns, fitted to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ekiben.explainers._context import Matrix
from ekiben.explainers.alternatives.space import Axis
from ekiben.overviews import Branch
from ekiben.schema import Column

Rows: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
LEAST_GAIN = 0.005  # of the whole variance: a split that explains less is not worth a reader's time
ROUNDING = 1e-12  # of the squares: what differs by less is the same
MOST_DIGITS = 15
MOST_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows go left: numbers up to `cut`, or the codes in `left`; and whether missing ones do."""

    place: int
    gain: float
    cut: float = 0.0
    left: tuple[float, ...] | None = None
    gaps_left: bool = False
    has_gaps: bool = False

    def goes_left(self, codes: Matrix) -> Flags:
        """Tell for codes of shape (n_rows, n_columns) which rows go left."""
        own = codes[:, self.place]
        met = own <= self.cut if self.left is None else np.isin(own, self.left)
        return np.asarray(np.where(np.isnan(own), self.gaps_left, met))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A part of the rows with its mean numbers, and the two parts that a split makes of it."""

    n_rows: int
    values: Matrix
    split: Split | None = None
    sides: tuple[Tree, ...] = ()

    def predict(self, codes: Matrix) -> Matrix:
        """Give the numbers of rows: (n_rows, n_numbers)."""
        if self.split is None:
            return np.tile(self.values, (len(codes), 1))
        left = self.split.goes_left(codes)
        made = np.empty((len(codes), len(self.values)))
        for side, rows in zip(self.sides, (left, ~left), strict=True):
            made[rows] = side.predict(codes[rows])
        return made


def grow(axes: Sequence[Axis], codes: Matrix, numbers: Matrix, *, depth: int, least: int) -> Tree:
    """Grow a tree by the largest decrease of squared error [1]_; each leaf keeps at least so many rows.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984.
    """
    whole = float(((numbers - numbers.mean(axis=0)) ** 2).sum())
    worth = max(LEAST_GAIN * whole, ROUNDING * float((numbers**2).sum()))
    return _grown(axes, codes, numbers, depth, least, worth)


def _grown(axes: Sequence[Axis], codes: Matrix, numbers: Matrix, depth: int, least: int, worth: float) -> Tree:
    values = numbers.mean(axis=0)
    splits = [_best(axes[i], i, codes[:, i], numbers, least) for i in range(len(axes))] if depth else []
    best = max((split for split in splits if split is not None), key=lambda split: split.gain, default=None)
    if best is None or best.gain <= worth:
        return Tree(n_rows=len(codes), values=values)
    left = best.goes_left(codes)
    sides = (_grown(axes, codes[rows], numbers[rows], depth - 1, least, worth) for rows in (left, ~left))
    return Tree(n_rows=len(codes), values=values, split=best, sides=tuple(sides))


def _best(axis: Axis, place: int, codes: Matrix, numbers: Matrix, least: int) -> Split | None:
    """Find the best split of one column; categories are ordered by their mean numbers before."""
    gaps = np.isnan(codes)
    ranks, known = (codes, None) if axis.is_ordered else _ranked(codes, numbers)
    found = None
    for gaps_left in (False, True) if gaps.any() else (False,):
        filled = np.where(gaps, -np.inf if gaps_left else np.inf, ranks)
        at = _cut(filled, numbers, least)
        if at is not None and (found is None or at[0] > found[0]):
            found = (*at, gaps_left)
    if found is None:
        return None
    gain, low, high, gaps_left = found
    side: dict[str, Any] = {"place": place, "gain": gain, "gaps_left": gaps_left, "has_gaps": bool(gaps.any())}
    if known is not None:
        return Split(**side, left=tuple(known[: int(low) + 1].tolist() if np.isfinite(low) else ()))
    return Split(**side, cut=_between(axis.column, low, high))


def _ranked(codes: Matrix, numbers: Matrix) -> tuple[Matrix, Matrix]:
    """Order categories along the direction in which their means differ most: of one number, by their means."""
    known, ids = np.unique(codes[~np.isnan(codes)], return_inverse=True)
    if not len(known):
        return codes, known
    counts = np.bincount(ids)
    sums = np.zeros((len(known), numbers.shape[1]))
    np.add.at(sums, ids, numbers[~np.isnan(codes)])
    centred = sums / counts[:, None] - numbers.mean(axis=0)
    line = centred[:, 0]
    if numbers.shape[1] > 1:
        direction = np.linalg.svd(centred * np.sqrt(counts)[:, None], full_matrices=False)[2][0]
        line = centred @ (direction if direction[np.abs(direction).argmax()] > 0 else -direction)
    order = np.argsort(line.round(12), kind="stable")
    places = np.argsort(order, kind="stable").astype(np.float64)
    ranks = np.full(len(codes), np.nan)
    ranks[~np.isnan(codes)] = places[ids]
    return ranks, known[order]


def _cut(codes: Matrix, numbers: Matrix, least: int) -> tuple[float, float, float] | None:
    """Find where to cut a line of rows: how much error that saves, and the codes on both sides of the cut."""
    order = np.argsort(codes, kind="stable")
    line, sums = codes[order], numbers[order].cumsum(axis=0)
    n = len(line)
    ends = np.flatnonzero(line[:-1] < line[1:]) + 1  # so many rows go left
    ends = ends[(ends >= least) & (ends <= n - least)]
    if not len(ends):
        return None
    left, whole = sums[ends - 1], sums[-1]
    sizes = ends[:, None]
    gains = (left**2 / sizes + (whole - left) ** 2 / (n - sizes) - whole**2 / n).sum(axis=1)
    best = int(np.argmax(gains))
    return float(gains[best]), float(line[ends[best] - 1]), float(line[ends[best]])


def _between(column: Column, low: float, high: float) -> float:
    """Choose a cut from `low` up to but not including `high`: of numbers the middle, as short as it can be written."""
    if not np.isfinite(high) or not np.isfinite(low) or column.kind != "number":
        return low  # nothing but missing values lies above it, or a value of its own is the plainest
    middle = low + (high - low) / 2
    digits = range(-MOST_DIGITS, MOST_DIGITS)
    return next((cut for cut in (round(middle, n) for n in digits) if low <= cut < high), low)


# ── in words ───────────────────────────────────────────────────────────────────────────────────────────────────────


def told(tree: Tree, axes: Sequence[Axis], keep: Sequence[int], n_rows: int, condition: str = "") -> Branch:
    """Write a tree in the words of its columns, with the numbers at `keep`."""
    branches: tuple[Branch, ...] = ()
    if tree.split is not None:
        words = _conditions(tree.split, axes[tree.split.place])
        branches = tuple(told(side, axes, keep, n_rows, each) for side, each in zip(tree.sides, words, strict=True))
    return Branch(
        condition=condition,
        share=tree.n_rows / n_rows,
        values=tuple(tree.values[list(keep)].tolist()),
        branches=branches,
    )


def _conditions(split: Split, axis: Axis) -> tuple[str, str]:
    name, gaps = axis.column.name, " or missing" if split.has_gaps else ""
    left, right = (gaps, "") if split.gaps_left else ("", gaps)
    if split.left is not None:
        assert axis.choices is not None
        inside = [axis.choices[int(code)] for code in sorted(split.left)]
        outside = [value for code, value in enumerate(axis.choices) if code not in split.left]
        return _one_of(name, inside, outside, left), _one_of(name, outside, inside, right)
    if split.cut == -np.inf:
        return f"{name} is missing", f"{name} is there"
    cut = _spelt(axis, split.cut)
    return f"{name} <= {cut}{left}", f"{name} > {cut}{right}"


def _one_of(name: str, inside: Sequence[object], outside: Sequence[object], gaps: str) -> str:
    if not inside:
        return f"{name} is missing"
    if len(inside) == 1:
        return f"{name} is {inside[0]!r}{gaps}"
    if len(inside) > MOST_NAMED and len(outside) <= MOST_NAMED:
        return f"{name} is none of {', '.join(map(repr, outside))}{gaps}" if outside else f"{name} is there"
    more = f", … {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
    return f"{name} is one of {', '.join(map(repr, inside[:MOST_NAMED]))}{more}{gaps}"


def _spelt(axis: Axis, code: float) -> str:
    (value,) = axis.values(np.array([code]), None, np.nan)
    return f"{value:.12g}" if isinstance(value, float) else str(value)
