"""Trees of a plan, prepared so that the sums of a row are broken down quickly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ekiben.compiling import Grown, Row, Table
from ekiben.errors import ExplainError
from ekiben.explainers.shapley.bins import Bins
from ekiben.explainers.shapley.branching import branches
from ekiben.explainers.shapley.filling import tabulated
from ekiben.explainers.shapley.paths import Paths, levels
from ekiben.explainers.shapley.tables import Tables
from ekiben.tables import as_columns

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FEW = 8  # rows whose features are made one by one


class Broken(NamedTuple):
    """One row's sums, the one that is explained, and what each player added to it from its base on."""

    margins: Sequence[float]
    output: int
    base: float
    parts: Sequence[float]


def features_of(grown: Grown, columns: Sequence[Sequence[Any]], n_rows: int) -> Array:
    """Give what reaches the trees for rows that come as columns of plain values: shape (n_rows, n_features)."""
    found: Array = np.asarray(grown.node.below(Table(columns, n_rows)), dtype=np.float64)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Trees of a plan, with tables for the numbers that are explained; or their paths, where tables would be too large."""

    grown: Grown
    numbers: list[int]
    parts: list[Tables] | Paths

    @classmethod
    def of(cls, grown: Grown, players: list[int], numbers: list[int], background: Array | None) -> Prepared:
        """Prepare trees; `background` of shape (n_rows, n_features) makes them interventional.

        `players` says of which player each number is that the trees look at: of its feature, or of its column.
        """
        forest = grown.node.grown
        bins, leaves = Bins.of(forest, players), grown.leaves
        cut = [branches(forest, leaves[:, number], bins) for number in numbers]
        known = [each for each in cut if each is not None]
        if len(known) == len(cut):
            seen = None if background is None else bins.block(background)
            return cls(grown=grown, numbers=numbers, parts=[tabulated(each, bins, seen) for each in known])
        if background is not None:
            raise ExplainError(
                "Interventional values need trees with few splits on a path, so that their tables are small. "
                "Got larger ones. Explain with the method 'trees', which is path-dependent, or with 'sampling'."
            )
        return cls(grown=grown, numbers=numbers, parts=Paths(levels(forest, leaves[:, numbers], bins), bins))

    @property
    def tabled(self) -> bool:
        """Whether a row is looked up."""
        return not isinstance(self.parts, Paths)

    def broken(self, frame: pd.DataFrame) -> list[Broken]:
        """Break the sums of each row down."""
        return self.of_rows(list(zip(*as_columns(frame), strict=True)))

    def of_rows(self, rows: Sequence[Sequence[Any]]) -> list[Broken]:
        """Break the sums of rows of plain values down."""
        if len(rows) <= FEW:
            return [self._row(*self.grown.met(Row.of(row))) for row in rows]
        columns = list(zip(*rows, strict=True))
        return [self._row(row, self.grown.one(row)) for row in features_of(self.grown, columns, len(rows)).tolist()]

    def _row(self, features: Sequence[float], told: Sequence[float]) -> Broken:
        if len(self.numbers) == 1:  # nearly every model
            margins, output = [told[self.numbers[0]]], 0
        else:
            margins = [told[number] for number in self.numbers]
            output = max(range(len(margins)), key=margins.__getitem__)
        if isinstance(self.parts, Paths):
            return Broken(margins, output, self.parts.base[output], self.parts.row(features, output))
        table = self.parts[output]
        return Broken(margins, output, table.base, table.row(features))

    @property
    def settings(self) -> dict[str, Any]:
        """What `load` must be told beside the arrays."""
        bases = self.parts.base if isinstance(self.parts, Paths) else [each.base for each in self.parts]
        return {"tabled": self.tabled, "numbers": self.numbers, "bases": bases}

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        if isinstance(self.parts, Paths):
            self.parts.save(folder)
        else:
            for i, each in enumerate(self.parts):
                each.save(folder, f"trees-{i}")

    @classmethod
    def load(cls, folder: Path, grown: Grown, players: list[int], settings: Mapping[str, Any]) -> Prepared:
        """Read what `save` wrote for these trees and players."""
        bins = Bins.of(grown.node.grown, players)
        numbers = list(settings["numbers"])
        if not settings["tabled"]:
            return cls(grown=grown, numbers=numbers, parts=Paths.load(folder, bins))
        parts = [Tables.load(folder, f"trees-{i}", bins, base) for i, base in enumerate(settings["bases"])]
        return cls(grown=grown, numbers=numbers, parts=parts)
