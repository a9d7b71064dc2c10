"""Trees, answered by ONNX Runtime, or step by step where they are few."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ekiben._optional import require
from ekiben.compiling.forest import LEQ, Forest, encode
from ekiben.compiling.nodes import Node, Of, Values
from ekiben.errors import IntegrityError, PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

LARGEST_32 = 3.4028234663852886e38
FEW = 12  # so many trees are gone through in Python sooner than an engine is asked

Step: TypeAlias = "tuple[int, float, Step, Step] | int"  # a feature, its threshold, two ways; or a leaf's number


class Trees(Of):
    """What the trees add up to, in the numbers of their library.

    `narrow` says that the library rounds a number to 32 bits first, and so refuses one that these cannot hold. `leaves`
    are rows of numbers, which the leaves' numbers name.
    """

    def __init__(self, of: Node, forest: Forest, leaves: Array | None, *, narrow: bool) -> None:
        super().__init__(of)
        if forest.n_features != of.width:
            raise IntegrityError(f"A plan's trees must fit its features. Got {forest.n_features} for {of.width}.")
        self.forest, self.leaves = forest, leaves
        self.width = forest.n_targets if leaves is None else leaves.shape[1]
        self._kind = np.float32 if forest.bits == 32 else np.float64
        self._grown = widened(forest) if narrow and forest.bits == 64 else forest
        few = len(forest.root) <= FEW and forest.bits == 64 and bool((forest.mode == LEQ).all())
        self._ask = self._walk if few else self._engine
        self._threads = threading.local()

    @cached_property
    def _session(self) -> Any:
        return session(encode(self._grown))

    @cached_property
    def _roots(self) -> list[Step]:
        return steps(self._grown)

    @cached_property
    def _told(self) -> list[list[float]]:
        """Give for each leaf the numbers that it adds to all targets."""
        if self.leaves is not None:
            found: list[list[float]] = self.leaves[self.forest.leaf_weight.astype(np.intp)].tolist()
            return found
        told = np.zeros((len(self.forest.leaf_weight), self.width))
        told[np.arange(len(told)), self.forest.leaf_target] = self.forest.leaf_weight
        listed: list[list[float]] = told.tolist()
        return listed

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return {number: points.tolist() for number, points in self.forest.split_points.items()}

    @property
    def grown(self) -> Forest:
        """The trees as they meet numbers of 64 bits."""
        return self._grown

    def row(self, values: Values) -> Sequence[float]:
        return self.summed(self._row(values))

    def summed(self, found: Sequence[float]) -> Sequence[float]:
        """Add up the leaves for the features of one row."""
        total = sum(map(abs, found))
        if total <= LARGEST_32:  # none is missing, none is too large
            return self._ask(found)
        if any(abs(value) > LARGEST_32 for value in found):
            raise PlanError(TOO_LARGE)
        return self._engine(found)

    def _walk(self, found: Sequence[float]) -> Sequence[float]:
        """Go down tree by tree; no number is missing."""
        told, total = self._told, [0.0] * self.width
        for node in self._roots:
            while type(node) is tuple:
                feature, threshold, yes, no = node
                node = yes if found[feature] <= threshold else no  # noqa: PLW2901 -- further down
            total = [a + b for a, b in zip(total, told[node], strict=True)]  # type: ignore[index]
        return total

    def _engine(self, found: Sequence[float]) -> Sequence[float]:
        try:
            bound = self._threads.bound
        except AttributeError:
            bound = self._threads.bound = Bound(self._session, self.forest, self._kind)
        summed = bound.run(found)
        if self.leaves is not None:
            summed = np.add.reduce(self.leaves[summed.astype(np.intp)], axis=1)
        made: list[float] = summed[0].tolist()
        return made

    def apply(self, matrix: Array) -> Array:
        if np.abs(matrix).max(initial=0.0, where=matrix == matrix) > LARGEST_32:
            raise PlanError(TOO_LARGE)
        (found,) = self._session.run(["y"], {"x": matrix.astype(self._kind, copy=False)})
        if self.leaves is None:
            summed: Array = found.astype(np.float64, copy=False)
            return summed
        made: Array = np.add.reduce(self.leaves[found.astype(np.intp)], axis=1)
        return made


class Bound:
    """One row and what the trees make of it, in memory that the engine reads and writes again for each row of a thread."""

    def __init__(self, engine: Any, forest: Forest, kind: type) -> None:
        ort = require("onnxruntime", to="answer by a plan of trees")
        self._row: Array = np.zeros((1, forest.n_features), dtype=kind)
        self._made: Array = np.zeros((1, forest.n_targets), dtype=kind)
        self._binding, self._ask = engine.io_binding(), engine.run_with_iobinding
        self._binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(self._row))
        self._binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(self._made))

    def run(self, row: Sequence[float]) -> Array:
        """Give what the trees add up to for a row: shape (1, n_targets), until the next row."""
        self._row[0] = row
        self._ask(self._binding)
        return self._made


TOO_LARGE = "A number must be one that 32 bits can hold. Got a larger one."


def widened(forest: Forest) -> Forest:
    """Give trees that see numbers of 64 bits as the given ones see them rounded to 32.

    A number rounds to at most a threshold where it is below the middle between the largest number of 32 bits that is, and
    the next one; the middle itself rounds to the even one of both.
    """
    held = np.clip(forest.threshold, -LARGEST_32, LARGEST_32)
    near = held.astype(np.float32)
    with np.errstate(over="ignore"):  # what is beyond the largest one is not taken
        near = np.where(near > held, np.nextafter(near, np.float32(-np.inf)), near)
        above = np.nextafter(near, np.float32(np.inf)).astype(np.float64)
    middle = (near.astype(np.float64) + np.minimum(above, LARGEST_32)) / 2
    odd = near.view(np.uint32) % 2 == 1
    wide = np.where(odd, np.nextafter(middle, -np.inf), middle)
    most = np.finfo(np.float64).max  # beyond what 32 bits hold, every number is on one side
    wide = np.where(forest.threshold >= LARGEST_32, most, np.where(forest.threshold < -LARGEST_32, -most, wide))
    return replace(forest, threshold=wide)


def steps(forest: Forest) -> list[Step]:
    """Give the root of each tree as steps within steps; every way leads forward, so the last node is made first."""
    made: list[Step] = [0] * len(forest.feature)
    told = [
        values.tolist()
        for values in (
            forest.feature, forest.threshold, forest.true_leaf, forest.true_id, forest.false_leaf, forest.false_id,
        )
    ]  # fmt: skip
    for i, (feature, threshold, yes_leaf, yes, no_leaf, no) in reversed(list(enumerate(zip(*told, strict=True)))):
        made[i] = (feature, threshold, yes if yes_leaf else made[yes], no if no_leaf else made[no])
    return [made[root] for root in forest.root.tolist()]


def session(data: bytes) -> Any:
    """Start ONNX Runtime on one thread: the workers are what runs side by side."""
    ort = require("onnxruntime", to="answer by a plan of trees")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
