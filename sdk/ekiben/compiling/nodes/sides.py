"""To which side of a tree's split a category goes, as numbers that a threshold can cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Node, Of, Values
from ekiben.errors import IntegrityError

if TYPE_CHECKING:
    from ekiben.models import Array


class Sides(Of):
    """The numbers, and behind them for each split by categories 0 where its number's category goes left, and 1 where right.

    Parameters
    ----------
    of
        Numbers, some of which are the codes of categories.
    sources
        Which number each split looks at, ascending: shape (n_splits,).
    tables
        The side of each code, of a number that is no code, and of a missing one: shape (n_splits, n_codes + 2).
    cut
        Whether a number is cut to a whole one before it is looked at: -0.5 is the code 0.
    """

    def __init__(self, of: Node, sources: Sequence[int], tables: Any, cut: bool | None = None) -> None:
        super().__init__(of)
        self._least = math.nextafter(-1.0, 0.0) if cut else 0.0
        told, places = np.asarray(tables, dtype=np.float64), np.asarray(sources, dtype=np.intp)
        fits = told.ndim == 2 and len(told) == len(places) and told.shape[1] > 2 and np.isin(told, (0, 1)).all()
        if not (fits and (np.diff(places) >= 0).all() and ((places >= 0) & (places < of.width)).all()):
            raise IntegrityError("The splits by categories of a plan must fit its features. They do not. Pack again.")
        self.players: Array = np.concatenate([np.arange(of.width), places])
        self.width = len(self.players)
        self._n_codes = told.shape[1] - 2
        self._told = [(int(i), told[places == i].T) for i in np.unique(places)]
        self._listed: list[tuple[int, list[list[float]]]] = [(i, sides.tolist()) for i, sides in self._told]

    def thresholds(self) -> Mapping[int, Iterable[float]]:
        return dict.fromkeys((i for i, _ in self._told), (-1.0, 0.0, 1.0, float(self._n_codes)))

    def row(self, values: Values) -> Sequence[float]:
        found = list(self._row(values))
        made = list(found)
        for i, sides in self._listed:
            made += sides[self._code(found[i])]
        return made

    def _code(self, value: float) -> int:
        if value != value:
            return self._n_codes + 1
        return int(value) if self._least <= value < self._n_codes else self._n_codes

    def apply(self, matrix: Array) -> Array:
        return np.concatenate([matrix, *(sides[self._codes(matrix[:, i])] for i, sides in self._told)], axis=1)

    def _codes(self, values: Array) -> Array:
        known = (values >= self._least) & (values < self._n_codes)
        places = np.where(known, values, self._n_codes + np.isnan(values))
        codes: Array = places.astype(np.intp)
        return codes
