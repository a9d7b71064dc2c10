"""LightGBM's scikit-learn classes and its own Booster, kept in its own text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers
from ekiben.models.forests import check_text
from ekiben.models.trees import codes, read_settings, refuse_own_answers, write_settings
from ekiben.schema import PARTS, Label, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "model.txt"
KINDS = ("LGBMClassifier", "LGBMRegressor", "LGBMRanker", "Booster")
EARLY_STOP = ("pred_early_stop", "pred_early_stop_freq", "pred_early_stop_margin")  # all that moves a prediction
FEW_ROWS = 1000
NO_NAMES = re.compile(r"Column_\d+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boosted:
    """A LightGBM model as it answers: its trees, the class they came from, and what that class adds.

    Parameters
    ----------
    booster
        The trees, up to the best round.
    kind
        One of `KINDS`.
    objective
        What it was fitted for; empty for a function of the notebook, whose link nobody knows.
    classes
        The labels in the order of the scores; empty for values.
    stopping
        Arguments of LightGBM's that end a prediction early.
    """

    booster: Any
    kind: str
    objective: str
    classes: tuple[Label, ...] = ()
    stopping: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_features_in_(self) -> int:
        """How many columns the trees know."""
        return int(self.booster.num_feature())

    @property
    def classifies(self) -> bool:
        """Tell whether there are labels: after a function of the notebook there are only raw scores."""
        return bool(self.classes and self.objective)

    def ask(self, data: Any, **what: Any) -> Array:
        """Ask the trees, for an array of shape (n_rows, n_columns)."""
        import numpy as np

        # to wake threads for few rows takes longer than to answer them
        threads = {"num_threads": 1} if data.shape[0] <= FEW_ROWS else {}
        found = np.asarray(self.booster.predict(data, **self.stopping, **threads, **what), dtype=np.float64)
        return found.reshape(len(found), -1)


class LightGBMAdapter:
    """Every model of LightGBM; one that early stopping ended is kept up to its best round."""

    library = "lightgbm"

    def task(self, model: Any) -> Task:
        """Tell the task by the class, and a Booster's by its objective."""
        boosted = _boosted(model)
        refuse_own_answers(model, self.library)
        if boosted.kind == "LGBMRanker" or boosted.objective in ("lambdarank", "rank_xendcg"):
            return "ranking"
        if boosted.classifies:
            return "classification"
        return "regression" if boosted.kind == "LGBMRegressor" or boosted.objective else "other"

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:  # noqa: ARG002 -- the model knows
        """Tell the labels, or one value; raw scores of several classes are several values."""
        boosted = _boosted(model)
        if boosted.classifies:
            return (Output(parts=("label", "scores"), classes=boosted.classes),)
        n_values = boosted.booster.num_model_per_iteration()
        names = [""] if n_values == 1 else [f"raw_{label}" for label in boosted.classes or range(n_values)]
        return tuple(Output(name=name, parts=("value",)) for name in names)

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:  # noqa: ARG002
        """Ask once: labels follow from the scores."""
        import numpy as np

        boosted = _boosted(model)
        found = boosted.ask(_input(boosted.booster, frame))
        if not boosted.classifies:
            return tuple(Answers(values=each) for each in found.T)
        scores = found if found.shape[1] > 1 else np.column_stack([1.0 - found, found])
        return (Answers(labels=np.asarray(boosted.classes)[scores.argmax(axis=1)], scores=scores),)

    def columns(self, model: Any, frame: pd.DataFrame) -> tuple[str, ...] | None:
        """Name the columns that the trees were grown on; LightGBM writes an underline for a space."""
        names = _boosted(model).booster.feature_name()
        if all(NO_NAMES.fullmatch(name) for name in names):
            return None
        spelt = {_spelt(name): str(name) for name in frame.columns}
        return tuple(spelt.get(name, name) for name in names)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Give the columns as numbers, categories as their codes in the model, and the model itself."""
        return partial(_matrix, _boosted(model).booster), model

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Ask LightGBM for path-dependent TreeSHAP values on the raw score; it has none of trees with linear leaves."""
        boosted = _boosted(estimator)
        if any(boosted.booster.params.get(name) for name in ("linear_tree", "linear_trees")):
            return None
        found = boosted.ask(matrix, pred_contrib=True)
        return found.reshape(len(matrix), -1, matrix.shape[1] + 1)

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the raw score: the sum of the leaves, before any link."""
        return _boosted(estimator).ask(matrix, raw_score=True)

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:  # noqa: ARG002 -- it names no types
        """Write LightGBM's text up to the best round, and beside it the class and its labels."""
        boosted = _boosted(model)
        (folder / FILE).write_text(boosted.booster.model_to_string(), encoding="utf-8", newline="\n")
        labels = boosted.classes if boosted.kind == "LGBMClassifier" else ()
        write_settings(folder, boosted.kind, classes=list(labels) or None, stopping=dict(boosted.stopping) or None)

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:  # noqa: ARG002 -- it names no types
        """Read the trees back, and what their class adds."""
        lightgbm = require("lightgbm", to="load a LightGBM model")
        told = read_settings(folder, KINDS, {"classes": list, "stopping": dict})
        stopping, labels = told.get("stopping", {}), told.get("classes", [])
        _refuse_others(told["class"], labels, stopping)
        try:
            text = (folder / FILE).read_text(encoding="utf-8")
            check_text(text)
            booster = lightgbm.Booster(model_str=text)
        except (lightgbm.basic.LightGBMError, OSError, ValueError) as reason:
            raise IntegrityError(f"The file {FILE} must hold a LightGBM model. LightGBM says: {reason}") from None
        objective = _objective(booster)
        classes = tuple(labels) or (_numbered(booster, objective) if told["class"] == "Booster" else ())
        return Boosted(booster=booster, kind=told["class"], objective=objective, classes=classes, stopping=stopping)

    def requirements(self, model: Any) -> tuple[str, ...]:  # noqa: ARG002 -- the protocol's
        """Name LightGBM: a loaded model asks its Booster, which needs no scikit-learn."""
        return ("lightgbm",)


ADAPTER = LightGBMAdapter()


def _refuse_others(kind: str, labels: list[Any], stopping: dict[str, Any]) -> None:
    plain = all(isinstance(label, str | int | float) for label in labels)
    told = (len(labels) > 1) if kind == "LGBMClassifier" else not labels
    numbers = all(isinstance(value, int | float) for value in stopping.values())
    if not (plain and told and numbers and set(stopping) <= set(EARLY_STOP)):
        raise IntegrityError("The classes and the stopping in model.json must be those that were written. Got others.")


def _boosted(model: Any) -> Boosted:
    """See a live model as what it will be loaded as."""
    if isinstance(model, Boosted):
        return model
    kind = _kind(model)
    if kind == "Booster":
        objective = _objective(model)
        return Boosted(booster=model, kind=kind, objective=objective, classes=_numbered(model, objective))
    if not model.__sklearn_is_fitted__():
        raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {kind}. Fit it first.")
    classes = _labels(model.classes_) if kind == "LGBMClassifier" else ()
    if len(classes) == 1:
        raise UnsupportedModelError(f"A classifier must know two labels or more. Got only {classes[0]!r}.")
    objective = "" if callable(model.objective_) else str(model.objective_)
    stopping = {name: value for name, value in model.get_params().items() if name in EARLY_STOP}
    return Boosted(booster=model.booster_, kind=kind, objective=objective, classes=classes, stopping=stopping)


def _kind(model: Any) -> str:
    for kind in type(model).__mro__:
        if kind.__module__.startswith("lightgbm") and kind.__name__ in KINDS:
            return kind.__name__
    raise UnsupportedModelError(f"A LightGBM model must be one of {', '.join(KINDS)}. Got {type(model).__name__}.")


def _labels(fitted: Array) -> tuple[Label, ...]:
    labels = fitted.tolist()
    odd = [type(label).__name__ for label in labels if type(label) not in (str, int, float, bool)]
    if odd or fitted.dtype.kind in "mM":  # a moment would come out as a number
        got = odd[0] if odd else fitted.dtype
        raise UnsupportedModelError(f"Labels must be texts, numbers or booleans. Got {got}. Fit on y.astype(str).")
    return tuple(labels)


def _objective(booster: Any) -> str:
    """Read what a booster was fitted for from the head of its text; nothing where that was a function."""
    head = booster.model_to_string(num_iteration=1).partition("\nTree=")[0]
    return next((line.partition("=")[2].split()[0] for line in head.splitlines() if line.startswith("objective=")), "")


def _numbered(booster: Any, objective: str) -> tuple[Label, ...]:
    """Give the labels of a Booster, which knows only their numbers."""
    if objective == "binary":
        return (0, 1)
    return tuple(range(booster.num_model_per_iteration())) if objective.startswith("multiclass") else ()


def _spelt(name: Any) -> str:
    return str(name).replace(" ", "_")


def _input(booster: Any, data: Any) -> Any:
    """Put a frame's columns in the order of the trees, which LightGBM itself does not look at."""
    if not hasattr(data, "columns"):
        return data.astype(float) if data.dtype.kind == "O" else data
    places = {_spelt(name): place for place, name in enumerate(data.columns)}
    order = [places.get(name) for name in booster.feature_name()]
    as_it_is = order == list(range(len(data.columns)))
    return data if as_it_is or None in order or len(order) != len(data.columns) else data.iloc[:, order]


def _matrix(booster: Any, frame: pd.DataFrame) -> Array:
    placed = _input(booster, frame)
    texts = [name for name, dtype in placed.dtypes.items() if str(dtype) == "category"]
    return codes(placed, dict(zip(texts, booster.pandas_categorical or [], strict=False)))
