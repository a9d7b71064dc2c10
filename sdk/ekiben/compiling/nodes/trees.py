"""Trees, answered by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben._optional import require
from ekiben.compiling.forest import Forest, encode
from ekiben.compiling.nodes import Node, Of, Values
from ekiben.errors import IntegrityError, PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

LARGEST_32 = 3.4028234663852886e38


class Trees(Of):
    """What the trees add up to, in the numbers of their library.

    `finite` says that the library refuses a number that 32 bits cannot hold; it always does, but for one that is missing.
    """

    def __init__(self, of: Node, forest: Forest, leaves: Array | None, *, narrow: bool) -> None:
        super().__init__(of)
        if forest.n_features != of.width:
            raise IntegrityError(f"A plan's trees must fit its features. Got {forest.n_features} for {of.width}.")
        self.forest, self.leaves = forest, leaves
        self.width = forest.n_targets if leaves is None else leaves.shape[1]
        self._kind = np.float32 if forest.bits == 32 else np.float64
        self._narrow = narrow

    @cached_property
    def _run(self) -> Any:
        return session(encode(self.forest)).run

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return {number: points.tolist() for number, points in self.forest.split_points.items()}

    def row(self, values: Values) -> Sequence[float]:
        made: list[float] = self.apply(np.array([self._row(values)], dtype=np.float64))[0].tolist()
        return made

    def apply(self, matrix: Array) -> Array:
        if np.abs(matrix).max(initial=0.0, where=matrix == matrix) > LARGEST_32:
            raise PlanError("A number must be one that 32 bits can hold. Got a larger one.")
        data = matrix.astype(np.float32) if self._narrow else matrix
        found = self._run(["y"], {"x": data.astype(self._kind, copy=False)})[0]
        if self.leaves is None:
            summed: Array = found.astype(np.float64, copy=False)
            return summed
        made: Array = np.add.reduce(self.leaves[found.astype(np.intp)], axis=1)
        return made


def session(data: bytes) -> Any:
    """Start ONNX Runtime on one thread: the workers are what runs side by side."""
    ort = require("onnxruntime", to="answer by a plan of trees")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
