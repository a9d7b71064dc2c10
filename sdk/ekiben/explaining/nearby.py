"""The nearest row that was explained before, for a caller who has no time for another explanation."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MOST = 256  # rows of each arm and method
Key = tuple[str, str]  # a package's digest, and a method


class Kept(NamedTuple):
    """What explains a row, and what it takes to make it again."""

    explanation: dict[str, Any]
    seed: int
    rounds: int | None


class Nearby:
    """Rows that were explained, with what explained them; the least lately added go first.

    Parameters
    ----------
    most
        How far a row may be, from 0 (the same) to 1.
    """

    def __init__(self, most: float) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept: dict[Key, OrderedDict[tuple[Any, ...], Kept]] = {}

    def keep(self, key: Key, rows: Sequence[Sequence[Any]], found: Sequence[Kept]) -> None:
        """Keep what explains some rows."""
        with self._lock:
            kept = self._kept.setdefault(key, OrderedDict())
            for row, one in zip(rows, found, strict=True):
                kept[_hashable(row)] = one
            while len(kept) > MOST:
                kept.popitem(last=False)

    def find(self, key: Key, rows: Sequence[Sequence[Any]], spans: Sequence[float]) -> tuple[list[Kept], float] | None:
        """Give what explains the nearest row to each, and how far the farthest is; None where one is too far.

        Parameters
        ----------
        key
            For which package and method.
        rows
            The rows, each of shape (n_columns,).
        spans
            For each column the range in which its numbers lie; 0 for one that is equal or not.
        """
        with self._lock:
            kept = list(self._kept.get(key, {}).items())
        if not kept:
            return None
        nearest = [min((distance(row, other, spans), i) for i, (other, _) in enumerate(kept)) for row in rows]
        farthest = max(far for far, _ in nearest)
        return ([kept[i][1] for _, i in nearest], farthest) if farthest <= self._most else None


def distance(row: Sequence[Any], other: Sequence[Any], spans: Sequence[float]) -> float:
    """Measure how far two rows are apart, from 0 to 1: the mean over columns, each by its own range (Gower's distance [1]_).

    References
    ----------
    .. [1] Gower, "A general coefficient of similarity and some of its properties", 1971.

    Examples
    --------
    >>> distance((30, "cook"), (40, "cook"), (50.0, 0.0))
    0.1
    """
    return sum(map(_apart, row, other, spans)) / max(len(spans), 1)


def _apart(one: Any, other: Any, span: float) -> float:
    if one == other or (one != one and other != other):
        return 0.0
    if span and type(one) in (int, float) and type(other) in (int, float):
        far = abs(one - other) / span
        return min(far, 1.0) if far == far else 1.0
    return 1.0


def spans_of(profile: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[float]:
    """Take the range between the 5th and the 95th of a hundred reference rows for each column of numbers."""
    quantiles = [profile.get(name, {}).get("quantiles") or {} for name in names]
    return [max(0.0, each.get("0.95", 0.0) - each.get("0.05", 0.0)) for each in quantiles]


def _hashable(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)
