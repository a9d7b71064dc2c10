"""Counters and latencies by arm in the same `/metrics` as BentoML's, summed over the workers."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from ekiben.observing import Buffer

BUCKETS_S = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
Told = tuple[str, str, str, float]  # the endpoint, the arm, the code and the seconds of one request


class Meter:
    """Count answers and refusals; what is told is counted in bulk, off the event loop, within 0.2 s."""

    def __init__(self) -> None:
        # Only now: BentoML sets where the workers share their counters after this module may have been imported.
        from prometheus_client import Counter, Histogram

        self._answers = Counter("ekiben_answers_total", "Answers and refusals", ["endpoint", "arm", "code"])
        self._seconds = Histogram("ekiben_seconds", "Time to an answer", ["endpoint", "arm"], buckets=BUCKETS_S)
        self._unseen = Counter("ekiben_unseen_total", "Texts that an arm took and has never seen", ["arm", "column"])
        self._buffer = Buffer[Told](self._count, name="ekiben-meter")
        self.flush, self.close = self._buffer.flush, self._buffer.close

    def tell(self, endpoint: str, arm: str, code: str, seconds: float) -> None:
        """Count one request; it never waits."""
        self._buffer.add((endpoint, arm, code, seconds))

    def unseen(self, arm: str, column: str, n: int) -> None:
        """Count texts that an arm took and has never seen."""
        self._unseen.labels(arm, column).inc(n)

    def _count(self, told: list[Told]) -> None:
        codes: dict[tuple[str, str, str], int] = defaultdict(int)
        taken: dict[tuple[str, str], list[float]] = defaultdict(list)
        for endpoint, arm, code, seconds in told:
            codes[endpoint, arm, code] += 1
            taken[endpoint, arm].append(seconds)
        for labels, n in codes.items():
            self._answers.labels(*labels).inc(n)
        for (endpoint, arm), times in taken.items():
            _observe(self._seconds.labels(endpoint, arm), times)


def _observe(child: Any, times: Iterable[float]) -> None:
    """Add many times to a histogram: each bucket once, where the client's own parts are as we know them."""
    buckets, total = getattr(child, "_buckets", ()), _sum_of(child)
    if len(buckets) != len(BUCKETS_S) + 1 or total is None:
        for seconds in times:
            child.observe(seconds)
        return
    counts: dict[int, int] = defaultdict(int)
    for seconds in times:
        counts[bisect_left(BUCKETS_S, seconds)] += 1
    for i, n in counts.items():
        buckets[i].inc(n)
    total.inc(sum(times))


def _sum_of(child: Any) -> Any:
    total = getattr(child, "_sum", None)
    return total if hasattr(total, "inc") else None


@cache
def meter() -> Meter:
    """Give the one meter of this process."""
    return Meter()
