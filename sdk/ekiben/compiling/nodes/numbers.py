"""What is done to numbers before a model sees them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import NAN, ByRow, Node, Of, Values

if TYPE_CHECKING:
    from ekiben.models import Array


class Scale(Of):
    """Subtract and divide, number by number."""

    def __init__(self, of: Node, shift: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__(of)
        self._pairs = list(zip(shift, scale, strict=True))
        self._shift, self._scale = np.array(shift), np.array(scale)

    def row(self, values: Values) -> Sequence[float]:
        return [(value - shift) / scale for value, (shift, scale) in zip(self._row(values), self._pairs, strict=True)]

    def apply(self, matrix: Array) -> Array:
        made: Array = (matrix - self._shift) / self._scale
        return made


class Stretch(Of):
    """Multiply and add, number by number, and keep within `low` and `high` where they are given."""

    def __init__(
        self, of: Node, scale: Sequence[float], add: Sequence[float], low: float | None, high: float | None
    ) -> None:
        super().__init__(of)
        self._pairs = list(zip(scale, add, strict=True))
        self._scale, self._add, self._low, self._high = np.array(scale), np.array(add), low, high

    def row(self, values: Values) -> Sequence[float]:
        made = [value * scale + add for value, (scale, add) in zip(self._row(values), self._pairs, strict=True)]
        if self._low is None or self._high is None:
            return made
        low, high = self._low, self._high
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
        self._fill, self._missing, self._keep, self._told = list(fill), missing, list(keep), list(told)
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
        return filled if self._plain else np.concatenate([filled[:, self._keep], gaps[:, self._told]], axis=1)


class Round(Of):
    """The nearest numbers of 32 bits, as a library sees them that computes with those."""

    def __init__(self, of: Node) -> None:
        super().__init__(of)
        self._narrow = Struct(f"{of.width}f")

    def row(self, values: Values) -> Sequence[float]:
        found = self._row(values)
        try:
            return self._narrow.unpack(self._narrow.pack(*found))
        except OverflowError:  # infinite, in 32 bits
            with np.errstate(over="ignore"):
                made: list[float] = self.apply(np.array([found], dtype=np.float64))[0].tolist()
            return made

    def apply(self, matrix: Array) -> Array:
        return matrix.astype(np.float32).astype(np.float64)


class Gaps(Of):
    """Let a number that stands for a gap be one."""

    def __init__(self, of: Node, marker: float) -> None:
        super().__init__(of)
        self._marker = marker

    def row(self, values: Values) -> Sequence[float]:
        marker = self._marker
        return [NAN if value == marker else value for value in self._row(values)]

    def apply(self, matrix: Array) -> Array:
        return np.where(matrix == self._marker, np.nan, matrix)


class Above(ByRow):
    """1 for a number above `at`, 0 for another."""

    def __init__(self, of: Node, at: float) -> None:
        super().__init__(of)
        self._at = at

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        at = self._at
        return [1.0 if number > at else 0.0 for number in numbers]


class Function(ByRow):
    """A function of one number, by its name."""

    def __init__(self, of: Node, name: str) -> None:
        super().__init__(of)
        self._function = FUNCTIONS[name]

    def one(self, numbers: Sequence[float]) -> Sequence[float]:
        function = self._function
        return [function(number) for number in numbers]


def _or(value: float, function: Callable[[float], float]) -> Callable[[float], float]:
    """Let a function give `value` where Python refuses what numpy answers with."""

    def asked(number: float) -> float:
        try:
            return function(number)
        except (ValueError, OverflowError):
            return value

    return asked


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "cbrt": lambda number: float(np.cbrt(number)),
    "exp": _or(math.inf, math.exp),
    "exp2": _or(math.inf, lambda number: 2.0**number),
    "expm1": _or(math.inf, math.expm1),
    "log": _or(NAN, math.log),
    "log10": _or(NAN, math.log10),
    "log1p": _or(NAN, math.log1p),
    "log2": _or(NAN, math.log2),
    "logistic_log": _or(math.inf, lambda number: math.log1p(math.exp(number))),
    "negative": lambda number: -number,
    "reciprocal": lambda number: 1.0 / number if number else math.inf,
    "signed_square": lambda number: math.copysign(number * number, number),
    "sqrt": _or(NAN, math.sqrt),
    "square": lambda number: number * number,
}


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
