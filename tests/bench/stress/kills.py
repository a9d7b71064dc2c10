"""A process that computes is killed under load: what fails, and when the capacity is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from bench.servers import Tree, cpu_of
from bench.stress.pulse import LOOK_S, Pulse, loop, wait_back
from traffic.faults import kill, works
from traffic.load import Request

CLIENTS = 8
BEFORE_S = 6.0  # of load before the kill; the first third warms up
SHARE = 0.8  # of the rate before
COMPUTES_S = 0.1  # of CPU, above which a new process is more than a helper


def kill_one(tree: Tree, request: Request, pulse: Pulse, *, patience_s: float) -> dict[str, Any]:
    """Kill the busiest process below a server's first one, while a closed loop asks."""
    with loop(f"http://127.0.0.1:{tree.port}", request, pulse, clients=CLIENTS) as asked:
        time.sleep(BEFORE_S / 3)
        began, clocks = time.perf_counter(), tree.cpu_by_process()
        time.sleep(BEFORE_S * 2 / 3)
        victim = busiest(tree, clocks)
        before = pulse.per_second(began, time.perf_counter())
        known, killed = {*tree.cpu_by_process()}, time.perf_counter()
        kill(victim)
        with ThreadPoolExecutor(1) as pool:
            replacing = pool.submit(after, lambda: is_replaced(tree, known), killed, patience_s)
            back = wait_back(pulse, killed, SHARE * before, patience_s)
        replaced = replacing.result()
    outcomes = asked.result().outcomes
    failed = {str(outcome): n for outcome, n in outcomes.items() if outcome != 200}
    return {
        "before_per_s": before,
        "back_s": back,
        "replaced_s": replaced,
        "answered": outcomes[200],
        "failed": sum(failed.values()),
        "outcomes": failed,
        "lives": bool(tree.cpu_by_process()) and tree.exit_code() is None,
    }


def busiest(tree: Tree, clocks: dict[int, float]) -> psutil.Process:
    """Find the process below the first that used most CPU since its clock was read; what explains beside it only starts."""
    below = [each for each in tree.processes() if each.pid != tree.pid and works(each)]
    return max(below, key=lambda each: cpu_of(each.pid) - clocks.get(each.pid, 0.0))


def is_replaced(tree: Tree, known: set[int]) -> bool:
    """Tell whether a process that was not there before has begun to compute."""
    return any(cpu >= COMPUTES_S for pid, cpu in tree.cpu_by_process().items() if pid not in known)


def after(holds: Callable[[], bool], since: float, patience_s: float) -> float | None:
    """Wait for something; give the seconds from `since`, or None when patience is over."""
    while (now := time.perf_counter()) < since + patience_s:
        if holds():
            return now - since
        time.sleep(LOOK_S)
    return None
