"""Malformed bodies, the same for everyone: what fails, what is taken that should be refused, and what leaks."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from traffic.hostile import Hostile
from traffic.load import Answer, Judge, Request, Tally, run
from traffic.verify import leaks_of, listener

CLIENTS = 8
TIMEOUT_S = 30.0


class Ear:
    """It hears every answer: what was taken that should have been refused, and what was given away.

    Parameters
    ----------
    judge
        Names faults of an answer beside leaks, where a service promises a form.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.taken, self.leaking, self.leaks = Counter[str](), 0, Counter[str]()
        self._judge = judge

    def __call__(self, request: Request, answer: Answer) -> list[str]:
        if answer.status < 400 and answer.status not in request.expect:
            self.taken[request.kind] += 1
        leaks = leaks_of(answer) if answer.status >= 400 else []
        self.leaking += bool(leaks)
        self.leaks.update(leaks)
        return list(self._judge(request, answer)) if self._judge else leaks


def attack(
    url: str, stream: Iterator[Hostile], *, n: int, judge: Judge | None = None, seconds: float | None = None
) -> dict[str, Any]:
    """Send hostile requests to a server, and tell what became of them."""
    ear = Ear(judge)
    tally = run(url, stream, clients=CLIENTS, n=n, judge=ear, timeout_s=TIMEOUT_S, seconds=seconds)
    counts = {kind: _counted(outcomes, ear.taken[kind]) for kind, outcomes in sorted(tally.by_kind.items())}
    return {
        "sent": tally.sent,
        "seconds": tally.seconds,
        **{name: sum(each[name] for each in counts.values()) for name in ("failed", "dropped", "taken")},
        "unexpected": tally.n_unexpected,
        "leaking": ear.leaking,
        "leaks": dict(ear.leaks),
        "faults": dict(tally.faults),
        "by_kind": counts,
        "odd": list(_odd(tally)),
    }


def _counted(outcomes: Counter[int | str], taken: int) -> dict[str, int]:
    failed = sum(n for outcome, n in outcomes.items() if isinstance(outcome, int) and outcome >= 500)
    dropped = sum(n for outcome, n in outcomes.items() if isinstance(outcome, str))
    return {"sent": outcomes.total(), "failed": failed, "dropped": dropped, "taken": taken}


def _odd(tally: Tally) -> Iterator[dict[str, Any]]:
    for each in tally.odd:
        body = each.request.body[:400].decode("utf-8", "replace")
        told = {"kind": each.request.kind, "path": each.request.path, "body": body, "outcome": each.outcome}
        yield {**told, "faults": list(each.faults), "answer": each.body[:400].decode("utf-8", "replace")}


def trapped(
    url: str,
    make: Callable[..., Iterator[Hostile]],
    *,
    n: int,
    judge: Judge | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Attack with `make(port=…, touch=…)`, and tell too whether the server called out, or unpickled what it was sent."""
    with tempfile.TemporaryDirectory(prefix="ekiben-trap-") as folder, listener() as outside:
        touched = Path(folder) / "touched"
        told = attack(url, make(port=outside.port, touch=touched), n=n, judge=judge, seconds=seconds)
        return {**told, "outbound": outside.connections, "unpickled": touched.exists()}
