"""What explanations cost predictions: `/predict` beside ten times as many `/explain` as can be, and both in one request.

A flood takes more than the worker's time: whoever sends it, and the system that carries it, take the machine's. So the same
flood is sent to another service as well: what predictions wait for then, no worker can mend.

Run in `tests`: `python -m bench.explaining`. It writes figures; nothing is asserted on a clock.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
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
from traffic.arrivals import offer
from traffic.load import Request, Tally, run

SECONDS, SEED, BUDGET_MS = 10.0, 12, 200
PREDICTIONS_PER_S = 100.0
TIMES = 10  # as many explanations as can be
MOST_PER_S = 2500.0  # that one sender can keep to
ROUNDS = 3  # of each flood, in turn
MODELS = {  # what is explained apart, and what in the worker itself
    "apart": RandomForestClassifier(30, random_state=0),
    "inline": HistGradientBoostingClassifier(random_state=0),
}
HEADERS = {"content-type": "application/json"}


def trained() -> tuple[pd.DataFrame, pd.Series[Any]]:
    rng = np.random.default_rng(SEED)
    frame = pd.DataFrame(rng.normal(size=(1000, 12)), columns=[f"c{i}" for i in range(12)])
    return frame, pd.Series((frame["c0"] + frame["c1"] ** 2 + rng.normal(size=1000) > 1).astype(int))


def asked(path: str, frame: pd.DataFrame, kind: str, *statuses: int, **more: Any) -> Request:
    body = json.dumps({"rows": frame.head(1).to_dict("records"), **more}).encode()
    return Request(kind, "POST", path, HEADERS, body, frozenset(statuses))


def flooded(url: str, request: Request, per_second: float, seconds: float, told: Any) -> None:
    """Ask for explanations from another process, so that the one that measures is not kept from it."""
    tally = offer(url, repeat(request), per_second=per_second, seconds=seconds, seed=SEED, timeout_s=60)
    told.put({str(outcome): n for outcome, n in tally.outcomes.items()})


def predicted(url: str, request: Request) -> dict[str, float]:
    tally: Tally = offer(url, repeat(request), per_second=PREDICTIONS_PER_S, seconds=SECONDS, seed=SEED + 1)
    good = tally.outcomes[200] / tally.sent
    return {"p50_ms": tally.percentile_ms(50), "p99_ms": tally.percentile_ms(99), "goodput": good}


def flooding(url: str, explain: Request, per_second: float, predicting: str, predict: Request) -> dict[str, Any]:
    """Predict while a service is flooded, and tell what became of both."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    flood = context.Process(target=flooded, args=(url, explain, min(per_second, MOST_PER_S), SECONDS + 2, told))
    flood.start()
    during = predicted(predicting, predict)
    outcomes = told.get(timeout=120)
    flood.join()
    return {**during, "explained": outcomes}


def beside(folder: Path, name: str, model: ClassifierMixin) -> dict[str, Any]:
    """Predict alone, beside a flood of explanations, beside one that another service gets, and alone again."""
    frame, target = trained()
    package = ek.pack(model.fit(frame, target), name=name, reference=frame)
    budgets = ek.Budgets(explain_ms=BUDGET_MS)
    ours, other = (ek.scaffold(folder / f"{name}_{each}", arms={"only": package}, budgets=budgets) for each in "ab")
    predict, explain = asked("/predict", frame, "predict", 200), asked("/explain", frame, "explain", 200, 202, 429)
    homes = ({"EKIBEN_HOME": str(folder / "home" / each)} for each in "ab")
    with ek.serve(ours, environment=next(homes)) as server, ek.serve(other, environment=next(homes)) as elsewhere:
        for each in (elsewhere, server):
            run(each.url, repeat(explain), clients=1, seconds=10)  # until its process is warm
        capacity = run(server.url, repeat(explain), clients=1, seconds=5).per_second
        floods = {"here": server.url, "elsewhere": elsewhere.url}
        predicted(server.url, predict)
        before = predicted(server.url, predict)
        rounds = [
            {where: flooding(url, explain, TIMES * capacity, server.url, predict) for where, url in floods.items()}
            for _ in range(ROUNDS)
        ]
        after = predicted(server.url, predict)
    return {"explanations_per_s": capacity, "before": before, "flooded": rounds, "after": after}


def together(folder: Path) -> dict[str, float]:
    """Predict with a linear model, without and with explanations."""
    frame, target = trained()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, target)
    package = ek.pack(model, name="linear", reference=frame)
    found: dict[str, list[float]] = {"predict": [], "with explanations": [], "explain": []}
    asks = {
        "predict": asked("/predict", frame, "predict", 200),
        "with explanations": asked("/predict", frame, "both", 200, explain=True),
        "explain": asked("/explain", frame, "explain", 200),
    }
    with ek.serve(
        ek.scaffold(folder / "linear", arms={"only": package}), environment={"EKIBEN_HOME": str(folder / "home")}
    ) as server:
        for _ in range(5):
            for name, request in asks.items():
                found[name].append(run(server.url, repeat(request), clients=1, seconds=2).percentile_ms(50))
    return {name: float(np.median(times)) for name, times in found.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        figures: dict[str, Any] = {name: beside(Path(made), name, model) for name, model in MODELS.items()}
        figures["together_p50_ms"] = together(Path(made))
    json.dump(figures, sys.stdout, indent=1)
    print()
