"""What explanations cost predictions: `/predict` beside ten times as many `/explain` as can be, and both in one request.

A flood takes more than the worker's time: whoever sends it, and the system that carries it, take the machine's. So the same
flood is sent to another service as well: what predictions wait for then, no worker can mend.

Run in `tests`: `python -m bench.explaining`, some five minutes, or with `--short`, within one. Each figure is told as it is found,
and all of them at the end; nothing is asserted on a clock.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ekiben as ek
from bench import models
from bench.__main__ import narrator
from traffic.arrivals import offer
from traffic.load import Request, Tally, run

SEED, BUDGET_MS = 12, 200
PREDICTIONS_PER_S = 100.0
TIMES = 10  # as many explanations as can be
MOST_PER_S = 2500.0  # that one sender can keep to
AROUND_S = 1.0  # that a flood is longer than what is measured in it
MODELS = {  # what is explained apart, and what in the worker itself
    "apart": RandomForestClassifier(30, random_state=0),
    "inline": HistGradientBoostingClassifier(random_state=0),
}
HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long services are warmed up and measured, and how often each flood comes, in turn."""

    warm_s: float = 10
    seconds: float = 10
    patience_s: float = 60  # of whoever asks for explanations
    rounds: int = 3
    rounds_together: int = 5


SHORT = Plan(warm_s=1, seconds=2, patience_s=2, rounds=1, rounds_together=1)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where services lie, how much is measured, and who is told."""

    folder: Path
    plan: Plan
    say: Callable[[str], None]

    def told(self, what: str, figures: dict[str, float]) -> dict[str, float]:
        """Tell what was found, and give it."""
        self.say(f"{what}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
        return figures


def trained() -> tuple[pd.DataFrame, pd.Series[Any]]:
    rng = np.random.default_rng(SEED)
    frame = pd.DataFrame(rng.normal(size=(1000, 12)), columns=[f"c{i}" for i in range(12)])
    return frame, pd.Series((frame["c0"] + frame["c1"] ** 2 + rng.normal(size=1000) > 1).astype(int))


def asked(path: str, frame: pd.DataFrame, kind: str, *statuses: int, **more: Any) -> Request:
    body = json.dumps({"rows": frame.head(1).to_dict("records"), **more}).encode()
    return Request(kind, "POST", path, HEADERS, body, frozenset(statuses))


def flooded(url: str, request: Request, per_second: float, plan: Plan, told: Any) -> None:
    """Ask for explanations from another process, so that the one that measures is not kept from it; say first that it begins."""
    told.put("begun")
    seconds = plan.seconds + AROUND_S
    tally = offer(url, repeat(request), per_second=per_second, seconds=seconds, seed=SEED, timeout_s=plan.patience_s)
    told.put({str(outcome): n for outcome, n in tally.outcomes.items()})


def predicted(url: str, request: Request, seconds: float) -> dict[str, float]:
    tally: Tally = offer(url, repeat(request), per_second=PREDICTIONS_PER_S, seconds=seconds, seed=SEED + 1)
    good = tally.outcomes[200] / tally.sent
    return {"p50_ms": tally.percentile_ms(50), "p99_ms": tally.percentile_ms(99), "goodput": good}


def flooding(url: str, explain: Request, per_second: float, predicting: str, predict: Request, plan: Plan) -> Any:
    """Predict while a service is flooded, and tell what became of both."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    flood = context.Process(target=flooded, args=(url, explain, min(per_second, MOST_PER_S), plan, told))
    flood.start()
    told.get(timeout=120)  # it has begun: importing what it needs takes seconds
    during = predicted(predicting, predict, plan.seconds)
    outcomes = told.get(timeout=120)
    flood.join()
    return {**during, "explained": outcomes}


def beside(bench: Bench, name: str, model: ClassifierMixin) -> dict[str, Any]:
    """Predict alone, beside a flood of explanations, beside one that another service gets, and alone again."""
    frame, target = trained()
    plan, folder, told = bench.plan, bench.folder, bench.told
    package = ek.pack(model.fit(frame, target), name=name, reference=frame, overview=False)
    budgets = ek.Budgets(explain_ms=BUDGET_MS)
    ours, other = (ek.scaffold(folder / f"{name}_{each}", arms={"only": package}, budgets=budgets) for each in "ab")
    predict, explain = asked("/predict", frame, "predict", 200), asked("/explain", frame, "explain", 200, 202, 429)
    homes = ({"EKIBEN_HOME": str(folder / "home" / each)} for each in "ab")
    with ek.serve(ours, environment=next(homes)) as server, ek.serve(other, environment=next(homes)) as elsewhere:
        bench.say(f"{name}: warming up")
        for each in (elsewhere, server):
            run(each.url, repeat(explain), clients=1, seconds=plan.warm_s)  # until its process is warm
        capacity = run(server.url, repeat(explain), clients=1, seconds=plan.warm_s / 2).per_second
        told(name, {"explanations a second": capacity})
        floods = {"here": server.url, "elsewhere": elsewhere.url}
        predicted(server.url, predict, plan.warm_s)
        before = told(f"{name}: before", predicted(server.url, predict, plan.seconds))
        rounds = []
        for i in range(plan.rounds):
            found = {}
            for where, url in floods.items():
                found[where] = flooding(url, explain, TIMES * capacity, server.url, predict, plan)
                shown = {key: value for key, value in found[where].items() if key != "explained"}
                told(f"{name}: flooded {where}, round {i + 1} of {plan.rounds}", shown)
            rounds.append(found)
        after = told(f"{name}: after", predicted(server.url, predict, plan.seconds))
    return {"explanations_per_s": capacity, "before": before, "flooded": rounds, "after": after}


def together(bench: Bench, name: str, model: Any, frame: pd.DataFrame) -> dict[str, float]:
    """Predict with a model that its plan explains, without and with explanations, and tell the ratio of both."""
    package = ek.pack(model, name=name, reference=frame, overview=False)
    asks = {
        "predict": asked("/predict", frame, "predict", 200),
        "with explanations": asked("/predict", frame, "both", 200, explain=True),
        "explain": asked("/explain", frame, "explain", 200),
    }
    rounds = []
    folder = ek.scaffold(bench.folder / name, arms={"only": package})
    with ek.serve(folder, environment={"EKIBEN_HOME": str(bench.folder / "home")}) as server:
        for i in range(bench.plan.rounds_together):
            found = {
                kind: run(server.url, repeat(request), clients=1, seconds=2).percentile_ms(50)
                for kind, request in asks.items()
            }
            rounds.append(found | {"ratio": found["with explanations"] / found["predict"]})
            bench.told(f"{name} together, p50 ms, round {i + 1} of {bench.plan.rounds_together}", rounds[-1])
    return {kind: float(np.median([found[kind] for found in rounds])) for kind in rounds[0]}


def explained_at_once() -> dict[str, tuple[Any, pd.DataFrame]]:
    """Give a linear model and one of 300 trees, fitted, with their rows."""
    frame, target = trained()
    trees = models.CASES["b"]()
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, target)
    return {"linear": (linear, frame), "trees": (trees.model, trees.frame)}


def main() -> None:
    """Measure, tell what is found as it is found, and write all of it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.explaining", description="What explanations cost predictions."
    )
    parser.add_argument("--short", action="store_true", help="one round of each, shorter: within a minute")
    plan = SHORT if parser.parse_args().short else Plan()
    with tempfile.TemporaryDirectory() as made:
        bench = Bench(folder=Path(made), plan=plan, say=narrator())
        figures: dict[str, Any] = {name: beside(bench, name, model) for name, model in MODELS.items()}
        figures["together_p50_ms"] = {
            name: together(bench, name, *fitted) for name, fitted in explained_at_once().items()
        }
    json.dump(figures, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
