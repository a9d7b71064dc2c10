"""XGBoost's scikit-learn classes, kept in its own binary JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben._optional import require
from ekiben.errors import UnsupportedModelError
from ekiben.models import Answers
from ekiben.schema import PARTS, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "model.ubj"
KINDS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")


class XGBoostAdapter:
    """XGBClassifier, XGBRegressor and their random forests."""

    library = "xgboost"

    def task(self, model: Any) -> Task:
        """Tell a classifier from a regressor; anything else is refused."""
        name = _kind(model)
        if not model.__sklearn_is_fitted__():
            raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {name}. Fit it first.")
        shape = json.loads(model.get_booster().save_config())["learner"]["learner_model_param"]
        if int(shape["num_target"]) > 1:
            raise UnsupportedModelError("The model must have one target. Got several. Pack one model for each.")
        return "classification" if name.endswith("Classifier") else "regression"

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:  # noqa: ARG002 -- the model knows
        """Tell a classifier's labels, which XGBoost numbers from 0, or that there is a value."""
        if _kind(model).endswith("Regressor"):
            return (Output(parts=("value",)),)
        return (Output(parts=("label", "scores"), classes=tuple(model.classes_.tolist())),)

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:  # noqa: ARG002
        """Ask once, as 64-bit numbers: labels follow from the scores."""
        import numpy as np

        data = _input(model, frame)
        if _kind(model).endswith("Regressor"):
            return (Answers(values=np.asarray(model.predict(data), dtype=np.float64).reshape(-1)),)
        scores = model.predict_proba(data).astype(np.float64)
        return (Answers(labels=model.classes_[scores.argmax(axis=1)], scores=scores),)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Give the columns as numbers, categories as their codes, and the model itself."""
        return _numbers, model

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Ask XGBoost for path-dependent TreeSHAP values on the margin."""
        import numpy as np

        found = np.asarray(_predict(estimator, matrix, pred_contribs=True), dtype=np.float64)
        return found[:, None, :] if found.ndim == 2 else found

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the sum of the leaves, before any link."""
        import numpy as np

        found = np.asarray(_predict(estimator, matrix, output_margin=True), dtype=np.float64)
        return found.reshape(len(matrix), -1)

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:  # noqa: ARG002 -- it names no types
        """Write binary JSON, and beside it which class reads it."""
        model.save_model(folder / FILE)
        (folder / "model.json").write_text(json.dumps({"class": _kind(model)}))

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:  # noqa: ARG002 -- it names no types
        """Read the model back into its class."""
        xgboost = require("xgboost", to="load an XGBoost model")
        kind = json.loads((folder / "model.json").read_text())["class"]
        if kind not in KINDS:
            raise UnsupportedModelError(f"An XGBoost model must be one of {', '.join(KINDS)}. Got {kind!r}.")
        model = getattr(xgboost, kind)()
        model.load_model(folder / FILE)
        return model

    def requirements(self, model: Any) -> tuple[str, ...]:  # noqa: ARG002 -- the protocol's
        """Name XGBoost, and scikit-learn which its classes import."""
        return ("xgboost", "scikit-learn")


ADAPTER = XGBoostAdapter()


def _kind(model: Any) -> str:
    for kind in type(model).__mro__:
        if kind.__module__.startswith("xgboost") and kind.__name__ in KINDS:
            return kind.__name__
    raise UnsupportedModelError(f"An XGBoost model must be one of {', '.join(KINDS)}. Got {type(model).__name__}.")


def _input(model: Any, frame: pd.DataFrame) -> Any:
    """Give a model that was fitted without column names an array, everything else the frame."""
    nameless = model.get_booster().feature_names is None and hasattr(frame, "to_numpy")
    return frame.to_numpy() if nameless else frame


def _numbers(frame: pd.DataFrame) -> Array:
    import numpy as np

    columns = []
    for name in frame.columns:
        values = frame[name]
        codes = values.cat.codes.where(values.notna()) if str(values.dtype) == "category" else values
        columns.append(codes.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.column_stack(columns)


def _predict(estimator: Any, matrix: Array, **what: bool) -> Any:
    xgboost = require("xgboost", to="explain an XGBoost model")
    booster = estimator.get_booster()
    data = xgboost.DMatrix(
        matrix,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
        nthread=1,
    )
    return booster.predict(data, iteration_range=_rounds(estimator), **what)


def _rounds(estimator: Any) -> tuple[int, int]:
    """Stop where early stopping found the best round, as `predict` does."""
    best = getattr(estimator, "best_iteration", None) if estimator.get_booster().attr("best_iteration") else None
    return (0, 0) if best is None else (0, int(best) + 1)
