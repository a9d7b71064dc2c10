"""Ten times what a server can answer, by an open loop: what is answered in time, what is refused and how, and what follows."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from bench.servers import Tree
from bench.stress.pulse import TIMEOUT_S, Pulse, loop, wait_back
from traffic.arrivals import offer
from traffic.load import Answer, Request, Tally

CLIENTS = 8  # few: a queue that is as long as the time that is granted says nothing of a server
TIMES = 10
CAPACITY_S = 6.0  # for which the closed loop asks before, and again after
WARM_S = 75.0  # a worker may build on its first large requests what it answers later ones with
IN_TIME_MS = 1000.0
SHARE = 0.9
REFUSALS = (429, 503)


@dataclass(slots=True)
class Refusals:
    """It hears every answer, and counts refusals by whether they say when to come back."""

    told: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: Request, answer: Answer) -> list[str]:
        if answer.status in REFUSALS:
            self.told["with" if "retry-after" in answer.headers else "without"] += 1
        return []


def capacity(url: str, request: Request) -> float:
    """Give the good answers a second to a closed loop."""
    pulse = Pulse()
    with loop(url, request, pulse, clients=CLIENTS):
        time.sleep(WARM_S)
        return listened(pulse)


def listened(pulse: Pulse) -> float:
    """Give the good answers a second to a closed loop that is under way."""
    began = time.perf_counter()
    time.sleep(CAPACITY_S)
    return pulse.per_second(began, time.perf_counter())


def overload(tree: Tree, request: Request, *, seconds: float, seed: int, patience_s: float) -> dict[str, Any]:
    """Offer ten times the capacity for a while, then ask as before, and wait until the server is as quick as it was."""
    url = f"http://127.0.0.1:{tree.port}"
    before, memory = capacity(url, request), tree.memory_mib()
    refusals, pulse = Refusals(), Pulse()
    with ThreadPoolExecutor(1) as pool:
        offered = pool.submit(
            offer,
            url,
            repeat(request),
            per_second=TIMES * before,
            seconds=seconds,
            seed=seed,
            judge=refusals,
            timeout_s=TIMEOUT_S,
        )
        time.sleep(seconds)
        most, over = tree.memory_mib(), time.perf_counter()
        with loop(url, request, pulse, clients=CLIENTS):
            back = wait_back(pulse, over, SHARE * before, patience_s)
            after = None if back is None else listened(pulse)
    mean = before if after is None else (before + after) / 2
    told = outcomes_of(offered.result(), refusals, capacity=mean, seconds=seconds)
    memories = {"memory_mib": memory, "memory_most_mib": most, "memory_after_mib": tree.memory_mib()}
    capacities = {"capacity": before, "capacity_after": after}
    return {"warm_s": WARM_S, **capacities, "back_s": back, **told, **memories, "lives": tree.exit_code() is None}


def outcomes_of(tally: Tally, refusals: Refusals, *, capacity: float, seconds: float) -> dict[str, Any]:
    """Sort what was offered: each request was answered in time or late, refused, failed or dropped."""
    good = tally.latencies_ms.get(200, ())
    in_time, timeouts = sum(ms <= IN_TIME_MS for ms in good), tally.outcomes["timeout"]
    refused = [ms for status in REFUSALS for ms in tally.latencies_ms.get(status, ())]
    return {
        "offered": tally.sent,
        "in_time": in_time,
        "late": len(good) - in_time + timeouts,
        "refused": len(refused),
        "without_retry_after": refusals.told["without"],
        "dropped": tally.dropped - timeouts,
        "failed": tally.sent - len(good) - len(refused) - tally.dropped,
        "goodput": in_time / (capacity * seconds) if capacity else 0.0,
        "refusal_ms": statistics.median(refused) if refused else None,
        "p99_ms": tally.percentile_ms(99, status=200) if good else None,
        "outcomes": {str(outcome): n for outcome, n in tally.outcomes.items()},
    }
