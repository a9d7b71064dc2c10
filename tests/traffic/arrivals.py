"""An open-loop client: requests arrive when they arrive, whether or not the server keeps up.

A closed loop asks less of a server that answers late, and so never sees how late it would have been. Here each request has
a moment at which it is due, drawn before the run as a Poisson process; its latency counts from there, and every request
that was due has one outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator

from traffic.load import Client, Judge, Request, Tally, port_of


def moments(per_second: float, seconds: float, *, seed: int) -> Iterator[float]:
    """Draw when requests are due, in seconds from the start.

    Examples
    --------
    >>> 900 < len(list(moments(100, 10, seed=1))) < 1100
    True
    """
    draw, at = random.Random(seed), 0.0
    while (at := at + draw.expovariate(per_second)) < seconds:
        yield at


def offer(
    url: str,
    requests: Iterable[Request],
    *,
    per_second: float,
    seconds: float,
    seed: int,
    judge: Judge | None = None,
    timeout_s: float = 30.0,
) -> Tally:
    """Send `requests` at their own pace to a server on this machine, each on a connection that is free or new."""
    return asyncio.run(_offer(url, requests, list(moments(per_second, seconds, seed=seed)), judge, timeout_s))


async def _offer(
    url: str, requests: Iterable[Request], due: list[float], judge: Judge | None, timeout_s: float
) -> Tally:
    tally, port, idle = Tally(), port_of(url), list[Client]()
    started = time.perf_counter()

    async def send(request: Request, at: float) -> None:
        one = idle.pop() if idle else Client(port, tally, judge, timeout_s)
        await one.send(request, due=at)
        idle.append(one)

    async with asyncio.TaskGroup() as group:
        for after, request in zip(due, requests, strict=False):
            await asyncio.sleep(started + after - time.perf_counter())
            group.create_task(send(request, started + after))
    tally.seconds = time.perf_counter() - started
    for one in idle:
        one.hang_up()
    return tally
