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

REST_S = 2.0  # for which a connection may rest before it is used again; servers give them five seconds


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
    tally, port, idle = Tally(), port_of(url), list[tuple[Client, float]]()
    started = time.perf_counter()

    def free() -> Client:
        """Give a connection that was just used, or a new one: a server may hang up on one that rests."""
        while idle:
            one, since = idle.pop()
            if time.perf_counter() - since < REST_S:
                return one
            one.hang_up()
        return Client(port, tally, judge, timeout_s)

    async def send(request: Request, at: float) -> None:
        one = free()
        await one.send(request, due=at)
        idle.append((one, time.perf_counter()))

    async with asyncio.TaskGroup() as group:
        for after, request in zip(due, requests, strict=False):
            await asyncio.sleep(started + after - time.perf_counter())
            group.create_task(send(request, started + after))
    tally.seconds = time.perf_counter() - started
    for one, _ in idle:
        one.hang_up()
    return tally
