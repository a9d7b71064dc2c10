"""ekiben as a contender: packed, scaffolded and served from this checkout, by its public verbs alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sklearn.base import clone

import ekiben as ek
from bench import contenders
from bench.contenders import ALONE, Place, Setting
from bench.environments import OURS
from bench.models import Case
from bench.servers import Tree
from ekiben import recording, routing

UNIT = "customer_id"


@dataclass(frozen=True, eq=False)
class Ekiben:
    """A service of one arm."""

    key: str = "ekiben"
    title: str = "ekiben"
    says: str = (
        "`ek.scaffold` and `ek.serve`, as they are: one worker, as its image starts it; access log, metrics and checks of the "
        "contract as by default"
    )
    serves_many: bool = False
    supervised: bool = False

    def start(self, cases: Sequence[Case], place: Place, setting: Setting = ALONE) -> Tree:
        folder = place.work(f"{self.key}_{''.join(case.key for case in cases)}{setting.name}")
        shutil.rmtree(folder, ignore_errors=True)  # scaffold would keep the service.py of an earlier run
        limits = {"limits": ek.Limits(concurrency=setting.limit)} if setting.limit else {}
        ek.scaffold(folder, **self.served(cases), workers=setting.workers, **limits)
        variables = {"OMP_NUM_THREADS": "1", **self.variables(), **setting.environment}
        server = ek.serve(folder, port=setting.port, environment=variables, supervised=self.supervised, progress=_quiet)
        tree = Tree(
            pid=server.pid, port=server.port, stop=server.stop, log=server.log, exit_code=lambda: server.exit_code
        )
        contenders.answers_first(tree, self, cases[0], setting.headers)
        return tree

    def served(self, cases: Sequence[Case]) -> Mapping[str, Any]:
        """Give what `ek.scaffold` is told."""
        return {"arms": {"only": packed(cases[0])}}

    def variables(self) -> Mapping[str, str]:
        """Give what its environment says beside."""
        return {}

    def path(self, case: Case) -> str:
        return "/predict"

    def bodies(self, case: Case) -> list[str]:
        return [json.dumps({"rows": [row]}) for row in case.rows]

    def chance(self, answer: Any) -> float:
        return float(list(answer["predictions"][0]["scores"].values())[1])

    def versions(self) -> dict[str, str]:
        return OURS.versions()


@dataclass(frozen=True, eq=False)
class Supervised(Ekiben):
    """The same service as `bentoml serve` starts it."""

    key: str = "ekiben_supervised"
    title: str = "ekiben, `bentoml serve`"
    says: str = "the same by `bentoml serve`, which puts a supervisor beside the one worker"
    supervised: bool = True


@dataclass(frozen=True, eq=False)
class Unrecorded(Ekiben):
    """The same service, which keeps no records."""

    key: str = "ekiben_unrecorded"
    title: str = "ekiben, no records"
    says: str = "the same with `EKIBEN_RECORDS=off`"

    def variables(self) -> Mapping[str, str]:
        return {recording.HOME: "off"}


@dataclass(frozen=True, eq=False)
class TwoArms(Ekiben):
    """The same model with a second arm beside it, customers who stick to theirs, and counts by arm."""

    key: str = "ekiben_arms"
    title: str = "ekiben, two arms"
    says: str = "the same with a canary of 10 %, a unit that sticks to its arm, and metrics by arm"

    def served(self, cases: Sequence[Case]) -> Mapping[str, Any]:
        route = ek.canary(stable="champion", canary="challenger", percent=10)
        arms = {"champion": packed(cases[0]), "challenger": packed(twin(cases[0]))}
        return {"arms": arms, "route": route, "unit": UNIT}

    def bodies(self, case: Case) -> list[str]:
        return [json.dumps({"rows": [row], UNIT: f"customer-{i}"}) for i, row in enumerate(case.rows)]


@dataclass(frozen=True, eq=False)
class Neighbours(Ekiben):
    """Two models of the same columns as two arms; which of them is asked, the unit says."""

    key: str = "ekiben"
    says: str = "both models as arms of one service; the unit says which is asked"
    serves_many: bool = True

    def served(self, cases: Sequence[Case]) -> Mapping[str, Any]:
        arms = {f"model_{case.key}": packed(case) for case in cases}
        return {"arms": arms, "route": ROUTE, "unit": UNIT}

    def bodies(self, case: Case) -> list[str]:
        unit = routing.unit_for(ROUTE, f"model_{case.key}")
        return [json.dumps({"rows": [row], UNIT: unit}) for row in case.rows]


ROUTE = ek.split(model_a=1, model_d=1)


@cache
def packed(case: Case) -> ek.Package:
    """Pack a model, once a run."""
    return ek.pack(case.model, name=f"bench_{case.key}", reference=case.frame, target=case.target, progress=_quiet)


def twin(case: Case) -> Case:
    """Fit the same model with a patience that changes no answer, so that it is another package."""
    other = clone(case.model).set_params(logisticregression__max_iter=2000)
    return replace(case, model=other.fit(case.frame, case.target))


def _quiet(words: str) -> None:
    """Say nothing: the run tells its own progress."""
