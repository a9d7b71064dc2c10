"""What is done to numbers before a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.nodes import Node, Of, Values

if TYPE_CHECKING:
    from ekiben.models import Array


class Scale(Of):
    """Subtract and divide, number by number."""

    def __init__(self, of: Node, shift: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__(of)
        self.pairs = list(zip(shift, scale, strict=True))
        self._shift, self._scale = np.array(shift), np.array(scale)

    def row(self, values: Values) -> Sequence[float]:
        return [(value - shift) / scale for value, (shift, scale) in zip(self._row(values), self.pairs, strict=True)]

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
        return [low if value < low else high if value > high else value for value in made]

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

    def apply(self, matrix: Array) -> Array:
        if self._only is None:
            return matrix.astype(np.float32).astype(np.float64)
        made = matrix.copy()
        made[:, self._only] = matrix[:, self._only].astype(np.float32)
        return made
