"""XGBoost's scikit-learn classes and its own Booster, kept in its own binary JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers
from ekiben.models.trees import codes, read_settings, refuse_own_answers, write_settings
from ekiben.schema import PARTS, Label, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "model.ubj"
KINDS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker", "Booster")
CHANCES = ("binary:logistic", "reg:logistic", "multi:softprob", "multi:softmax")  # their classifier has probabilities
LABELS = ("binary:hinge", "multi:softmax")  # a Booster of these answers with the label itself


class XGBoostAdapter:
    """Every model of XGBoost: one that early stopping ended answers as it did in its best round, a Booster too."""

    library = "xgboost"

    def task(self, model: Any) -> Task:
        """Tell the task by the class, and a Booster's by its objective."""
        kind = _kind(model)
        if not _is_fitted(model, kind):
            raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {kind}. Fit it first.")
        refuse_own_answers(model, self.library)
        objective = _learner(model).objective
        if kind == "XGBRanker" or objective.startswith("rank:"):
            return "ranking"
        if _classifies(kind, objective):
            return "classification"
        return "other" if objective == "binary:logitraw" else "regression"

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:  # noqa: ARG002 -- the model knows
        """Tell labels, which XGBoost numbers from 0, or values; several targets are several outputs."""
        learner, kind = _learner(model), _kind(model)
        if not _classifies(kind, learner.objective):
            return tuple(Output(name=name, parts=("value",)) for name in learner.names)
        scored = learner.objective in CHANCES and not (kind == "Booster" and learner.objective in LABELS)
        parts: tuple[Part, ...] = ("label", "scores") if scored else ("label",)
        return tuple(Output(name=name, parts=parts, classes=learner.classes) for name in learner.names)

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Ask once, as 64-bit numbers: labels follow from the scores, where there are any."""
        learner, kind, data = _learner(model), _kind(model), _input(model, frame)
        if not _classifies(kind, learner.objective):
            return tuple(Answers(values=each) for each in _doubles(_ask(model, data)).T)
        if kind == "Booster" and learner.objective in LABELS:
            return (Answers(labels=_doubles(_ask(model, data))[:, 0].astype(int)),)
        if kind != "Booster" and learner.objective == "multi:softmax":
            return (_of_softmax(model, data, parts),)
        found = _of_chances(_doubles(_ask(model, data)), learner)
        return found if "scores" in parts else tuple(Answers(labels=each.labels) for each in found)

    def columns(self, model: Any, frame: pd.DataFrame) -> tuple[str, ...] | None:  # noqa: ARG002 -- the model knows
        """Name the columns that the trees were grown on."""
        names = _booster(model).feature_names
        return None if names is None else tuple(names)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Give the columns as numbers, categories as their codes in the model, and the model itself."""
        return partial(codes, categories=_categories(_booster(model))), model

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Ask XGBoost for path-dependent TreeSHAP values on the margin; it has none of trees with a leaf for all targets."""
        import numpy as np

        refusal = require("xgboost.core", to="explain an XGBoost model").XGBoostError
        try:
            found = np.asarray(_predict(estimator, matrix, pred_contribs=True), dtype=np.float64)
        except refusal:
            return None
        return found[:, None, :] if found.ndim == 2 else found

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the sum of the leaves, before any link."""
        import numpy as np

        found = np.asarray(_predict(estimator, matrix, output_margin=True), dtype=np.float64)
        return found.reshape(len(matrix), -1)

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:  # noqa: ARG002 -- it names no types
        """Write binary JSON, and beside it which class reads it; functions that only fitting calls are not in it."""
        model.save_model(folder / FILE)
        write_settings(folder, _kind(model), missing=_missing(model))

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:  # noqa: ARG002 -- it names no types
        """Read the model back into its class."""
        xgboost = require("xgboost", to="load an XGBoost model")
        told = read_settings(folder, KINDS, {"missing": (int, float)})
        # to wake threads for a served row takes longer than to answer it: 24 ms instead of 1
        model = (
            xgboost.Booster({"nthread": 1}) if told["class"] == "Booster" else getattr(xgboost, told["class"])(n_jobs=1)
        )
        try:
            model.load_model(folder / FILE)
        except (xgboost.core.XGBoostError, TypeError, ValueError, KeyError, OSError) as reason:
            said = re.sub(r"^\[[\d:]+\] \S+ ", "", str(reason)).partition("\n")[0]  # without the hour and a line of C++
            raise IntegrityError(f"The file {FILE} must hold a {told['class']}. XGBoost says: {said}") from None
        if "missing" in told:
            model.missing = told["missing"]
        return model

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name XGBoost, and scikit-learn which all its classes but the Booster import."""
        return ("xgboost",) if type(model).__name__ == "Booster" else ("xgboost", "scikit-learn")


ADAPTER = XGBoostAdapter()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learner:
    """What XGBoost itself says of a fitted model."""

    objective: str
    n_classes: int
    n_targets: int
    quantiles: tuple[float, ...]
    linear: bool

    @property
    def names(self) -> list[str]:
        if self.n_targets == 1:
            return [""]
        if len(self.quantiles) == self.n_targets:
            return [f"q{quantile:g}" for quantile in self.quantiles]
        return [f"y{i}" for i in range(self.n_targets)]

    @property
    def classes(self) -> tuple[Label, ...]:
        return tuple(range(max(self.n_classes, 2)))


def _learner(model: Any) -> _Learner:
    told = json.loads(_booster(model).save_config())["learner"]
    shape, objective = told["learner_model_param"], told["objective"]
    quantiles = json.loads(objective.get("quantile_loss_param", {}).get("quantile_alpha", "[]"))
    return _Learner(
        objective=objective["name"],
        n_classes=int(shape["num_class"]),
        n_targets=int(shape["num_target"]),
        quantiles=tuple(quantiles),
        linear=told["gradient_booster"]["name"] == "gblinear",
    )


def _kind(model: Any) -> str:
    for kind in type(model).__mro__:
        if kind.__module__.startswith("xgboost") and kind.__name__ in KINDS:
            return kind.__name__
    raise UnsupportedModelError(f"An XGBoost model must be one of {', '.join(KINDS)}. Got {type(model).__name__}.")


def _is_fitted(model: Any, kind: str) -> bool:
    if kind != "Booster":
        return bool(model.__sklearn_is_fitted__())
    refusal = require("xgboost.core", to="ask an XGBoost model").XGBoostError
    try:
        return bool(model.num_boosted_rounds())
    except refusal:  # it has seen no columns
        return False


def _booster(model: Any) -> Any:
    return model.get_booster() if hasattr(model, "get_booster") else model


def _classifies(kind: str, objective: str) -> bool:
    if kind != "Booster":
        return kind.endswith("Classifier")
    return objective.startswith("multi:") or objective in ("binary:logistic", "binary:hinge")


def _missing(model: Any) -> float | None:
    """Give the number that stands for a missing value, where it is one."""
    marker = getattr(model, "missing", None)
    return None if marker is None or math.isnan(marker) else float(marker)


def _input(model: Any, frame: pd.DataFrame) -> Any:
    """Give a model that was fitted without column names an array, everything else the frame."""
    if _booster(model).feature_names is not None or not hasattr(frame, "to_numpy"):
        return frame
    array = frame.to_numpy()
    return frame.to_numpy(dtype=float) if array.dtype.kind == "O" else array


def _ask(model: Any, data: Any) -> Any:
    """Ask for what the objective makes of the margin, before a classifier turns it into labels."""
    xgboost = require("xgboost", to="ask an XGBoost model")
    if hasattr(model, "get_booster"):
        return xgboost.XGBModel.predict(model, data)
    matrix = xgboost.DMatrix(data, enable_categorical=True, nthread=1)
    return model.predict(matrix, iteration_range=_rounds(model))


def _doubles(found: Any) -> Array:
    """Give answers as 64-bit numbers of shape (n_rows, n_columns)."""
    import numpy as np

    return np.asarray(found, dtype=np.float64).reshape(len(found), -1)


def _of_chances(chances: Array, learner: _Learner) -> tuple[Answers, ...]:
    if learner.n_classes > 1:
        return (Answers(labels=chances.argmax(axis=1), scores=chances),)
    return tuple(_of_chance(each) for each in chances.T)


def _of_chance(chance: Array) -> Answers:
    import numpy as np

    rest = (np.float32(1) - chance.astype(np.float32)).astype(np.float64)  # as `predict_proba`, in 32 bits
    return Answers(labels=(chance > 0.5).astype(int), scores=np.column_stack([rest, chance]))


def _of_softmax(model: Any, data: Any, parts: Sequence[Part]) -> Answers:
    """Ask a classifier that answers with labels once more, for the chances that it makes of the margins."""
    labels = model.predict(data).astype(int)
    return Answers(labels=labels, scores=_doubles(model.predict_proba(data)) if "scores" in parts else None)


def _categories(booster: Any) -> Mapping[str, list[str]]:
    """Read the categories that the model was fitted on, in the order of their codes; XGBoost keeps them since 3.1."""
    names, types = booster.feature_names or [], booster.feature_types or []
    if "c" not in types:
        return {}
    grown = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    kept = grown.get("gbtree", grown)["model"].get("cats", {}).get("enc", [])
    found = {name: _texts(each) for name, each in zip(names, kept, strict=False)}
    return {name: texts for name, texts in found.items() if texts}


def _texts(kept: Mapping[str, Any]) -> list[str]:
    """Read texts that lie one behind the other as signed bytes; categories that are numbers have no offsets."""
    offsets, held = kept.get("offsets", []), kept["values"]
    return [bytes(byte & 0xFF for byte in held[start:end]).decode() for start, end in pairwise(offsets)]


def _predict(estimator: Any, matrix: Array, **what: bool) -> Any:
    import numpy as np

    xgboost = require("xgboost", to="explain an XGBoost model")
    booster, missing = _booster(estimator), _missing(estimator)
    if estimator is not booster and (missing is None or math.isfinite(missing)):
        # a wrapper asks in place, and so takes what is larger: it is beyond every split
        largest = np.finfo(np.float32).max
        matrix = np.clip(matrix, -largest, largest)
    data = xgboost.DMatrix(
        matrix,
        missing=math.nan if missing is None else missing,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
        nthread=1,
    )
    return booster.predict(data, iteration_range=_rounds(estimator), **what)


def _rounds(estimator: Any) -> tuple[int, int]:
    """Stop where early stopping found the best round, as `predict` does; a linear booster has no rounds to choose."""
    booster = _booster(estimator)
    best = booster.attr("best_iteration")
    return (0, 0) if best is None or _learner(booster).linear else (0, int(best) + 1)
