"""What is done to numbers before a model sees them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import mul, sub, truediv
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import NAN, ByRow, Fold, Node, Of, Table, Values, finite_row

if TYPE_CHECKING:
    from ekiben.models import Array


class Scale(Of):
    """Subtract and divide, number by number."""

    def __init__(self, of: Node, shift: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__(of)
        self.pairs = list(zip(shift, scale, strict=True))
        self._shift, self._scale = np.array(shift, dtype=np.float64), np.array(scale, dtype=np.float64)
        if len(self.pairs) != self.width:
            raise ValueError([len(self.pairs), self.width])
        self._shifts, self._scales = self._shift.tolist(), self._scale.tolist()

    def row(self, values: Values) -> Sequence[float]:
        return list(map(truediv, map(sub, self._row(values), self._shifts), self._scales))

    def fold(self, weights: Sequence[float]) -> Fold:
        row, shifts, scales, kept = self._row, self._shifts, self._scales, tuple(weights)
        return lambda values: sum(map(mul, map(truediv, map(sub, row(values), shifts), scales), kept))

    def weighed(self, table: Table, weights: Array) -> Array:
        by_scale = weights / self._scale
        made: Array = self.of.weighed(table, by_scale) - by_scale @ self._shift
        return made

    def apply(self, matrix: Array) -> Array:
        made: Array = (matrix - self._shift) / self._scale
        return made


class Stretch(Of):
    """Multiply and add, number by number, and keep within `low` and `high` where they are given."""

    def __init__(
        self, of: Node, scale: Sequence[float], add: Sequence[float], low: float | None, high: float | None
    ) -> None:
        super().__init__(of)
        self.pairs = list(zip(scale, add, strict=True))
        self._scale, self._add, self._low, self._high = np.array(scale), np.array(add), low, high

    def row(self, values: Values) -> Sequence[float]:
        made = [value * scale + add for value, (scale, add) in zip(self._row(values), self.pairs, strict=True)]
        low, high = self._low, self._high
        if low is None or high is None:
            return made
        return [low if value < low else min(value, high) for value in made]

    def apply(self, matrix: Array) -> Array:
        made: Array = matrix * self._scale + self._add
        return made if self._low is None else np.clip(made, self._low, self._high)


class Impute(Of):
    """Put a number where one is missing, keep the columns of `keep`, and tell of those of `told` whether one was missing."""

    def __init__(
        self, of: Node, fill: Sequence[float], missing: float | None, keep: Sequence[int], told: Sequence[int]
    ) -> None:
        super().__init__(of)
        self.width = len(keep) + len(told)
        self._fill, self._missing, self.keep, self._told = list(fill), missing, list(keep), list(told)
        self._array = np.array(fill)
        self._plain = missing is None and not told and len(keep) == of.width

    def row(self, values: Values) -> Sequence[float]:
        found = self._row(values)
        if self._plain:
            return [fill if value != value else value for value, fill in zip(found, self._fill, strict=True)]
        made: list[float] = self.apply(np.array([found], dtype=np.float64))[0].tolist()
        return made

    def apply(self, matrix: Array) -> Array:
        gaps = np.isnan(matrix) if self._missing is None else matrix == self._missing
        filled = np.where(gaps, self._array, matrix)
        return filled if self._plain else np.concatenate([filled[:, self.keep], gaps[:, self._told]], axis=1)


class Round(Of):
    """The nearest numbers of 32 bits, as a library sees them that computes with those; of `only` some where they are given."""

    def __init__(self, of: Node, only: Sequence[int] | None = None) -> None:
        super().__init__(of)
        self._only = None if only is None else list(only)
        self._narrow = Struct(f"{of.width}f")

    def row(self, values: Values) -> Sequence[float]:
        found = self._row(values)
        try:
            if self._only is None:
                return self._narrow.unpack(self._narrow.pack(*found))
        except OverflowError:  # infinite, in 32 bits
            pass
        with np.errstate(over="ignore"):
            made: list[float] = self.apply(np.array([found], dtype=np.float64))[0].tolist()
        return made

    def apply(self, matrix: Array) -> Array:
        if self._only is None:
            return matrix.astype(np.float32).astype(np.float64)
        made = matrix.copy()
        made[:, self._only] = matrix[:, self._only].astype(np.float32)
        return made


class Gaps(Of):
    """Let a number that stands for a gap be one; where it is `narrow`, every number that 32 bits round to it, or all `within` so much."""

    def __init__(self, of: Node, marker: float, narrow: bool | None, within: float | None) -> None:
        super().__init__(of)
        around = 0.0 if within is None else within
        self._low, self._high = rounded_to(marker) if narrow else (marker - around, marker + around)

    def row(self, values: Values) -> Sequence[float]:
        low, high = self._low, self._high
        return [NAN if low <= value <= high else value for value in self._row(values)]

    def apply(self, matrix: Array) -> Array:
        return np.where((matrix >= self._low) & (matrix <= self._high), np.nan, matrix)


def rounded_to(number: float) -> tuple[float, float]:
    """Give the least and the largest number of 64 bits that 32 bits round to a number, which is one of theirs.

    >>> [round(end, 9) for end in rounded_to(-999.0)]
    [-999.000030518, -998.999969482]
    """
    near = np.float32(number)
    ends = [(float(near) + float(np.nextafter(near, np.float32(end)))) / 2 for end in (-np.inf, np.inf)]
    if near.view(np.uint32) % 2:  # the middle rounds to the even one of both
        ends = [float(np.nextafter(end, number)) for end in ends]
    return ends[0], ends[1]


class Steps(ByRow):
    """What a line through points gives for each number: `at` in rising order, `values` at them, outside `low` and `high`."""

    def __init__(
        self, of: Node, at: Sequence[float], values: Sequence[float], low: float | None, high: float | None
    ) -> None:
        super().__init__(of)
        self._at, self._values, self._low, self._high = list(at), list(values), low, high
        if len(self._at) != len(self._values):
            raise ValueError(len(self._at))

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        return [self._of(number) for number in numbers]

    def _of(self, number: float) -> float:
        at, values = self._at, self._values
        if number != number:
            return number
        if number - number != 0:  # no library looks for what is infinite on a line
            finite_row((number,))
        if len(at) == 1:
            return values[0]
        if self._low is not None and self._high is not None:
            number = min(max(number, self._low), self._high)
        if not at[0] <= number <= at[-1]:
            return NAN
        j = bisect_right(at, number) - 1
        if at[j] == number:
            return values[j]
        return (values[j + 1] - values[j]) / (at[j + 1] - at[j]) * (number - at[j]) + values[j]
