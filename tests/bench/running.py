"""The whole run: gather contenders, train the models, measure each, and tell on what."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import contenders, environments, inside, measuring, models, ours
from bench.contenders import Contender, Place
from bench.environments import UnavailableError
from bench.measuring import Plan, Results, Say
from bench.models import Case
from bench.peers import PEERS

__all__ = ["FULL", "SHORT", "Place", "run"]

FULL = Plan(rounds=5, seconds=2.0)
SHORT = Plan(rounds=3, seconds=0.5)
CHEAP, SLOW = "a", "d"  # models of the same columns, which one service can hold
OURS: dict[str, Callable[[], Contender]] = {"ekiben": ours.Ekiben, "ekiben_arms": ours.TwoArms}


def run(
    cases: Sequence[str],
    names: Sequence[str] | None,
    plan: Plan,
    place: Place,
    results: Results,
    *,
    say: Say,
    only_built: bool = False,
) -> None:
    """Measure contenders on models.

    Parameters
    ----------
    cases
        Keys of the models: `a`, `b`, `c`, `d`.
    names
        Keys of the contenders; all by default.
    results
        Takes what is measured, as soon as it is.
    only_built
        Leave out the peers that are not installed yet, and say so.
    """
    among = list(gather(names or [*OURS, *PEERS], place, results, say, only_built=only_built))
    trained = {key: train(key, place, say) for key in sorted({*cases})}
    results.about = about(trained.values(), among, plan)
    results.versions = {each.key: each.versions() for each in among}
    for key, case in trained.items():
        measuring.compare(case, serving(key, among), plan, place, results, say)
        say(f"{key.upper()}: inside one process")
        results.inside += inside.measure(case, ours.packed(case), rounds=plan.rounds)
    if {CHEAP, SLOW} <= set(trained):
        several = [ours.Neighbours() if each.key == "ekiben" else each for each in among]
        several = [each for each in several if each.serves_many and each.key != "null"]
        measuring.beside(trained[CHEAP], trained[SLOW], several, plan, place, results, say)


def gather(names: Sequence[str], place: Place, results: Results, say: Say, *, only_built: bool) -> Iterator[Contender]:
    """Give each contender that is installed, or can be."""
    for name in names:
        try:
            yield contender(name, place, say, only_built=only_built)
        except UnavailableError as reason:
            results.missing.append({"contender": name, "case": "", "why": str(reason)})
            say(f"{name} is left out. {reason}")


def contender(name: str, place: Place, say: Say, *, only_built: bool) -> Contender:
    """Give one contender by its key, built if need be."""
    if name in OURS:
        return OURS[name]()
    if name not in PEERS:
        raise UnavailableError(f"There is no such contender. Known: {', '.join([*OURS, *PEERS])}.")
    if not environments.is_built(name, place.environments):
        if only_built:
            raise UnavailableError("It is not built yet. Run: make bench")
        say(f"building {PEERS[name].title}")
    return contenders.install(PEERS[name], place)


def train(key: str, place: Place, say: Say) -> Case:
    """Fit a model, and keep it where the peers look for it."""
    say(f"{key.upper()}: training")
    case = models.CASES[key]()
    models.keep(case, place.models)
    return case


def serving(key: str, among: Sequence[Contender]) -> list[Contender]:
    """Give those who serve a model; the second arm is measured beside the first only on the cheap one."""
    return [each for each in among if key == CHEAP or each.key != "ekiben_arms"]


def about(cases: Iterable[Case], among: Sequence[Contender], plan: Plan) -> dict[str, Any]:
    """Tell what is measured, and on what machine, without naming it."""
    return {
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "python": platform.python_version(),
        "pinned": measuring.CORES.are_parted,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "clients": list(plan.clients),
        "cases": [{"key": case.key, "title": case.title} for case in cases],
        "contenders": [{"key": each.key, "title": each.title, "says": each.says} for each in among],
    }


def machine() -> str:
    """Say what kind of machine this is.

    >>> "core" in machine()
    True
    """
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    kinds = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    kind = re.sub(r"\((R|TM)\)", "", kinds[0]) if kinds else platform.machine()
    n = len(os.sched_getaffinity(0))
    return f"{n} core{'s' * (n > 1)} of {kind}, Linux {platform.release().partition('-')[0]}"
