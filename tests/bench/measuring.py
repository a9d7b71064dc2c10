"""Measure contenders in interleaved rounds, so that a machine that is busy for a while is busy for all of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench import contenders, load
from bench.contenders import Contender, Place
from bench.environments import UnavailableError
from bench.load import Told, Work
from bench.models import Case
from bench.servers import Tree

TOLERANCE = 1e-6  # of a probability; trees answer in single precision
WARM_S = 0.5
NEIGHBOURS = 16  # clients that keep the slow model busy

Say = Callable[[str], None]
Act = Callable[[Contender, Tree], None]


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server and its client run: a core each, where there are two."""

    server: int | None
    client: int | None

    @property
    def are_parted(self) -> bool:
        return self.server is not None


def parted() -> Cores:
    """Give the server the first core that this process may use, and the client the second."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(*allowed[:2]) if len(allowed) > 1 else Cores(None, None)


CORES = parted()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float
    clients: tuple[int, ...] = (1, 16, 64)


@dataclass(kw_only=True)
class Results:
    """Everything that was measured, as it is kept: lists of plain records."""

    about: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)  # who could not take part, and why
    starts: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    inside: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Read what `Results.keep` wrote."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))


# ── a whole case ──


def compare(case: Case, among: Sequence[Contender], plan: Plan, place: Place, results: Results, say: Say) -> None:
    """Start all contenders of one model, hold their answers against the model's, and measure them in rounds."""
    name = case.key.upper()
    with ExitStack() as stack:
        running = started(among, [case], place, results, say, stack)

        def check(contender: Contender, tree: Tree) -> None:
            results.agreement.append(agree(contender, tree, case))
            send(contender, tree, case, clients=NEIGHBOURS, seconds=WARM_S)

        say(f"{name}: do all answer the same?")
        in_turn(running, check, case.key, results, say)
        for i, clients in itertools.product(range(plan.rounds), plan.clients):

            def measure(contender: Contender, tree: Tree, i: int = i, clients: int = clients) -> None:
                measured = send(contender, tree, case, clients=clients, seconds=plan.seconds)
                results.loads.append({"round": i, "case": case.key, "contender": contender.key, **measured})

            say(f"{name}: round {i + 1} of {plan.rounds}, {clients} client{'s' * (clients > 1)}")
            in_turn(running, measure, case.key, results, say)


def in_turn(running: dict[Contender, Tree], act: Act, case: str, results: Results, say: Say) -> None:
    """Wake one server after the other and act on it; one that breaks is told, and left out from there on."""
    for contender, tree in list(running.items()):
        try:
            with awake(tree):
                act(contender, tree)
        except (UnavailableError, OSError, httpx.HTTPError) as reason:
            leave_out(contender, case, f"It broke while it was measured: {reason}", results, say)
            del running[contender]


def leave_out(contender: Contender, case: str, why: str, results: Results, say: Say) -> None:
    """Tell who is not measured."""
    results.missing.append({"contender": contender.key, "case": case, "why": why})
    say(f"{case.upper()}: {contender.title} is left out. {why}")


def started(
    among: Sequence[Contender], cases: Sequence[Case], place: Place, results: Results, say: Say, stack: ExitStack
) -> dict[Contender, Tree]:
    """Start each contender alone, measure that, and pause it; who does not start is told."""
    running = {}
    for contender in among:
        names = "".join(case.key.upper() for case in cases)
        say(f"{names}: starting {contender.title}")
        try:
            tree = contender.start(cases, place)
        except Exception as reason:  # whatever a peer breaks on, the others are still measured
            leave_out(contender, names.lower(), str(reason), results, say)
            continue
        stack.callback(end, tree)
        results.starts.append({"case": names.lower(), "contender": contender.key, **cost_of_start(tree)})
        if CORES.server is not None:
            tree.pin(CORES.server)
        tree.pause()
        running[contender] = tree
    return running


def cost_of_start(tree: Tree) -> dict[str, float]:
    """Tell what the tree has used until now, and the part of the process that used most: the one that loaded the model."""
    by_process = tree.cpu_by_process()
    return {
        "cpu_s": tree.cpu_since_start_s(),
        "worker_cpu_s": max(by_process.values()),
        "processes": len(by_process),
        "memory_mib": tree.memory_mib(),
    }


def end(tree: Tree) -> None:
    """Stop a server for good; while it is paused it would not hear of it."""
    tree.resume()
    tree.stop()


@contextmanager
def awake(tree: Tree) -> Iterator[None]:
    """Let a server run, and pause it again."""
    tree.resume()
    try:
        yield
    finally:
        tree.pause()


# ── one contender ──


def agree(contender: Contender, tree: Tree, case: Case) -> dict[str, Any]:
    """Compare a contender's answers with the model's own."""
    told = {"case": case.key, "contender": contender.key}
    if contender.key == "null":
        return {**told, "difference": None, "agrees": True}
    try:
        answers = [contenders.ask(tree, contender, case, body).json() for body in contender.bodies(case)]
        chances = [contender.chance(answer) for answer in answers]
    except (LookupError, TypeError, ValueError) as reason:
        return {**told, "difference": None, "agrees": False, "why": f"its answer cannot be read: {reason!r}"}
    difference = max(abs(came - wanted) for came, wanted in zip(chances, case.chances, strict=True))
    return {**told, "difference": difference, "agrees": difference <= TOLERANCE}


def send(contender: Contender, tree: Tree, case: Case, *, clients: int, seconds: float) -> dict[str, Any]:
    """Load a server for a while, and tell what that cost its whole tree."""
    work = work_for(contender, tree, case, clients=clients, seconds=seconds)
    before = tree.cpu_s()
    told = finished(begun(work))
    spent = tree.cpu_s() - before
    cost = spent / told.answered * 1e6 if told.answered else None
    answered = {
        name: getattr(told, name) for name in ("sent", "answered", "refused", "lost", "seconds", "p50_ms", "p99_ms")
    }
    return {"clients": clients, **answered, "cpu_s": spent, "cpu_us": cost, "memory_mib": tree.memory_mib()}


def work_for(contender: Contender, tree: Tree, case: Case, *, clients: int, seconds: float) -> Work:
    """Give what is asked of a contender."""
    path, bodies = contender.path(case), contender.bodies(case)
    return Work(port=tree.port, path=path, bodies=bodies, clients=clients, seconds=seconds, core=CORES.client)


def begun(work: Work) -> subprocess.Popen[str]:
    """Start a client in a process of its own."""
    command = [sys.executable, "-S", "-E", load.__file__]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    client.stdin.write(json.dumps(asdict(work)))
    client.stdin.close()
    return client


def finished(client: subprocess.Popen[str]) -> Told:
    """Wait for a client, and read what it tells."""
    assert client.stdout is not None
    with client, client.stdout as output:
        read = output.read()
    if client.returncode:
        raise UnavailableError(f"The client ended with code {client.returncode}.")
    return Told(**json.loads(read))


# ── a model beside a slow one ──


def beside(
    cheap: Case, slow: Case, among: Sequence[Contender], plan: Plan, place: Place, results: Results, say: Say
) -> None:
    """Ask a cheap model by one client, alone and while others keep the slow one of the same server busy."""
    names = cheap.key + slow.key
    with ExitStack() as stack:
        running = started(among, [cheap, slow], place, results, say, stack)
        for i in range(plan.rounds):

            def measure(contender: Contender, tree: Tree, i: int = i) -> None:
                alone = send(contender, tree, cheap, clients=1, seconds=plan.seconds)
                busy = under_load(contender, tree, cheap, slow, plan.seconds)
                told = {"round": i, "contender": contender.key, "alone_p99_ms": alone["p99_ms"]}
                results.neighbours.append({**told, "p50_ms": busy.p50_ms, "p99_ms": busy.p99_ms, "n": busy.answered})

            say(f"{names.upper()}: round {i + 1} of {plan.rounds}")
            in_turn(running, measure, names, results, say)


def under_load(contender: Contender, tree: Tree, cheap: Case, slow: Case, seconds: float) -> Told:
    """Ask the cheap model while the slow one is kept busy from before until after."""
    heavy = begun(work_for(contender, tree, slow, clients=NEIGHBOURS, seconds=seconds + 2 * WARM_S))
    time.sleep(WARM_S)
    light = finished(begun(work_for(contender, tree, cheap, clients=1, seconds=seconds)))
    finished(heavy)
    return light
