"""Measure contenders in interleaved rounds, so that a machine that is busy for a while is busy for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx

from bench import asking
from bench.contenders import Contender, Place
from bench.environments import UnavailableError, said
from bench.models import Case
from bench.results import Plan, Results
from bench.servers import Tree

Running = dict[Contender, Tree]
Act = Callable[[Contender, Tree], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How much is measured, where things are kept, and who is told."""

    plan: Plan
    place: Place
    results: Results
    say: Callable[[str], None]


def compare(run: Run, case: Case, among: Sequence[Contender]) -> None:
    """Start all contenders of one model, hold their answers against the model's, and measure them in rounds."""
    plan, results, name = run.plan, run.results, case.key.upper()
    with started(run, [case], among) as running:
        run.say(f"{name}: do all answer the same?")
        results.agreement += in_turn(run, running, case.key, lambda *one: checked(*one, case))
        for i, n in product(range(plan.rounds), plan.clients):
            run.say(f"{name}: round {i + 1} of {plan.rounds}, {n} client{'s' * (n > 1)}")
            measured = in_turn(
                run, running, case.key, lambda *one, n=n: asking.cost(*one, case, clients=n, seconds=plan.seconds)
            )
            results.loads += [{"round": i, **each} for each in measured]


def checked(contender: Contender, tree: Tree, case: Case) -> dict[str, Any]:
    """Compare a contender's answers with the model's, and warm it up."""
    found = asking.agreement(contender, tree, case)
    asking.cost(contender, tree, case, clients=asking.BUSY, seconds=asking.WARM_S)
    return found


def beside(run: Run, cheap: Case, slow: Case, among: Sequence[Contender]) -> None:
    """Ask a cheap model by one client, alone and while others keep the slow one of the same server busy."""
    plan, both = run.plan, cheap.key + slow.key
    with started(run, [cheap, slow], among) as running:
        for i in range(plan.rounds):
            run.say(f"{both.upper()}: round {i + 1} of {plan.rounds}")
            measured = in_turn(run, running, both, lambda *one: neighbour(*one, cheap, slow, plan.seconds))
            run.results.neighbours += [{"round": i, **each} for each in measured]


def neighbour(contender: Contender, tree: Tree, cheap: Case, slow: Case, seconds: float) -> dict[str, Any]:
    """Tell how long the cheap model's answers take, alone and beside the slow one."""
    alone = asking.cost(contender, tree, cheap, clients=1, seconds=seconds, awake=False)
    busy = asking.cost_beside(contender, tree, cheap, slow, seconds=seconds)
    return {"alone_p99_ms": alone["p99_ms"], **busy.counts()}


def in_turn(run: Run, running: Running, case: str, act: Act) -> list[dict[str, Any]]:
    """Wake one server after the other and act on it; one that breaks is told, and left out from there on."""
    told = []
    for contender, tree in list(running.items()):
        try:
            with awake(tree):
                told.append({"case": case, "contender": contender.key, **act(contender, tree)})
        except (UnavailableError, OSError, httpx.HTTPError) as reason:
            leave_out(run, contender, case, f"It broke while it was measured: {reason}")
            del running[contender]
    return told


@contextmanager
def started(run: Run, cases: Sequence[Case], among: Sequence[Contender]) -> Iterator[Running]:
    """Start one contender after the other, tell what that cost, and pause it; who does not start is told."""
    names, running = "".join(case.key for case in cases), {}
    with ExitStack() as stack:
        for contender in among:
            run.say(f"{names.upper()}: starting {contender.title}")
            try:
                tree = contender.start(cases, run.place)
            except Exception as reason:  # whatever one breaks on, the others are still measured
                leave_out(run, contender, names, str(reason))
                continue
            stack.callback(tree.end)
            run.results.starts.append({"case": names, "contender": contender.key, **cost_of_start(tree)})
            if asking.CORES.server is not None:
                tree.pin(asking.CORES.server)
            tree.pause()
            running[contender] = tree
        yield running


def cost_of_start(tree: Tree) -> dict[str, float]:
    """Tell what the tree has used until now, and its busiest process alone: the one that loaded the model."""
    by_process = tree.cpu_by_process()
    return {
        "cpu_s": tree.cpu_since_start_s(),
        "worker_cpu_s": max(by_process.values()),
        "processes": len(by_process),
        "memory_mib": tree.memory_mib(),
    }


def leave_out(run: Run, contender: Contender, case: str, why: str) -> None:
    """Tell who is not measured."""
    why = said(why)
    run.results.missing.append({"contender": contender.key, "case": case, "why": why})
    run.say(f"{case.upper()}: {contender.title} is left out. {why}")


@contextmanager
def awake(tree: Tree) -> Iterator[None]:
    """Let a server run, and pause it again."""
    tree.resume()
    try:
        yield
    finally:
        tree.pause()
