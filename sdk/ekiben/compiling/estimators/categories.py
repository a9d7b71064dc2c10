"""Splits by categories: each becomes a number that says to which side a category goes, cut like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ekiben.compiling.forest import Tree
from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, NoPlan, Scope, joined, on

if TYPE_CHECKING:
    from ekiben.models import Array

MOST_CODES = 5_000  # of a column
MOST_SPLITS = 50_000
CUT = 0.5

Side = tuple[int, tuple[int, ...]]  # a feature, and the sides of its codes, of what is no code, and of a missing value


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits by categories of some trees, numbered as they come: equal ones have one number."""

    numbers: dict[Side, int] = field(default_factory=dict)

    def number(self, feature: int, right: Sequence[int], n_codes: int, *, other: int, missing: int) -> int:
        """Give the number of a split, by which codes go right, and where what is no code and a missing value go."""
        if n_codes > MOST_CODES or len(self.numbers) >= MOST_SPLITS:
            raise NoPlan("there are too many categories, or splits by them")
        sides = np.zeros(n_codes + 2, dtype=np.int64)
        sides[list(right)] = 1
        sides[-2:] = other, missing
        return self.numbers.setdefault((feature, tuple(sides.tolist())), len(self.numbers))

    def put(self, flow: Flow, grown: Sequence[Tree], *, cut: bool = False) -> tuple[Flow, list[Tree]]:
        """Put the sides behind the features, and let the trees look at them there.

        In `grown` the feature of such a split is the flow's width and its number. `cut` says that the library cuts a number to a
        whole one before it looks whether that is a code.
        """
        if not self.numbers:
            return flow, list(grown)
        listed = list(self.numbers)
        order = sorted(range(len(listed)), key=lambda i: listed[i][0])
        n_codes = max(len(sides) for _, sides in listed) - 2
        tables = np.array([_wide(listed[i][1], n_codes) for i in order], dtype=np.int64)
        doc: Doc = {"op": "sides", "of": flow.doc, "sources": [listed[i][0] for i in order], "tables": tables}
        doc |= {"cut": True} if cut else {}
        moved = np.arange(flow.width + len(listed))
        moved[[flow.width + i for i in order]] = flow.width + np.arange(len(order))
        placed = [replace(tree, feature=moved[np.asarray(tree.feature, dtype=np.intp)]) for tree in grown]
        return Flow(doc=doc, width=flow.width + len(listed)), placed


def _wide(sides: tuple[int, ...], n_codes: int) -> list[int]:
    """Give the sides of so many codes; those beyond its own are none."""
    *own, other, missing = sides
    return [*own, *[other] * (n_codes - len(own)), other, missing]


def codes(flow: Flow, known: dict[str, Sequence[object]], scope: Scope) -> Flow:
    """Give the columns of a frame as numbers, categories as their codes, which `known` lists for those that have them.

    A category that is not listed is left to the model itself.
    """
    if flow.names is None or not flow.raw:
        return flow
    return joined([_coded(name, known, scope) for name in flow.names])


def _coded(name: str, known: dict[str, Sequence[object]], scope: Scope) -> Flow:
    column, made = scope.column(name), scope.columns([name])
    if not made.raw:
        return made
    listed = known.get(name, column.categories if column.kind == "category" else None)
    if listed is None or not all(isinstance(value, str | int | float | bool) for value in listed):
        raise NoPlan(f"{name!r} holds no categories that are known")
    table = [[*listed, None], [[float(i)] for i in range(len(listed))] + [[None]]]
    return on(made, "lookup", width=1, tables=[table], others=[None])


def bits(words: Array) -> list[int]:
    """List which bits of words of 32 are set.

    >>> bits(np.array([5, 1], dtype=np.uint32))
    [0, 2, 32]
    """
    spread = np.unpackbits(np.asarray(words, dtype="<u4").view(np.uint8), bitorder="little")
    found: list[int] = np.flatnonzero(spread).tolist()
    return found
