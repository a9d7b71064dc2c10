"""How long work has taken of late, and so how long more of it will."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import copy
from time import perf_counter
from types import MappingProxyType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

KEPT = 0.9  # of the weight of what was measured before, each time that something is
SLOW_S = 0.25  # work that takes longer is measured once


class Pace:
    """Measure what work costs: so much each time, and so much for each row, by least squares over what came last.

    It belongs to one thread, or to whoever holds a lock.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.expected_s(10)
    0.0
    >>> for rows in (1, 5, 3):
    ...     pace.took(0.1 + 0.02 * rows, rows)
    >>> round(pace.expected_s(10), 6)
    0.3
    """

    __slots__ = ("_n", "_rows", "_rows_rows", "_rows_seconds", "_seconds")

    def __init__(self) -> None:
        self._n = self._rows = self._seconds = self._rows_rows = self._rows_seconds = 0.0

    def took(self, seconds: float, rows: int) -> None:
        """Learn what some rows took together."""
        self._n = KEPT * self._n + 1
        self._rows = KEPT * self._rows + rows
        self._seconds = KEPT * self._seconds + seconds
        self._rows_rows = KEPT * self._rows_rows + rows * rows
        self._rows_seconds = KEPT * self._rows_seconds + rows * seconds

    def expected_s(self, rows: int) -> float:
        """Tell how many seconds some rows will take together; 0 while nothing was measured."""
        if not self._rows:
            return 0.0
        each = self._seconds / self._rows  # all of it grows with the rows, as long as they were always as many
        spread = self._n * self._rows_rows - self._rows * self._rows
        if spread > 1e-6 * self._rows * self._rows:
            slope = (self._n * self._rows_seconds - self._rows * self._seconds) / spread
            each = min(max(slope, 0.0), each)
        return (self._seconds - each * self._rows) / self._n + each * rows


def measured(act: Callable[[int], object]) -> Pace:
    """Measure an act for few rows; what takes little is tried before, as the first time is no measure.

    >>> rows = []
    >>> pace = measured(rows.append)
    >>> rows
    [1, 1, 4]
    """
    pace = Pace()
    for nth, n_rows in enumerate((1, 1, 4)):
        began = perf_counter()
        act(n_rows)
        seconds = perf_counter() - began
        if nth or seconds > SLOW_S:
            pace.took(seconds, n_rows)
        if seconds > SLOW_S:
            break
    return pace


class Turns:
    """The work that waits for some threads, and how long one more piece would take.

    Parameters
    ----------
    n_threads
        How many pieces are done at a time.
    paces
        What is known already of some kinds of work.

    Examples
    --------
    >>> turns = Turns(2)
    >>> turns.timed("champion", 1, sum)([1, 2])
    3
    >>> 0 < turns.expected_s("champion", 1) < 1
    True
    """

    def __init__(self, n_threads: int, paces: Mapping[str, Pace] = MappingProxyType({})) -> None:
        self._n_threads, self._lock = n_threads, threading.Lock()
        self._paces = defaultdict(Pace, {kind: copy(pace) for kind, pace in paces.items()})
        self.n_unanswered, self._ahead_s = 0, 0.0

    def expected_s(self, kind: str, rows: int) -> float:
        """Tell how many seconds a piece of a kind will take from now on, those before it included."""
        with self._lock:
            own = self._paces[kind].expected_s(rows)
        before = self._ahead_s / self._n_threads if self.n_unanswered >= self._n_threads else 0.0
        return before + own

    def take(self, kind: str, rows: int) -> Callable[[object], None]:
        """Count a piece as one that waits; give what ends that."""
        with self._lock:
            own = self._paces[kind].expected_s(rows)
        self.n_unanswered += 1
        self._ahead_s += own

        def left(_: object) -> None:
            self.n_unanswered -= 1
            self._ahead_s = self._ahead_s - own if self.n_unanswered else 0.0

        return left

    def timed(self, kind: str, rows: int, act: Callable[P, R]) -> Callable[P, R]:
        """Give an act that is measured."""

        def measured(*given: P.args, **named: P.kwargs) -> R:
            began = perf_counter()
            try:
                return act(*given, **named)
            finally:
                with self._lock:
                    self._paces[kind].took(perf_counter() - began, rows)

        return measured
