"""What it takes to say what each column added to one row, in process: ekiben's exact methods beside XGBoost's own and a prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from xgboost import DMatrix

import ekiben as ek
from bench import models
from bench.inside import cpu_us, repeats

Call = Callable[[int], Any]
ROUNDS = 15


def calls_of_trees() -> tuple[Mapping[str, Call], float]:
    """Give what is asked of B, and how far ekiben's numbers lie from XGBoost's."""
    case = models.boosted()
    package = ek.pack(case.model, name="b", reference=case.frame, target=case.target, progress=_quiet)
    booster, rows = case.model.get_booster(), case.frame.head(models.N_ASKED)
    booster.set_param({"nthread": 1})
    array, names = rows.to_numpy(), list(case.frame)
    columns = [[[row[name]] for name in names] for row in rows.to_dict("records")]

    def contributions(i: int) -> Any:
        one = DMatrix(array[i : i + 1], nthread=1, feature_names=booster.feature_names)
        return booster.predict(one, pred_contribs=True)

    explain, predict = package.explainer.explain_columns, booster.inplace_predict
    apart = max(
        abs(np.array([*explain(columns[i], 1)[0].contributions.values()]) - contributions(i)[0, :-1]).max()
        for i in range(len(rows))
    )
    return {
        "ekiben, by tables": lambda i: explain(columns[i], 1),
        "XGBoost's pred_contribs": contributions,
        "one prediction (inplace_predict)": lambda i: predict(array[i : i + 1], validate_features=False),
    }, apart


def calls_of_linear() -> Mapping[str, Call]:
    """Give what is asked of A."""
    case = models.linear()
    package = ek.pack(case.model, name="a", reference=case.frame, target=case.target, progress=_quiet)
    rows = [tuple(row.values()) for row in case.rows]
    columns = [[[value] for value in row] for row in rows]
    explain, plan = package.explainer.explain_columns, package.plan
    return {
        "ekiben, closed form": lambda i: explain(columns[i], 1),
        "one prediction (the plan)": lambda i: plan.predictions([rows[i]]),
    }


def measure(calls: Mapping[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Give the median CPU of each call, in microseconds, all measured in turn."""
    times = {name: repeats(partial(call, 0)) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name, call in calls.items():
            found[name].append(cpu_us(partial(call, i % models.N_ASKED), times[name]))
    return {name: median(each) for name, each in found.items()}


def _quiet(words: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    tree_calls, apart = calls_of_trees()
    print(f"largest difference from XGBoost's: {apart:.1e}")
    for calls in (tree_calls, calls_of_linear()):
        for name, microseconds in measure(calls).items():
            print(f"{name:40} {microseconds:9.1f} us")
