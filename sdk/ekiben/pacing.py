"""How long work has taken of late, and so how long more of it will; and how much of it is let in."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from copy import copy
from time import monotonic, perf_counter
from types import MappingProxyType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

KEPT = 0.9  # of the weight of what was measured before, each time that something is
SLOW_S = 0.25  # work that takes longer is measured once
RECENT_S = 1.0  # after a piece of other work, for which more of it is expected
AT_ONCE_S = 0.001  # of work that may be done in a row, before other work has its turn


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

    def expected_s(self, rows: float) -> float:
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
        self._at_work = Counter[str]()

    def n_at_work(self, kind: str) -> int:
        """Count the pieces of a kind that are being done, those among them that nobody waits for any more."""
        return self._at_work[kind]

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
            with self._lock:
                self._at_work[kind] += 1
            try:
                return act(*given, **named)
            finally:
                with self._lock:
                    self._at_work[kind] -= 1
                    self._paces[kind].took(perf_counter() - began, rows)

        return measured


class Rate:
    """How many are let in each second: a bucket that fills again.

    >>> rate = Rate(2, clock=iter([0.0, 0.0, 0.0, 0.0, 1.0]).__next__)
    >>> [rate.waits_s() for _ in range(4)]
    [0.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_s, self._clock, self._most = per_s, clock, max(1.0, per_s)
        self._left, self._looked = self._most, clock()

    def waits_s(self) -> float:
        """Let one in, and give 0; or say in how many seconds there is room."""
        now = self._clock()
        self._left, self._looked = min(self._most, self._left + (now - self._looked) * self._per_s), now
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0

    def give_back(self) -> None:
        """Count one less that was let in."""
        self._left += 1


class Passes:
    """What takes long, and is done by an event loop itself: a millisecond of it in one pass, so that brief work comes in between.

    Where nothing brief was asked for within a second, all is done as it comes.

    Attributes
    ----------
    brief_at
        When something brief was asked for last, by `perf_counter`.

    Examples
    --------
    >>> import asyncio
    >>> async def lined_up():
    ...     passes, told = Passes(), []
    ...     passes.brief_at = perf_counter()
    ...
    ...     async def long(n):
    ...         if not passes.has_room(0.0008):
    ...             await passes.turn(0.0008)
    ...         told.append(n)
    ...
    ...     async def brief():
    ...         await asyncio.sleep(0)
    ...         told.append("brief")
    ...
    ...     await asyncio.gather(long(1), long(2), long(3), brief())
    ...     return told
    >>> asyncio.run(lined_up())
    [1, 2, 'brief', 3]
    """

    __slots__ = ("_line", "_n_waiting", "_spent_s", "brief_at")

    def __init__(self) -> None:
        self._spent_s, self._n_waiting, self._line = 0.0, 0, asyncio.Lock()
        self.brief_at = -math.inf

    def has_room(self, seconds: float) -> bool:
        """Let a piece be done now, and count it; or tell that it must wait for its turn."""
        if perf_counter() - self.brief_at > RECENT_S:
            return True
        if self._n_waiting or not self._fits(seconds):
            return False
        self._took(seconds)
        return True

    async def turn(self, seconds: float) -> None:
        """Wait until a piece may be done, behind those that came before it, and count it."""
        self._n_waiting += 1
        try:
            async with self._line:
                while not self._fits(seconds):  # noqa: ASYNC110 -- the next pass comes by itself
                    await asyncio.sleep(0)
                self._took(seconds)
        finally:
            self._n_waiting -= 1

    def _fits(self, seconds: float) -> bool:
        return not self._spent_s or self._spent_s + seconds <= AT_ONCE_S

    def _took(self, seconds: float) -> None:
        if not self._spent_s:
            asyncio.get_running_loop().call_soon(self._passed)
        self._spent_s += seconds

    def _passed(self) -> None:
        self._spent_s = 0.0


class Share:
    """How much of one thread's time some work may take while other work is asked of it, too.

    What is done keeps more of its kind waiting for its own time divided by the share, but for pieces so small that nobody
    notices. Where the other work has not been asked for within a second, nothing waits for longer than until the thread has
    seen what else has come: in one pass of its loop it does a piece, or several that take a millisecond together.

    Parameters
    ----------
    share
        Of the time, above 0 and up to 1.
    clock
        Tells the seconds.
    row_s
        How many seconds one row was measured to take; 0 where nobody knows.

    Attributes
    ----------
    others_at
        When the other work was asked for last, by the clock.
    n_waiting, rows_waiting
        How many pieces wait for their turn, and of how many rows they are.
    n_come
        Grows with each request that comes, of either kind.
    spent_s
        What pieces took since the loop has last seen what else has come.

    Examples
    --------
    >>> share = Share(0.25, clock=iter([10.0, 10.0, 10.5]).__next__)
    >>> share.others_at = 9.8
    >>> share.took(0.1)
    >>> round(share.waits_s(), 3), round(share.waits_s(), 3)
    (0.296, 0.0)
    """

    __slots__ = (
        "_clock", "_free_at", "_pace", "_share", "_turns", "n_come", "n_waiting", "others_at", "rows_waiting", "spent_s"
    )  # fmt: skip

    def __init__(self, share: float, clock: Callable[[], float] = perf_counter, *, row_s: float = 0.0) -> None:
        self._share, self._clock = share, clock
        self._pace, self._turns = Pace(), Pace()
        self._free_at = self.others_at = -math.inf
        self.spent_s, self.n_waiting, self.rows_waiting, self.n_come = 0.0, 0, 0, 0
        if row_s:
            self._pace.took(row_s, 1)

    @property
    def is_shared(self) -> bool:
        """Whether the other work is asked for as well."""
        return self._clock() - self.others_at <= RECENT_S

    def waits_s(self) -> float:
        """Tell in how many seconds the next piece may be done; 0 for now."""
        now = self._clock()
        if now - self.others_at > RECENT_S:
            return 0.0
        return max(0.0, self._free_at - now - AT_ONCE_S / self._share)

    def expected_s(self, n_rows: int = 0) -> float:
        """Tell in how many seconds a piece of so many rows would be done, behind those that wait; of none, would have its turn."""
        n, rows = self.n_waiting + (n_rows > 0), max(self.rows_waiting, self.n_waiting) + n_rows
        if not n:
            return self.waits_s()
        part = self._share if self.is_shared else 1.0
        return self.waits_s() + n * max(self._pace.expected_s(rows / n) / part, self._turns.expected_s(rows / n))

    def joined(self, n_rows: int) -> None:
        """Count a piece as one that waits."""
        self.n_waiting += 1
        self.rows_waiting += n_rows

    def left(self, n_rows: int) -> None:
        """Count a piece no more."""
        self.n_waiting -= 1
        self.rows_waiting -= n_rows

    def is_long(self, n_rows: int) -> bool:
        """Tell whether a piece of so many rows would keep other work waiting."""
        return self._pace.expected_s(n_rows) > AT_ONCE_S

    def has_room(self, n_rows: int) -> bool:
        """Tell whether a piece of so many rows may be done in this pass of the loop, before what else has come is seen."""
        if self.n_waiting or self.waits_s():
            return False
        fits = self.spent_s + self._pace.expected_s(n_rows) <= AT_ONCE_S
        return fits or (n_rows == 1 and not self.spent_s and not self.is_shared)

    def passed(self) -> None:
        """Take note that the loop has seen what else has come."""
        self.spent_s = 0.0

    def turned(self, seconds: float, n_rows: int = 1) -> None:
        """Take note of how long the turn of so many rows was, with what it let go first."""
        known_s = self._turns.expected_s(n_rows) or seconds
        self._turns.took(min(seconds, 2 * known_s), n_rows)  # the machine's own pauses are no measure

    def took(self, seconds: float, n_rows: int = 1) -> None:
        """Take note of a piece that was done."""
        self._pace.took(seconds, n_rows)
        self.spent_s += seconds
        now = self._clock()
        if now - self.others_at <= RECENT_S:
            self._free_at = max(self._free_at, now - seconds) + seconds / self._share
