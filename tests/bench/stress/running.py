"""The whole run: each contender alone on the machine, through every scenario."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from sklearn.linear_model import LogisticRegression

import ekiben as ek
from bench import models, running
from bench.contenders import Contender, Setting
from bench.environments import UnavailableError
from bench.measuring import Run, leave_out
from bench.models import Case
from bench.servers import Tree
from bench.stress import attacks, dialects, doors, kills, overload, restarts
from bench.stress.pulse import Pulse
from traffic.hostile import hostile
from traffic.verify import judge

CONTENDERS = ("ekiben", "fastapi", "bentoml", "litserve", "mlflow", "mlserver")
CHEAP, MIXED, SLOW = "a", "c", "d"  # models: quick; with gaps and whole numbers; slow
CONTAINERS = ("ekiben", "bentoml")  # who behaves otherwise when it is told that it runs in a container
LIMITED = ("ekiben", "fastapi", "bentoml")  # who can be told how many requests to take at once
LIMIT = overload.CLIENTS + 1
CANNOT = {
    (
        "mlserver",
        "kills",
    ): "Its pool of processes does not start with the uvloop that its requirements lead to, which gives a main "
    "thread no event loop; with inference in its first process there is none to kill.",
}
SEED = 20
N_ROWS = 100  # of a request in an overload
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is tried."""

    n_attacks: int
    attacks_s: float  # after which no more are sent: some need seconds for one
    offered_s: float
    n_restarts: int
    patience_s: float = 60.0


FULL = Plan(n_attacks=10_000, attacks_s=900.0, offered_s=60.0, n_restarts=10)
SHORT = Plan(n_attacks=1_000, attacks_s=90.0, offered_s=10.0, n_restarts=3)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One contender in one scenario."""

    run: Run
    contender: Contender
    cases: dict[str, Case]

    @contextmanager
    def served(self, key: str, setting: Setting | None = None) -> Iterator[Tree]:
        """Serve one model meanwhile."""
        tree = self.contender.start([self.cases[key]], self.run.place, setting or Setting())
        try:
            yield tree
        finally:
            tree.end()

    @property
    def is_ours(self) -> bool:
        return self.contender.key == "ekiben"


Scenario = Callable[[Trial], Iterator[dict[str, Any]]]


def attacked(trial: Trial) -> Iterator[dict[str, Any]]:
    """Send malformed bodies."""
    case = trial.cases[MIXED]
    row, kinds, nullable = case.rows[0], dialects.kinds_of(case), dialects.nullable_of(case)
    spelled = dialects.spelling(trial.contender, case)

    def make(**aims: Any) -> Iterator[Any]:
        return hostile(row, kinds, nullable, seed=SEED, spelling=spelled, **aims)

    with trial.served(MIXED) as tree:
        own = judge if trial.is_ours else None
        told = attacks.trapped(
            url_of(tree), make, n=trial.run.plan.n_attacks, judge=own, seconds=trial.run.plan.attacks_s
        )
        yield {**told, "lives": tree.exit_code() is None}


def killed(trial: Trial) -> Iterator[dict[str, Any]]:
    """Kill a worker; where a container changes what follows, there too."""
    for contained in (False, True) if trial.contender.key in CONTAINERS else (False,):
        environment = {"BENTOML_CONTAINERIZED": "true"} if contained else {}
        told = killed_recorded(trial, environment) if trial.is_ours else killed_once(trial, environment, Pulse())
        yield {"contained": contained, **told}


def killed_once(trial: Trial, environment: Mapping[str, str], pulse: Pulse) -> dict[str, Any]:
    """Kill a worker of one server."""
    request = dialects.asked(trial.contender, trial.cases[SLOW])
    with trial.served(SLOW, Setting(workers=WORKERS, environment=environment)) as tree:
        return kills.kill_one(tree, request, pulse, patience_s=trial.run.plan.patience_s)


def killed_recorded(trial: Trial, environment: Mapping[str, str]) -> dict[str, Any]:
    """Kill a worker of a server that records, and hold the ids that were heard against those on the disk."""
    heard: list[str] = []
    pulse = Pulse(lambda answer: heard.append(answer.headers["x-ekiben-id"]))
    with TemporaryDirectory(prefix="ekiben-records-") as home:
        told = killed_once(trial, {**environment, "EKIBEN_RECORDS": home}, pulse)
        (service,) = Path(home).iterdir()
        found = ek.records(service)["id"].tolist()
    return {**told, "missing": len({*heard} - {*found}), "doubled": len(found) - len({*found})}


def overloaded(trial: Trial) -> Iterator[dict[str, Any]]:
    """Offer ten times what it can answer."""
    request, plan = dialects.asked(trial.contender, trial.cases[SLOW], n_rows=N_ROWS), trial.run.plan
    for limit in (None, LIMIT) if trial.contender.key in LIMITED else (None,):
        with trial.served(SLOW, Setting(limit=limit)) as tree:
            told = overload.overload(tree, request, seconds=plan.offered_s, seed=SEED, patience_s=plan.patience_s)
        yield {"limit": limit, **told}


def restarted(trial: Trial) -> Iterator[dict[str, Any]]:
    """Restart two of it behind a balancer."""
    environment = {"EKIBEN_DRAIN_S": "3"} if trial.is_ours else {}

    def start(i: int, port: int) -> Tree:
        setting = Setting(name=f"-{i}", port=port, environment=environment)
        return trial.contender.start([trial.cases[CHEAP]], trial.run.place, setting)

    request, probe = dialects.asked(trial.contender, trial.cases[CHEAP]), dialects.READY[trial.contender.key]
    told = restarts.restart(start, request, probe=probe, n=trial.run.plan.n_restarts, seed=SEED)
    yield {"probe": probe, **told}


def tried_doors(trial: Trial) -> Iterator[dict[str, Any]]:
    """Ask every route without a key that may."""
    locks, case = dialects.locks(trial.contender), trial.cases[CHEAP]
    body = dialects.asked(trial.contender, case).body
    names = {"model_name": CHEAP} if not trial.is_ours else {}
    with trial.served(CHEAP, Setting(environment=locks.environment, headers=locks.good)) as tree:
        yield doors.doors(url_of(tree), locks, body=body, named=names)


def url_of(tree: Tree) -> str:
    return f"http://127.0.0.1:{tree.port}"


SCENARIOS: dict[str, Scenario] = {
    "attacks": attacked,
    "kills": killed,
    "overloads": overloaded,
    "restarts": restarted,
    "doors": tried_doors,
}


def measure(run: Run, names: Sequence[str], scenarios: Sequence[str], *, only_built: bool = False) -> None:
    """Take contenders through scenarios; the results fill as it goes on.

    Parameters
    ----------
    run
        How much is tried, where things are kept, and who is told.
    names
        Keys of the contenders; all that can take part if there are none.
    scenarios
        Keys of `SCENARIOS`; all if there are none.
    only_built
        Leave out the peers that are not installed yet, and say so.
    """
    among = list(running.gather(run, names or CONTENDERS, only_built=only_built))
    cases = {key: running.train(run, key) for key in (CHEAP, SLOW)} | {MIXED: mixed(run)}
    run.results.about = about(cases, among, run.plan)
    run.results.versions = {each.key: each.versions() for each in among}
    for name, each in product(scenarios or SCENARIOS, among):  # one after the other, while the machine is much the same
        run.say(f"{name}: {each.title}")
        attempt(run, name, Trial(run=run, contender=each, cases=cases))


def mixed(run: Run) -> Case:
    """Fit the simplest model to the data with gaps: what is tried is how a body is read."""
    case = models.credit_of(
        LogisticRegression(max_iter=1000), "logistic regression on real credit data, 13 columns with gaps"
    )
    models.keep(case, run.place.models)
    return case


def attempt(run: Run, name: str, trial: Trial) -> None:
    """Take one contender through one scenario; one that breaks off is told, and ekiben's is a broken promise."""
    if (why := CANNOT.get((trial.contender.key, name))) is not None:
        leave_out(run, trial.contender, name, why)
        return
    try:
        for told in SCENARIOS[name](trial):
            getattr(run.results, name).append({"contender": trial.contender.key, **told})
    except (UnavailableError, OSError, httpx.HTTPError, ek.EkibenError) as reason:
        leave_out(run, trial.contender, name, str(reason))
    gc.collect()


def about(cases: dict[str, Case], among: Sequence[Contender], plan: Plan) -> dict[str, Any]:
    """Tell what is tried, and on what machine."""
    return {**running.where(cases.values(), among), **asdict(plan), "seed": SEED, "n_rows": N_ROWS}
