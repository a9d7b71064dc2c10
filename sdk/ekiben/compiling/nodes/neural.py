"""Layers of a neural network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Finite, Node

if TYPE_CHECKING:
    from ekiben.models import Array


def _logistic(matrix: Array) -> Array:
    power = np.exp(-np.abs(matrix))
    return np.where(matrix >= 0, 1.0 / (1.0 + power), power / (1.0 + power))


def _softmax(matrix: Array) -> Array:
    powers = np.exp(matrix - matrix.max(axis=1)[:, None])
    made: Array = powers / powers.sum(axis=1)[:, None]
    return made


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "identity": lambda matrix: matrix,
    "logistic": _logistic,
    "relu": lambda matrix: np.maximum(matrix, 0),
    "softmax": _softmax,
    "tanh": np.tanh,
}


class Layers(Finite):
    """Weigh, add and bend the numbers, layer by layer; the last layer is bent by `last`."""

    def __init__(
        self, of: Node, coefs: Sequence[Any], intercepts: Sequence[Sequence[float]], hidden: str, last: str
    ) -> None:
        super().__init__(of)
        bends = [ACTIVATIONS[hidden]] * (len(coefs) - 1) + [ACTIVATIONS[last]]
        self._layers = [
            (np.array(coef, dtype=np.float64), np.array(intercept, dtype=np.float64), bend)
            for coef, intercept, bend in zip(coefs, intercepts, bends, strict=True)
        ]
        self.width = len(self._layers[-1][1])

    def apply(self, matrix: Array) -> Array:
        for coef, intercept, bend in self._layers:
            matrix = bend(matrix @ coef + intercept)
        return matrix
