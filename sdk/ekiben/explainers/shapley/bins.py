"""Where the thresholds of trees cut each feature."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ekiben.compiling.forest import LT, Forest

if TYPE_CHECKING:
    from ekiben.models import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """The distinct thresholds of each feature: a number's bin is how many of them it has passed, a missing one's is -1.

    Parameters
    ----------
    edges
        For each feature its thresholds, ascending.
    strict
        Whether a number that equals a threshold has passed it.
    bits
        32 where numbers are rounded to so many bits first.
    players
        Of which feature of the model each feature here is: of one that splits by categories cut there are several.

    Examples
    --------
    >>> bins = Bins(edges=[np.array([1.0, 2.0]), np.array([])], strict=False, bits=64)
    >>> bins.row([1.0, 7.0]), bins.row([1.5, float("nan")])
    ([0, 0], [1, -1])
    """

    edges: list[Array]
    strict: bool
    bits: int
    players: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let each feature be one of the model where nothing else is said."""
        if not self.players:
            object.__setattr__(self, "players", list(range(len(self.edges))))

    @property
    def n_players(self) -> int:
        """Number of features of the model."""
        return max(self.players, default=-1) + 1

    @classmethod
    def of(cls, forest: Forest, players: Sequence[int] = ()) -> Bins:
        """Find the thresholds of a forest."""
        points = forest.split_points
        edges = [np.asarray(points.get(i, ()), dtype=np.float64) for i in range(forest.n_features)]
        strict = bool((forest.mode == LT).all())
        return cls(edges=edges, strict=strict, bits=forest.bits, players=list(players))

    def row(self, features: Sequence[float]) -> list[int]:
        """Give the bins of one row."""
        bisect = bisect_right if self.strict else bisect_left
        return [
            bisect(edges, value) if value == value else -1
            for edges, value in zip(self.edges, self.rounded(features), strict=True)
        ]

    def rounded(self, features: Sequence[float]) -> Sequence[float]:
        """Give one row's numbers as the trees compare them."""
        if self.bits == 64:
            return features
        found: list[float] = np.array(features, dtype=np.float32).tolist()
        return found

    def block(self, features: Array) -> Array:
        """Give the bins of rows of shape (n_rows, n_features)."""
        seen = features.astype(np.float32).astype(np.float64) if self.bits == 32 else features
        side: Literal["left", "right"] = "right" if self.strict else "left"
        made = np.empty(seen.shape, dtype=np.int64)
        for i, edges in enumerate(self.edges):
            made[:, i] = np.searchsorted(edges, seen[:, i], side=side)
        made[np.isnan(seen)] = -1
        return made

    def places(self, forest: Forest) -> Array:
        """Give for each node the place of its threshold among those of its feature: numbers up to that bin go left."""
        found = np.empty(len(forest.feature), dtype=np.int64)
        for i, edges in enumerate(self.edges):
            here = forest.feature == i
            found[here] = np.searchsorted(edges, forest.threshold[here])
        return found
