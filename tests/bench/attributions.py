"""What it takes to say what each column added to one row, in process: ekiben's exact methods beside XGBoost's own and a prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from xgboost import DMatrix

import ekiben as ek
from bench import models
from bench.goals import Goal, ratio
from bench.inside import cpu_us, repeats
from bench.reporting import table

Call = Callable[[int], Any]
ROUNDS = 15
Measured = Mapping[str, Mapping[str, float]]
TREES, LINEAR = "ekiben, by tables", "ekiben, closed form"
CONTRIBUTIONS, PREDICTION, PLANNED = (
    "XGBoost's pred_contribs", "one prediction (inplace_predict)", "one prediction (the plan)",
)  # fmt: skip


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
        TREES: lambda i: explain(columns[i], 1),
        CONTRIBUTIONS: contributions,
        PREDICTION: lambda i: predict(array[i : i + 1], validate_features=False),
    }, apart


def calls_of_linear() -> Mapping[str, Call]:
    """Give what is asked of A."""
    case = models.linear()
    package = ek.pack(case.model, name="a", reference=case.frame, target=case.target, progress=_quiet)
    rows = [tuple(row.values()) for row in case.rows]
    columns = [[[value] for value in row] for row in rows]
    explain, plan = package.explainer.explain_columns, package.plan
    return {
        LINEAR: lambda i: explain(columns[i], 1),
        PLANNED: lambda i: plan.predictions([rows[i]]),
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


def measured(rounds: int = ROUNDS) -> tuple[Measured, float]:
    """Measure both models; give also how far the values of trees lie from XGBoost's."""
    of_trees, apart = calls_of_trees()
    return {"b": measure(of_trees, rounds), "a": measure(calls_of_linear(), rounds)}, apart


def goals(found: Measured, apart: float) -> Iterator[Goal]:
    """Give what we want of the figures."""
    trees, linear = found["b"], found["a"]
    yield Goal(says="B: our CPU to a prediction's", measured=trees[TREES] / trees[PREDICTION], at_most=2)
    yield Goal(says="B: XGBoost's CPU to ours", measured=trees[CONTRIBUTIONS] / trees[TREES], at_least=8)
    yield Goal(says="B: largest difference from XGBoost's, in 0.00001", measured=apart / 1e-5, at_most=1)
    yield Goal(says="A: CPU of one row, in 20 µs", measured=linear[LINEAR] / 20, at_most=1)


def summary(found: Measured, apart: float) -> str:
    """Tell the figures on a screen."""
    marks = {True: "✓", False: "not yet", None: "not measured"}
    reached = [(goal.says, ratio(goal.measured), goal.wanted, marks[goal.is_met]) for goal in goals(found, apart)]
    parts = [table(("", "measured", "goal", ""), reached)]
    for key, title in TITLES.items():
        rows = [(name, f"{cost:.1f}") for name, cost in found[key].items()]
        parts += [f"## {key.upper()}: {title}", table(("", "CPU µs a row, median"), rows)]
    return "\n\n".join(parts)


def page(found: Measured, apart: float, about: str) -> str:
    """Write the page."""
    return f"{PAGE.format(about=about)}\n\n{summary(found, apart)}\n"


PAGE = """# What an attribution costs

What each column added to one row, by ekiben's exact methods, beside XGBoost's own and beside a prediction. This page is written by
the run that measured it:

```console
$ make bench ARGS=--attributions
```

All are asked in turn, in one process and on one thread, for one row at a time. ekiben is asked as a service asks it, for a row of
plain values, and gives the whole explanation with its error; XGBoost for an array. The package shap asks `pred_contribs` too. Figures of
different machines, or days, do not compare; ratios of one run do.

{about}

## Goals"""
TITLES = {"b": "XGBoost, 300 trees of depth 6 on 30 floats", "a": "linear pipeline on 8 numbers and 4 texts"}
