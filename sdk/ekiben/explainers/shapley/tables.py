"""Shapley values from tables: what every branch adds to each feature, for all ways in which a row can meet its splits.

A *branch* is a part of a tree that hangs on at most eight questions: whether the row keeps to the ranges on the way there,
and which way it goes at each split within. Their answers are one byte, and the byte names a row of the branch's table. So a
row costs one search a feature, some bits, and one look-up a branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.errors import IntegrityError
from ekiben.explainers._header import read_array
from ekiben.explainers.shapley.bins import Bins
from ekiben.loops import loops

if TYPE_CHECKING:
    from ekiben.models import Array

LANES = 2  # sums that branches are added to in turn


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the trees of one output add to each feature of a row, looked up.

    Parameters
    ----------
    bins
        Of the forest.
    answers
        For each feature a byte row for each bin, the last for a missing number: the answers to the questions on it.
    slots
        Where the bit of each of the eight questions of each branch is: shape (8 n_branches,).
    begins
        Where the table of each branch begins: shape (n_branches,).
    table
        What is added, for each byte that a branch can get: shape (n_rows, n_slots).
    owners
        Which feature of the model each slot of each branch is of; `n_players` for none: shape (n_branches * n_slots,).
    base
        What the trees give on average.
    """

    bins: Bins
    answers: list[Array]
    slots: Array
    begins: Array
    table: Array
    owners: Array
    base: float
    n_players: int = field(init=False)
    _taken: Any = field(init=False)

    def __post_init__(self) -> None:
        """Count the features of the model once, see that the arrays fit, and let the inner loops take them over."""
        object.__setattr__(self, "n_players", self.bins.n_players)
        self._check()
        object.__setattr__(self, "_taken", self._taken_over())

    def _taken_over(self) -> Any:
        """Give what the inner loops hold of the tables; None where they are not built, or there is nothing to look up."""
        if loops is None or not len(self.begins) or self.table.dtype not in (np.float32, np.float64):
            return None
        edges = [np.asarray(each, dtype=np.float64) for each in self.bins.edges]
        parts = (
            np.concatenate(edges),
            np.array([len(each) for each in edges], dtype=np.int64),
            np.concatenate([each.ravel() for each in self.answers]),
            np.array([each.shape[1] for each in self.answers], dtype=np.int64),
            *(each.astype(np.int64) for each in (self.slots, self.begins, self.owners)),
        )
        bins, single = self.bins, self.table.dtype == np.float32
        try:
            return loops.tables(self.n_players, bins.strict, bins.bits == 32, single, self.table, parts)
        except ValueError:
            raise IntegrityError(_UNFIT) from None

    def row(self, features: Sequence[float]) -> Sequence[float]:
        """Break the sum for a row down: one number for each feature."""
        if loops is not None and self._taken is not None:
            parts: list[float] = loops.parts(self._taken, features)
            return parts
        bins, answers = self.bins.row(features), self.answers
        told = [answers[i][bins[i]] for i in range(len(bins))]
        bits = np.unpackbits(np.concatenate([*told, _NONE]), bitorder="little")
        asked = np.packbits(bits.take(self.slots), bitorder="little")  # eight a branch: a byte
        found, n = self.table.take(self.begins + asked, axis=0), self.n_players + 1
        lanes = np.bincount(self._places, weights=found.ravel(), minlength=LANES * n).reshape(LANES, n)
        summed: list[float] = lanes.sum(axis=0)[:-1].tolist()
        return summed

    @cached_property
    def _places(self) -> Array:
        """Where each slot is added: branches take the lanes in turn, as in the inner loops."""
        n_branches, n = len(self.begins), self.n_players + 1
        lanes = np.arange(n_branches) % LANES * n
        return self.owners + np.repeat(lanes, self.table.shape[1])

    def save(self, folder: Path, stem: str) -> None:
        """Write the arrays."""
        widths = np.array([each.shape for each in self.answers], dtype=np.int64).reshape(-1, 2)
        flat = np.concatenate([each.ravel() for each in self.answers] or [_NONE[:0]])
        for name, array in (
            ("widths", widths), ("answers", flat), ("slots", self.slots), ("begins", self.begins),
            ("table", self.table), ("owners", self.owners),
        ):  # fmt: skip
            np.save(folder / f"{stem}-{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, stem: str, bins: Bins, base: float) -> Tables:
        """Read what `save` wrote; the table stays in the file until it is looked into.

        Raises
        ------
        IntegrityError
            If the arrays do not fit each other.
        """
        names = ("widths", "answers", "slots", "begins", "owners")
        widths, flat, slots, begins, owners = (read_array(folder / f"{stem}-{name}.npy") for name in names)
        table = np.asarray(np.load(folder / f"{stem}-table.npy", mmap_mode="r", allow_pickle=False))
        ends = np.cumsum(widths.prod(axis=1)).tolist()
        if (ends[-1] if ends else 0) != len(flat) or (widths < 0).any():
            raise IntegrityError(_UNFIT)
        return cls(
            bins=bins,
            answers=[
                flat[end - rows * width : end].reshape(rows, width)
                for (rows, width), end in zip(widths.tolist(), ends, strict=True)
            ],
            slots=slots,
            begins=begins,
            table=table,
            owners=owners,
            base=base,
        )

    def _check(self) -> None:
        """See that every look-up finds something."""
        n_bits = 8 * (sum(each.shape[1] for each in self.answers) + 1)
        n_branches, n_slots = len(self.begins), self.table.shape[1]
        fits = (
            len(self.answers) == len(self.bins.edges)
            and all(len(each) == len(edges) + 2 for each, edges in zip(self.answers, self.bins.edges, strict=True))
            and len(self.slots) == 8 * n_branches
            and len(self.owners) == n_branches * n_slots
            and _within_bounds(self.slots, n_bits)
            and _within_bounds(self.begins, len(self.table))
            and _within_bounds(self.owners, self.n_players + 1)
        )
        if not fits:
            raise IntegrityError(_UNFIT)


_UNFIT = "The tables of an explainer must fit each other. They do not. Pack the model again."
_NONE = np.zeros(1, dtype=np.uint8)  # the answer to a question that a branch does not ask


def _within_bounds(values: Array, n: int) -> bool:
    return bool(((values >= 0) & (values < n)).all())
