"""When a server answered: the moments of its good answers, and when it was as quick again as before."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial

from traffic.load import Answer, Request, Tally, meanwhile, run

WINDOW_S = 2.0  # over which a rate is taken
LOOK_S = 0.1
TIMEOUT_S = 10.0


class Pulse:
    """It hears every answer, and keeps the moments of those with status 200."""

    def __init__(self, also: Callable[[Answer], object] | None = None) -> None:
        self.moments: list[float] = []
        self._also = also

    def __call__(self, request: Request, answer: Answer) -> list[str]:
        if answer.status == 200:
            self.moments.append(time.perf_counter())
            if self._also is not None:
                self._also(answer)
        return []

    def per_second(self, begin: float, end: float) -> float:
        """Give the good answers a second between two moments."""
        return (bisect_left(self.moments, end) - bisect_left(self.moments, begin)) / (end - begin)

    def back(self, since: float, least: float, now: float) -> float | None:
        """Give the seconds from `since` to the first window that has `least` answers a second; None if there is none yet."""
        at = since
        while at + WINDOW_S <= now:
            if self.per_second(at, at + WINDOW_S) >= least:
                return at - since
            at += LOOK_S
        return None


def loop(url: str, request: Request, pulse: Pulse, *, clients: int) -> AbstractContextManager[Future[Tally]]:
    """Keep a closed loop going meanwhile; leaving it waits for what is under way."""
    return meanwhile(request, partial(run, url, clients=clients, judge=pulse, timeout_s=TIMEOUT_S))


def wait_back(pulse: Pulse, since: float, least: float, patience_s: float) -> float | None:
    """Wait until a server is as quick as it should be; None if it is not in time."""
    while (now := time.perf_counter()) < since + patience_s + WINDOW_S:
        found = pulse.back(since, least, now)
        if found is not None:
            return found
        time.sleep(LOOK_S)
    return None
