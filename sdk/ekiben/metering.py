"""Counters and latencies by arm in the same `/metrics` as BentoML's, summed over the workers."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import product
from typing import Any

import numpy as np

BUCKETS_S = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

KILLED = ("hung", "memory", "crashed", "cancelled")  # why an explaining process is ended
TICKETS = ("given", "done", "failed", "cancelled")
ROUTES = ("taken", "refused")
RECORDED = ("predict", "explain", "infer", "invocations")  # the endpoints that record what they answer


class Meter:
    """Count answers and refusals, many at once."""

    def __init__(self) -> None:
        # Only now: BentoML sets where the workers share their counters after this module may have been imported.
        from prometheus_client import Counter, Gauge, Histogram

        self._answers = Counter("ekiben_answers_total", "Answers and refusals", ["endpoint", "arm", "code"])
        self._seconds = Histogram("ekiben_seconds", "Time to an answer", ["endpoint", "arm"], buckets=BUCKETS_S)
        self._unrecorded = Counter("ekiben_unrecorded_total", "Decisions that were answered and could not be recorded")
        self._waiting = Gauge("ekiben_records_waiting_bytes", "Bytes that wait", multiprocess_mode="mostrecent")
        self._shipped = Counter("ekiben_records_shipped_total", "Records that the database has")
        self._ship_failed = Counter(
            "ekiben_records_ship_failures_total", "Times that the database did not take records"
        )
        self._unseen = Counter("ekiben_unseen_total", "Texts that an arm took and has never seen", ["arm", "column"])

        self._explained = Counter("ekiben_explanations_total", "Explanations", ["arm", "method", "rung"])
        self._explain_seconds = Histogram(
            "ekiben_explain_seconds", "Time to an explanation", ["method"], buckets=BUCKETS_S
        )
        self._taken: deque[tuple[tuple[str, str, str], float]] = deque()
        self._killed = Counter("ekiben_explainers_killed_total", "Explaining processes that were ended", ["why"])
        self._busy = Gauge("ekiben_explainers_busy", "Explaining processes at work", multiprocess_mode="livesum")
        self._queued = Gauge("ekiben_explanations_waiting", "Explanations that wait", multiprocess_mode="livesum")
        self._tickets = Counter("ekiben_tickets_total", "Tickets that were given, or came to an end", ["state"])
        self._routes = Counter("ekiben_route_changes_total", "Changes of the route's file", ["what"])
        for counter, known in ((self._killed, KILLED), (self._tickets, TICKETS), (self._routes, ROUTES)):
            for label in known:  # from the start, so that their first time is seen as a rise from 0
                counter.labels(label)

    def expect(self, texts: Mapping[str, Iterable[str]]) -> None:
        """Begin at 0 what an alert wants to see rise, of each arm with its columns of texts: what begins at 300 never rose."""
        for endpoint, arm in product(RECORDED, ("", *texts)):  # of an arm, or before one was told
            self._answers.labels(endpoint, arm, "not_recorded")
        for arm, columns in texts.items():
            for column in columns:
                self._unseen.labels(arm, column)

    def explained(self, arm: str, method: str, rung: str, seconds: float) -> None:
        """Count an explanation, and how long it took."""
        self._count_explained((arm, method, rung), [seconds])

    def explained_here(self, arm: str, method: str, rung: str, seconds: float) -> None:
        """Take an explanation of a request that is still to be counted: it is counted with that one, and with others."""
        self._taken.append(((arm, method, rung), seconds))

    def _count_explained(self, key: tuple[str, str, str], seconds: Sequence[float]) -> None:
        self._explained.labels(*key).inc(len(seconds))
        _observe(self._explain_seconds.labels(key[1]), seconds)

    def _settle(self) -> None:
        """Count the explanations that were taken."""
        told: dict[tuple[str, str, str], list[float]] = {}
        with suppress(IndexError):  # somebody else counts, too
            for _ in range(len(self._taken)):  # what is taken meanwhile is counted next time
                key, seconds = self._taken.popleft()
                told.setdefault(key, []).append(seconds)
        for key, times in told.items():
            self._count_explained(key, times)

    def killed(self, why: str) -> None:
        """Count an explaining process that was ended."""
        self._killed.labels(why).inc()

    def explaining(self, n_busy: int, n_waiting: int) -> None:
        """Say how many processes are at work, and how many explanations wait."""
        self._busy.set(n_busy)
        self._queued.set(n_waiting)

    def ticket(self, state: str) -> None:
        """Count a ticket that was given, or came to its end."""
        self._tickets.labels(state).inc()

    def rerouted(self, what: str) -> None:
        """Count a change of the route's file: it was taken, or refused."""
        self._routes.labels(what).inc()

    def count(self, endpoint: str, arm: str, code: str, seconds: Sequence[float]) -> None:
        """Count requests of which the same came, by the seconds that each took."""
        self._answers.labels(endpoint, arm, code).inc(len(seconds))
        _observe(self._seconds.labels(endpoint, arm), seconds)
        if self._taken:
            self._settle()

    def unrecorded(self, n: int) -> None:
        """Count decisions that were answered and could not be recorded."""
        self._unrecorded.inc(n)

    def waiting(self, n_bytes: int) -> None:
        """Say how many bytes of records wait for the database."""
        self._waiting.set(n_bytes)

    def shipped(self, n: int) -> None:
        """Count records that the database has."""
        self._shipped.inc(n)

    def ship_failed(self, n: int) -> None:
        """Count what the database did not take."""
        self._ship_failed.inc(n)

    def unseen(self, arm: str, column: str, n: int) -> None:
        """Count texts that an arm took and has never seen."""
        self._unseen.labels(arm, column).inc(n)


def _observe(child: Any, times: Sequence[float]) -> None:
    """Add many times to a histogram: each bucket once, where the client's own parts are as we know them."""
    buckets, total = getattr(child, "_buckets", ()), _sum_of(child)
    if len(buckets) != len(BUCKETS_S) + 1 or total is None:
        for seconds in times:
            child.observe(seconds)
        return
    if len(times) == 1:
        buckets[bisect_left(BUCKETS_S, times[0])].inc(1)
        total.inc(times[0])
        return
    # in numpy: who answers would wait for thousands of turns in Python
    places = np.searchsorted(BUCKETS_S, np.asarray(times))
    for i, n in zip(*np.unique(places, return_counts=True), strict=True):
        buckets[i].inc(int(n))
    total.inc(sum(times))


def _sum_of(child: Any) -> Any:
    total = getattr(child, "_sum", None)
    return total if hasattr(total, "inc") else None


@cache
def meter() -> Meter:
    """Give the one meter of this process."""
    return Meter()
