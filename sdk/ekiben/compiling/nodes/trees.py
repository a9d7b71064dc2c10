"""Trees, answered by the inner loops; where those are not built, by ONNX Runtime, to the same bit."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben._optional import require
from ekiben.compiling.forest import LEQ, LT, Forest, encode
from ekiben.compiling.nodes import Node, Of, Row, Values
from ekiben.errors import IntegrityError, PlanError
from ekiben.loops import loops, missing

if TYPE_CHECKING:
    from ekiben.models import Array

LARGEST_32 = 3.4028234663852886e38
EXACT = 2.0**53  # up to here an integer is the same in 64 bits of a float


class Trees(Of):
    """What the trees add up to, in the numbers of their library.

    `narrow` says that the library rounds a number to 32 bits first, and so refuses one that these cannot hold; `whole`, that
    it refuses a missing one, wherever a tree would send it. `leaves` are rows of numbers, which the leaves' numbers name.

    An integer above 2**53 was rounded to 64 bits before it comes here, which its library may leave out: where the middle
    of two numbers of 32 bits came of it, and a tree splits up there, there is no answer here.
    """

    def __init__(self, of: Node, forest: Forest, leaves: Array | None, *, narrow: bool, whole: bool = False) -> None:
        super().__init__(of, whole=whole)
        if forest.n_features != of.width:
            raise IntegrityError(f"A plan's trees must fit its features. Got {forest.n_features} for {of.width}.")
        self.forest, self.leaves = forest, leaves
        self.width = forest.n_targets if leaves is None else leaves.shape[1]
        self._grown = widened(forest) if narrow and forest.bits == 64 else forest
        self._kind = np.float32 if forest.bits == 32 else np.float64
        self._threads = threading.local()
        self._far = _far(forest) if narrow else []
        if loops is None or not are_taken(forest):
            _ = engine()  # what is missing here is told where the plan is read, and not by its first row

    @cached_property
    def _taken(self) -> Any:
        return taken_over(self._grown, self.leaves)

    @cached_property
    def _session(self) -> Any:
        return session(encode(self._grown))

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return {number: points.tolist() for number, points in self.forest.split_points.items()}

    @property
    def grown(self) -> Forest:
        """The trees as they meet numbers of 64 bits."""
        return self._grown

    def row(self, values: Values) -> Sequence[float]:
        return self.met(values)[1] if type(values) is Row else self.summed(self._row(values))

    def met(self, row: Row) -> tuple[Sequence[float], Sequence[float]]:
        """Give the features of one row and what the leaves add up to: worked out once, for who predicts and who explains."""
        met: tuple[Sequence[float], Sequence[float]] | None = row.memo.get(self.forest)
        if met is None:
            found = self._row(row)
            met = row.memo[self.forest] = (found, self.summed(found))
        return met

    def summed(self, found: Sequence[float]) -> Sequence[float]:
        """Add up the leaves for the features of one row."""
        if self._far:
            _rounded_once(np.array([[found[i] for i in self._far]], dtype=np.float64))
        if loops is not None and self._taken is not None:
            summed: list[float] | None = loops.row(self._taken, found)
            if summed is None:
                raise PlanError(TOO_LARGE)
            return summed
        if any(abs(value) > LARGEST_32 for value in found):
            raise PlanError(TOO_LARGE)
        try:
            bound = self._threads.bound
        except AttributeError:
            bound = self._threads.bound = Bound(self._session, self.forest, self._kind)
        made: list[float] = self._by_leaves(bound.run(found))[0].tolist()
        return made

    def apply(self, matrix: Array) -> Array:
        if self._far:
            _rounded_once(matrix[:, self._far])
        if loops is not None and self._taken is not None:
            made: Array = np.empty((len(matrix), self.width))
            if not loops.rows(self._taken, np.ascontiguousarray(matrix, dtype=np.float64), made):
                raise PlanError(TOO_LARGE)
            return made
        if np.abs(matrix).max(initial=0.0, where=matrix == matrix) > LARGEST_32:
            raise PlanError(TOO_LARGE)
        (found,) = self._session.run(["y"], {"x": matrix.astype(self._kind, copy=False)})
        return self._by_leaves(found)

    def _by_leaves(self, found: Array) -> Array:
        """Add up the rows of leaves that the trees name, from shape (n_rows, n_trees); else the sums are found already."""
        if self.leaves is None:
            summed: Array = found.astype(np.float64, copy=False)
            return summed
        made: Array = np.add.reduce(self.leaves[found.astype(np.intp)], axis=1)
        return made


class Bound:
    """One row and what the trees make of it, in memory that the engine reads and writes again for each row of a thread."""

    def __init__(self, started: Any, forest: Forest, kind: type) -> None:
        ort = engine()
        self._row: Array = np.zeros((1, forest.n_features), dtype=kind)
        self._made: Array = np.zeros((1, forest.n_targets), dtype=kind)
        self._binding, self._ask = started.io_binding(), started.run_with_iobinding
        self._binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(self._row))
        self._binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(self._made))

    def run(self, row: Sequence[float]) -> Array:
        """Give what the trees add up to for a row: shape (1, n_targets), until the next row."""
        self._row[0] = row
        self._ask(self._binding)
        return self._made


TOO_LARGE = "A number must be one that 32 bits can hold. Got a larger one."
BETWEEN = "A number above 2**53 must be nearer to one number of 32 bits than to the next. Got one that is not."
BELOW, HALF = 2**29 - 1, 2**28  # the bits of a number of 64 bits that 32 do not hold, and half of what these count


def _far(forest: Forest) -> list[int]:
    """List the features that are split above 2**53; beyond what 32 bits hold is what splits the missing from all numbers."""
    size = np.abs(forest.threshold)
    far: list[int] = np.unique(forest.feature[(size >= EXACT) & (size <= LARGEST_32)]).tolist()
    return far


def _rounded_once(matrix: Array) -> None:
    """Refuse numbers above 2**53 in the middle of two numbers of 32 bits: an integer may have been to either side of it."""
    bits = np.ascontiguousarray(matrix, dtype=np.float64).view(np.int64)
    if ((bits & BELOW == HALF) & (np.abs(matrix) > EXACT)).any():
        raise PlanError(BETWEEN)


def are_taken(forest: Forest) -> bool:
    """Tell whether the inner loops take trees, where they are built: those whose numbers are all compared in one way."""
    return bool((forest.mode == LEQ).all() or (forest.mode == LT).all())


def taken_over(forest: Forest, leaves: Array | None) -> Any:
    """Let the inner loops take trees over; None where they are not built, or do not take such trees."""
    if loops is None or not are_taken(forest):
        return None
    threshold = forest.threshold
    if forest.mode[0] == LT:  # below a number is at most the one before it
        threshold = np.nextafter(threshold, threshold.dtype.type(-np.inf))
    ways = (forest.missing_true, forest.true_leaf, forest.true_id, forest.false_leaf, forest.false_id)
    arrays = (
        forest.feature.astype(np.int64),
        threshold.astype(np.float64),
        *(each.astype(np.int64) for each in (*ways, forest.root, forest.leaf_target)),
        forest.leaf_weight.astype(np.float64),
        np.zeros(0) if leaves is None else np.ascontiguousarray(leaves, dtype=np.float64),
    )
    width = forest.n_targets if leaves is None else leaves.shape[1]
    return loops.forest(forest.n_features, width, forest.bits == 32, arrays)


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


def session(data: bytes) -> Any:
    """Start ONNX Runtime on one thread: the workers are what runs side by side."""
    ort = engine()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def engine() -> Any:
    """Give ONNX Runtime.

    Raises
    ------
    MissingExtraError
        If it is not installed, with the reason why the inner loops do not answer in its place.
    """
    why = f", since ekiben's inner loops do not load here ({missing})" if missing else ""
    return require("onnxruntime", to=f"answer by a plan of trees{why}")
