"""What explanations cost predictions: `/predict` beside ten times as many `/explain` as can be, and both in one request.

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
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ekiben as ek
from traffic.arrivals import offer
from traffic.load import Request, Tally, run

SECONDS, SEED, BUDGET_MS = 15.0, 12, 200
PREDICTIONS_PER_S = 100.0
TIMES = 10  # as many explanations as can be
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


def beside(folder: Path) -> dict[str, Any]:
    """Predict alone, beside a flood of explanations, and alone again."""
    frame, target = trained()
    package = ek.pack(RandomForestClassifier(30, random_state=0).fit(frame, target), name="forest", reference=frame)
    service = ek.scaffold(folder / "forest", arms={"only": package}, budgets=ek.Budgets(explain_ms=BUDGET_MS))
    predict, explain = asked("/predict", frame, "predict", 200), asked("/explain", frame, "explain", 200, 202, 429)
    with ek.serve(service, environment={"EKIBEN_HOME": str(folder / "home")}) as server:
        run(server.url, repeat(explain), clients=1, seconds=10)  # until its process is warm
        capacity = run(server.url, repeat(explain), clients=1, seconds=5).per_second
        predicted(server.url, predict)
        before = predicted(server.url, predict)
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        given = (server.url, explain, TIMES * capacity, SECONDS + 4, told)
        flood = context.Process(target=flooded, args=given)
        flood.start()
        during = predicted(server.url, predict)
        outcomes = told.get(timeout=120)
        flood.join()
        after = predicted(server.url, predict)
    return {"explanations_per_s": capacity, "before": before, "during": during, "after": after, "explained": outcomes}


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
        figures = {"beside": beside(Path(made)), "together_p50_ms": together(Path(made))}
    json.dump(figures, sys.stdout, indent=1)
    print()
