"""Anchors beside alibi's: what one rule costs, and how good it is, on the same rows of the same models."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

import ekiben as ek
from bench.goals import Goal, ratio
from bench.models import CASES, Case
from bench.reporting import table
from ekiben import tables
from ekiben.explainers._alibi import anchor_tabular
from ekiben.explainers.anchor import Anchors
from ekiben.explainers.rules.asking import Asker, asker
from ekiben.explainers.rules.predicates import Table
from ekiben.explainers.rules.searching import FEWEST_TOGETHER

ROWS, SHORT_ROWS = {"a": 50, "b": 8}, 4  # alibi takes seconds for a row of B
N_JUDGED = 20_000
THRESHOLD = 0.95
PERCENTILES = (25, 50, 75)
CONDITION = re.compile(r"^(?:(?P<above>[-+\d.e]+) < )?(?P<name>\w+) (?P<sign><=|>=|<|>|=) (?P<value>.+)$")

Say = Callable[[str], None]
Masks = dict[int, np.ndarray]  # column → which rows of the background meet what a rule asks of it


@dataclass(frozen=True, kw_only=True)
class One:
    """What one method said of one row: CPU, and the rule as it was judged."""

    cpu_ms: float
    precision: float
    coverage: float
    n_conditions: int
    reached: bool


Measured = dict[str, dict[str, list[One]]]  # case → method → rows


def measure(keys: Sequence[str], *, short: bool, say: Say) -> Measured:
    """Explain the same rows by both methods in turn, and judge all rules on fresh rows of one distribution."""
    found: Measured = {}
    for key in keys:
        case = CASES[key]()
        found[key] = {"ekiben": [], "alibi": []}
        for i, pair in enumerate(_pairs(case, SHORT_ROWS if short else ROWS[key])):
            for method, one in pair.items():
                found[key][method].append(one)
            say(f"{key}: row {i + 1}: " + ", ".join(f"{name} {one.cpu_ms:.0f} ms" for name, one in pair.items()))
    return found


def _pairs(case: Case, n_rows: int) -> Iterator[dict[str, One]]:
    package = ek.pack(case.model, name=case.key, reference=case.frame, explainer="anchor")
    ours, theirs = package.explainer, Alibi(case, package.sample)
    assert isinstance(ours, Anchors)
    columns = tables.as_columns(package.sample)
    for i in np.random.default_rng(0).choice(len(package.sample), n_rows, replace=False).tolist():
        row = [column[i] for column in columns]
        judge = Judge.of(package, ours, row)
        (rule,), cpu_ms = timed(lambda row=row: ours.explain_columns([[value] for value in row], 1))
        mine = judge.one(said(rule.conditions, package.sample), cpu_ms, reached=rule.reached)
        anchor, cpu_ms = timed(lambda i=i: theirs.explain(i))
        other = judge.one(said(anchor.anchor, package.sample, theirs.cuts), cpu_ms, anchor.precision >= THRESHOLD)
        yield {"ekiben": mine, "alibi": other}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Call, and give milliseconds of CPU too."""
    began = time.process_time()
    found = call()
    return found, (time.process_time() - began) * 1e3


class Alibi:
    """alibi's AnchorTabular as its documents say: categories as numbers, and the model itself behind a function."""

    def __init__(self, case: Case, sample: pd.DataFrame) -> None:
        texts = {i: sorted(sample[name].unique()) for i, name in enumerate(sample) if sample[name].dtype == object}
        coded = [
            pd.Categorical(sample[name], categories=texts[i]).codes if i in texts else sample[name]
            for i, name in enumerate(sample)
        ]
        self.rows = np.column_stack([np.asarray(column, dtype=np.float64) for column in coded])
        names, values = list(sample), {i: np.array(known, dtype=object) for i, known in texts.items()}

        def predict(rows: np.ndarray) -> np.ndarray:
            if case.as_array:
                return case.model.predict_proba(rows.astype(np.float32))
            told = {n: values[i][rows[:, i].astype(int)] if i in values else rows[:, i] for i, n in enumerate(names)}
            return case.model.predict_proba(pd.DataFrame(told))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.explainer = anchor_tabular()(predict, names, categorical_names=texts, seed=0)
            self.explainer.fit(self.rows, disc_perc=PERCENTILES)
        self.cuts = {name: np.percentile(self.rows[:, i], PERCENTILES) for i, name in enumerate(names)}

    def explain(self, i: int) -> Any:
        """Explain one row of the sample."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.explainer.explain(self.rows[i], threshold=THRESHOLD)


def said(conditions: Sequence[str], sample: pd.DataFrame, cuts: dict[str, np.ndarray] | None = None) -> Masks:
    """Read conditions; where they name a cut in two decimals it is the one of `cuts` that is meant."""
    masks: Masks = {}
    for condition in conditions:
        told = CONDITION.match(condition.replace(" == ", " = "))
        assert told is not None, condition
        values = sample[told["name"]]
        known = None if cuts is None else cuts[told["name"]]
        met = np.ones(len(values), dtype=bool) if told["above"] is None else values > meant(told["above"], known)
        if values.dtype == object:
            met &= values == told["value"].strip("'")
        else:
            met &= (
                values <= meant(told["value"], known) if "<" in told["sign"] else values > meant(told["value"], known)
            )
        place = list(sample).index(told["name"])
        masks[place] = masks.get(place, True) & np.asarray(met)
    return masks


def meant(text: str, cuts: np.ndarray | None) -> float:
    """Give the cut that a text stands for."""
    number = float(text)
    return number if cuts is None else float(cuts[np.abs(cuts - number).argmin()])


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Measures any rule for one row on fresh rows of the distribution that ours are drawn from."""

    table: Table
    asked: Asker

    @classmethod
    def of(cls, package: ek.Package, explainer: Anchors, row: Sequence[Any]) -> Judge:
        """Make one for a row."""
        beside = Table.of(explainer.background, row)
        return cls(table=beside, asked=asker(explainer.context, beside, lambda: package.sample))

    def one(self, masks: Masks, cpu_ms: float, reached: bool) -> One:
        """Judge a rule."""
        n = self.table.n_background
        met = np.all(list(masks.values()), axis=0) if masks else np.ones(n, dtype=bool)
        rng = np.random.default_rng(1)
        rows = np.repeat(rng.integers(n, size=N_JUDGED)[None], len(self.table.columns), axis=0)
        if met.sum() >= FEWEST_TOGETHER:
            rows[list(masks)] = rng.choice(np.flatnonzero(met), N_JUDGED)
        else:
            for place, mask in masks.items():
                rows[place] = rng.choice(np.flatnonzero(mask), N_JUDGED) if mask.any() else n
        precision = float(self.asked.agree(rows).mean())
        return One(
            cpu_ms=cpu_ms,
            precision=precision,
            coverage=float(met.mean()),
            n_conditions=len(masks),
            reached=reached,
        )


# ── the page ──


def page(found: Measured, about: str) -> str:
    """Write the page."""
    parts = [PAGE.format(about=about, judged=N_JUDGED)]
    parts += ["## Goals", goals_table(found)]
    for key, methods in found.items():
        parts += [f"## {key.upper()}: {TITLES[key]}", case_table(methods)]
    return "\n\n".join(parts) + "\n"


PAGE = """# Anchors beside alibi's

What a rule costs and how good it is, by the method `anchor` and by alibi 0.9.4. This page is written by the run that measured
it:

```console
$ make bench ARGS=--anchors
```

Both explain the same rows of each model in turn, in one process and on one thread, from the same 1,000 reference rows
and with a threshold of 0.95. ekiben is asked as a service asks it, for a row of plain values; alibi as its documents say, with
the model itself behind a function and texts as numbers. Every rule is then judged on {judged:,} fresh rows of one distribution:
whole rows of the reference, with the columns of the rule from rows under it. Figures of different machines, or days, do not
compare; ratios of one run do.

{about}"""
TITLES = {"a": "linear pipeline on 8 numbers and 4 texts", "b": "XGBoost, 300 trees of depth 6 on 30 floats"}


def case_table(methods: dict[str, list[One]]) -> str:
    """Tell cost and quality of both methods."""
    heads = (
        "",
        "rows",
        "CPU ms, median",
        "p90",
        "precision, mean",
        "reaches 0.95",
        "coverage, mean",
        "median",
        "conditions",
    )
    rows = [
        (
            name,
            str(len(each)),
            f"{median(one.cpu_ms for one in each):.1f}",
            f"{np.quantile([one.cpu_ms for one in each], 0.9):.1f}",
            f"{mean(each, 'precision'):.3f}",
            f"{np.mean([one.precision >= THRESHOLD for one in each]):.0%}",
            f"{mean(each, 'coverage'):.3f}",
            f"{median(one.coverage for one in each):.3f}",
            f"{mean(each, 'n_conditions'):.1f}",
        )
        for name, each in methods.items()
    ]
    return table(heads, rows)


def mean(each: Sequence[One], name: str) -> float:
    """Average one figure."""
    return float(np.mean([getattr(one, name) for one in each]))


def goals_table(found: Measured) -> str:
    """Show each goal beside what was measured."""
    marks = {True: "✓", False: "not yet", None: "not measured"}
    rows = [(goal.says, ratio(goal.measured), goal.wanted, marks[goal.is_met]) for goal in goals(found)]
    return table(("", "measured", "goal", ""), rows)


def goals(found: Measured) -> Iterator[Goal]:
    """Give what we want of the figures."""
    least = {"a": 30, "b": 3}
    for key, methods in found.items():
        ours, theirs = methods["ekiben"], methods["alibi"]
        name, cost = key.upper(), [median(one.cpu_ms for one in each) for each in (theirs, ours)]
        yield Goal(says=f"{name}: alibi's CPU to ours", measured=cost[0] / cost[1], at_least=least[key])
        if key == "a":
            yield Goal(says="A: CPU ms of one rule", measured=cost[1], at_most=10)
        gap = mean(ours, "precision") / mean(theirs, "precision")
        yield Goal(says=f"{name}: our mean precision to alibi's", measured=gap, at_least=1)
        wide = mean(ours, "coverage") / max(mean(theirs, "coverage"), 1e-9)
        if key == "a":
            yield Goal(says="A: our mean coverage to alibi's", measured=wide, at_least=1)
        told = np.mean([one.precision >= THRESHOLD or not one.reached for one in ours])
        yield Goal(
            says=f"{name}: rows whose rule reaches 0.95, or says that it does not", measured=float(told), at_least=0.95
        )


def summary(found: Measured) -> str:
    """Tell the figures on a screen."""
    return "\n\n".join(f"{key}\n{case_table(methods)}" for key, methods in found.items()) + "\n\n" + goals_table(found)
