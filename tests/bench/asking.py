"""Ask one running contender: whether it answers what the model answers, and what its answers cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from bench import contenders, load
from bench.contenders import Contender
from bench.environments import UnavailableError
from bench.load import Told, Work
from bench.models import Case
from bench.servers import Tree

TOLERANCE = 1e-6  # of a probability; trees answer in single precision
WARM_S = 0.5
BUSY = 16  # clients that keep a slow model busy


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


def agreement(contender: Contender, tree: Tree, case: Case) -> dict[str, Any]:
    """Hold a contender's answers against the model's own; the null server promises none."""
    if contender.key == "null":
        return {"difference": None, "agrees": True}
    try:
        answers = [contenders.ask(tree, contender, case, body).json() for body in contender.bodies(case)]
        chances = [contender.chance(answer) for answer in answers]
    except (LookupError, TypeError, ValueError) as reason:
        return {"difference": None, "agrees": False, "why": f"its answer cannot be read: {reason!r}"}
    difference = max(abs(came - wanted) for came, wanted in zip(chances, case.chances, strict=True))
    return {"difference": difference, "agrees": difference <= TOLERANCE}


def cost(
    contender: Contender, tree: Tree, case: Case, *, clients: int, seconds: float, awake: bool = True
) -> dict[str, Any]:
    """Load a server for a while, and tell what that cost its whole tree."""
    work = work_for(contender, tree, case, clients=clients, seconds=seconds, awake=awake)
    before = tree.cpu_s()
    told = finished(begun(work))
    spent = tree.cpu_s() - before
    each = spent / told.answered * 1e6 if told.answered else None
    return {"clients": clients, **told.counts(), "cpu_s": spent, "cpu_us": each, "memory_mib": tree.memory_mib()}


def cost_beside(contender: Contender, tree: Tree, cheap: Case, slow: Case, *, seconds: float) -> Told:
    """Ask the cheap model by one client, while the slow one is kept busy from before until after."""
    heavy = begun(work_for(contender, tree, slow, clients=BUSY, seconds=seconds + 2 * WARM_S, awake=False))
    time.sleep(WARM_S)
    light = finished(begun(work_for(contender, tree, cheap, clients=1, seconds=seconds, awake=False)))
    finished(heavy)
    return light


def work_for(contender: Contender, tree: Tree, case: Case, **how: Any) -> Work:
    """Write what a client is to do, and `how` it does it."""
    return Work(port=tree.port, path=contender.path(case), bodies=contender.bodies(case), core=CORES.client, **how)


def begun(work: Work) -> subprocess.Popen[str]:
    """Start a client in a process of its own."""
    command = [sys.executable, "-S", "-E", load.__file__]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdin is not None
    client.stdin.write(json.dumps(asdict(work)))
    client.stdin.close()
    return client


def finished(client: subprocess.Popen[str]) -> Told:
    """Wait for a client, and read what it tells.

    Raises
    ------
    UnavailableError
        If it could not do its work, such as when nobody listens any more.
    """
    assert client.stdout is not None
    with client, client.stdout as output:
        read = output.read()
    if client.returncode:
        raise UnavailableError(f"The client ended with code {client.returncode}.")
    return Told(**json.loads(read))
