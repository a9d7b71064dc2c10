"""The whole run: gather contenders, train the models, measure each, and tell on what."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import asking, contenders, environments, inside, measuring, models, ours
from bench.contenders import Contender
from bench.environments import UnavailableError
from bench.measuring import Run
from bench.models import Case
from bench.peers import PEERS
from bench.results import Plan

FULL = Plan(rounds=5, seconds=2.0)
SHORT = Plan(rounds=3, seconds=0.5)
CHEAP, SLOW = "a", "d"  # models of the same columns, which one service can hold
OURS: dict[str, Callable[[], Contender]] = {
    "ekiben": ours.Ekiben,
    "ekiben_supervised": ours.Supervised,
    "ekiben_arms": ours.TwoArms,
    "ekiben_unrecorded": ours.Unrecorded,
}
KNOWN = (*OURS, *PEERS)


def measure(run: Run, cases: Sequence[str], names: Sequence[str], *, only_built: bool = False) -> None:
    """Measure contenders on models.

    Parameters
    ----------
    run
        How much is measured, where things are kept, and who is told; its results fill as it goes on.
    cases
        Keys of the models: `a`, `b`, `c`, `d`.
    names
        Keys of the contenders; all if there are none.
    only_built
        Leave out the peers that are not installed yet, and say so.
    """
    among = list(gather(run, names or KNOWN, only_built=only_built))
    trained = {key: train(run, key) for key in sorted({*cases})}
    run.results.about = about(trained.values(), among, run.plan)
    run.results.versions = {each.key: each.versions() for each in among}
    for key, case in trained.items():
        measuring.compare(run, case, serving(key, among))
        run.say(f"{key.upper()}: inside one process")
        run.results.inside += inside.measure(case, ours.packed(case), rounds=run.plan.rounds)
    if {CHEAP, SLOW} <= set(trained):
        measuring.beside(run, trained[CHEAP], trained[SLOW], holding_several(among))


def gather(run: Run, names: Sequence[str], *, only_built: bool) -> Iterator[Contender]:
    """Give each contender that is installed, or can be."""
    for name in names:
        try:
            yield contender(run, name, only_built=only_built)
        except UnavailableError as reason:
            run.results.missing.append({"contender": name, "case": "", "why": str(reason)})
            run.say(f"{name} is left out. {reason}")


def contender(run: Run, name: str, *, only_built: bool) -> Contender:
    """Give one contender by its key, built if need be."""
    if name in OURS:
        return OURS[name]()
    if name not in PEERS:
        raise UnavailableError(f"There is no such contender. Known: {', '.join(KNOWN)}.")
    if not environments.is_built(name, run.place.environments):
        if only_built:
            raise UnavailableError("It is not built yet. Run: make bench")
        run.say(f"building {PEERS[name].title}")
    return contenders.install(PEERS[name], run.place)


def train(run: Run, key: str) -> Case:
    """Fit a model, and keep it where the peers look for it."""
    run.say(f"{key.upper()}: training")
    case = models.CASES[key]()
    models.keep(case, run.place.models)
    return case


def serving(key: str, among: Sequence[Contender]) -> list[Contender]:
    """Give those who serve a model; what is measured beside ekiben itself, on the cheap model alone, where it weighs most."""
    return [each for each in among if key == CHEAP or each.key == "ekiben" or each.key not in OURS]


def holding_several(among: Sequence[Contender]) -> list[Contender]:
    """Give those who hold several models in one server; ekiben holds them as arms."""
    several = [ours.Neighbours() if each.key == "ekiben" else each for each in among]
    return [each for each in several if each.serves_many and each.key != "null"]


def about(cases: Iterable[Case], among: Sequence[Contender], plan: Plan) -> dict[str, Any]:
    """Tell what is measured, and on what machine."""
    how_much = {"rounds": plan.rounds, "seconds": plan.seconds, "clients": list(plan.clients)}
    return {**where(cases, among), "pinned": asking.CORES.are_parted, **how_much}


def where(cases: Iterable[Case], among: Sequence[Contender]) -> dict[str, Any]:
    """Tell who is asked, and on what machine, without naming it."""
    return {
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "python": platform.python_version(),
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
