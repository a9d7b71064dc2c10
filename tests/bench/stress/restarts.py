"""Two servers behind a balancer are restarted in turn, while requests arrive: who asks should not hear of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from bench.servers import Tree, free_port
from traffic.arrivals import offer
from traffic.balancer import balancing
from traffic.faults import until
from traffic.load import Request, Tally, meanwhile

PER_SECOND = 50
READY_S = 180.0
LONGEST_S = 3600.0
APART = 10  # between the ports of two servers, some of which take three


def arriving(url: str, request: Request, *, seed: int) -> AbstractContextManager[Future[Tally]]:
    """Let requests arrive meanwhile."""
    return meanwhile(request, partial(offer, url, per_second=PER_SECOND, seconds=LONGEST_S, seed=seed))


def restart(start: Callable[[int, int], Tree], request: Request, *, probe: str, n: int, seed: int) -> dict[str, Any]:
    """Restart two servers in turn, `n` times in all.

    Parameters
    ----------
    start
        Starts the server of a number, 0 or 1, at a port, and waits until it answers.
    request
        What arrives fifty times a second.
    probe
        The path at which a server says that it is ready.
    n
        How often one is told to end, and started again once it did.
    seed
        Of the moments at which requests arrive.
    """
    ports, codes = ports_apart(), list[int | None]()
    trees = [start(i, port) for i, port in enumerate(ports)]
    try:
        with balancing(ports, probe=probe) as balancer, arriving(at(balancer.port), request, seed=seed) as asked:
            for i in range(n):
                until(lambda: len(balancer.ready) == len(ports), READY_S)
                trees[i % 2].end()
                codes.append(trees[i % 2].exit_code())
                trees[i % 2] = start(i % 2, ports[i % 2])
            until(lambda: len(balancer.ready) == len(ports), READY_S)
        blind = balancer.n_blind
    finally:
        for tree in trees:
            tree.end()
    outcomes = asked.result().outcomes
    failed = {str(outcome): count for outcome, count in outcomes.items() if outcome != 200}
    return {
        "restarts": n,
        "sent": outcomes.total(),
        "failed": sum(failed.values()),
        "outcomes": failed,
        "blind": blind,
        "exit_codes": codes,
        "exit_codes_not_0": sum(code != 0 for code in codes),
    }


def at(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def ports_apart() -> list[int]:
    """Find two free ports, each with free ones above it."""
    first = second = free_port()
    while abs(first - second) < APART:
        second = free_port()
    return [first, second]
