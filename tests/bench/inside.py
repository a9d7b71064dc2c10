"""What rows cost inside one process: through the model itself, and through what ekiben packed of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ekiben as ek
from bench.models import Case

N_ROWS = (1, 32, 1024)
LEAST_S = 0.05  # of CPU, for one figure

Call = Callable[[], object]


def measure(case: Case, package: ek.Package, *, rounds: int) -> list[dict[str, Any]]:
    """Time both in turn, for one row and for many."""
    told = []
    for n_rows in N_ROWS:
        calls = {"model": by_model(case, n_rows), "package": by_package(case, package, n_rows)}
        times = {name: repeats(call) for name, call in calls.items()}
        for i in range(rounds):
            for name, call in calls.items():
                cost = cpu_us(call, times[name])
                told.append({"round": i, "case": case.key, "rows": n_rows, "through": name, "cpu_us": cost})
    return told


def by_model(case: Case, n_rows: int) -> Call:
    """Ask the model for rows as it takes them at the least cost."""
    given = case.given(n_rows)
    return lambda: case.model.predict_proba(given)


def by_package(case: Case, package: ek.Package, n_rows: int) -> Call:
    """Ask the package's plan for rows as a request has them; where the model is quicker, or all there is, for a frame."""
    frame = case.frame.dropna().head(n_rows)
    plan = getattr(package, "plan", None)
    if plan is not None and n_rows < (plan.costs.crossover or math.inf):
        rows = list(frame[list(package.schema.names)].astype(object).itertuples(index=False, name=None))
        with suppress(ek.EkibenError):  # a plan may leave these rows to the model
            plan.predictions(rows)
            return lambda: plan.predictions(rows)
    return lambda: package.predict(frame)


def repeats(call: Call) -> int:
    """Find how many calls take long enough to be timed."""
    call()
    return max(1, round(LEAST_S / max(cpu_us(call, 3) / 1e6, 1e-7)))


def cpu_us(call: Call, n: int) -> float:
    """Give microseconds of CPU a call."""
    began = time.process_time()
    for _ in range(n):
        call()
    return (time.process_time() - began) / n * 1e6
