"""scikit-learn's estimators and pipelines, kept in skops files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import distributions, models, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Adapter, Answers, by_pickle, outcomes, skops_file
from ekiben.models.keeping import frozen, holders, thawed
from ekiben.models.turns import in_turn
from ekiben.schema import PARTS, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

# What only further fitting needs: functions of scikit-learn's own by class; of another library's estimators a history,
# functions of the notebook, and what they were told.
FOR_FITTING = {"BisectingKMeans": ("_kmeans_single",)}
FITTING: dict[str, Any] = {
    "_best_score": {},
    "_evals_result": {},
    "evals_result_": {},
    "callbacks": None,
    "eval_metric": None,
}


class SklearnAdapter:
    """Whatever predicts: scikit-learn's estimators, its pipelines, and classes that are built on its own."""

    library = "sklearn"

    def task(self, model: Any) -> Task:
        """Tell what a fitted estimator does, by its tags."""
        outcomes.refuse_unfitted(model)
        last = _halves(model)[1]
        if not hasattr(last, "predict"):
            raise UnsupportedModelError(
                f"The model must predict. {type(last).__name__} has no predict. Let an estimator be the last step."
            )
        other = _other(last)
        return outcomes.task_of(last) if other is None else other.task(last)

    @in_turn()
    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Ask about a few rows what comes back: one column or several, with scores or without."""
        before, last = _halves(model)
        data, other = before(_input(model, frame)), _other(last)
        return outcomes.outputs(last, data) if other is None else other.outputs(last, data)

    @in_turn()
    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Preprocess once, then ask the last step for what is wanted."""
        before, last = _halves(model)
        data, other = before(_input(model, frame)), _other(last)
        return outcomes.answers(last, data, parts) if other is None else other.answers(last, data, parts)

    def columns(self, model: Any, frame: pd.DataFrame) -> tuple[str, ...] | None:
        """Name the columns of the frame that the first step was fitted on; a first step of another library knows its own."""
        first = model.steps[0][1] if hasattr(model, "steps") else model
        other = _other(first) if hasattr(first, "predict") else None
        if other is not None:
            return other.columns(first, frame)
        names = getattr(model, "feature_names_in_", None)
        return None if names is None else tuple(names)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Split a pipeline before its last step, nested pipelines too."""
        before, last = _halves(model)
        # what is not in a sparse matrix is missing to XGBoost, and zero to everybody else
        absent = math.nan if models.find(last).library == "xgboost" else 0.0
        encode = getattr(
            getattr(last, "_preprocessor", None), "transform", None
        )  # of boosting that splits by categories
        if encode is not None:
            return lambda frame: _dense(encode(before(_input(model, frame))), absent), last
        return lambda frame: _dense(before(_input(model, frame)), absent), last

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Leave it to the library of the last step where that is another."""
        other = _other(estimator)
        return None if other is None else other.contributions(estimator, matrix)

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the margin of a last step that is another library's."""
        other = _other(estimator)
        assert other is not None
        return other.margin(estimator, matrix)

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:
        """Write a skops file with the same bytes for the same model; `trust` names modules whose classes it may hold."""
        skops = require("skops.io", to="pack a scikit-learn model")
        made = None
        try:
            made = frozen(_plain(copy.deepcopy(model)))
            dumped = skops.dumps(made)
        except Exception as reason:
            why = "it is nested too deeply" if isinstance(reason, RecursionError) else str(reason).rstrip(".")
            places = [] if isinstance(reason, RecursionError) else holders(made, lambda part: not _is_written(part))
            raise UnsupportedModelError(
                "The model must hold nothing but data and known classes. skops could not write "
                f"{', '.join(places) or type(model).__name__}: {why}. {by_pickle(model)}"
            ) from reason
        if _reads_files(model):
            raise UnsupportedModelError(
                "A vectoriser must take texts: input='content'. Got one that opens files by name."
            )
        data = skops_file.canonical(dumped)
        refused = [name for name in skops_file.untrusted(data) if not skops_file.allowed(name, trust)]
        if refused:
            places = [each for each in holders(made, lambda part: not _is_written(part, refused)) if "." in each]
            where = f" in {', '.join(places)}" if places else ""  # an attribute; else it is the model itself
            raise UnsupportedModelError(
                f"{skops_file.TRUSTED} Got {', '.join(refused)}{where}. {_way_out(model, refused)}"
            )
        (folder / skops_file.FILE).write_bytes(data)

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Read the skops file; types beyond the trusted libraries and `trust` are refused."""
        skops = require("skops.io", to="load a scikit-learn model")
        exceptions = require("skops.io.exceptions", to="load a scikit-learn model")
        data = skops_file.stored(folder / skops_file.FILE)
        classes = skops_file.classes_in(data)
        if "lightgbm.basic.Booster" in classes:
            skops_file.check_boosters(data)
        named = [name for name in classes if skops_file.known(name) or skops_file.allowed(name, trust)]
        try:
            return thawed(skops.loads(data, trusted=named))  # once through the file for most models
        except exceptions.UntrustedTypesFoundException:
            refused = [name for name in skops_file.untrusted(data) if not skops_file.allowed(name, trust)]
        if refused:
            raise IntegrityError(f"{skops_file.TRUSTED} Got {', '.join(refused)}.")
        return thawed(skops.loads(data, trusted=skops.get_untrusted_types(data=data)))

    def bare(self, model: Any) -> Any:
        """Give a copy without what only fitting needs; where none can be made, the model itself."""
        try:
            return _plain(copy.deepcopy(model))
        except Exception:  # noqa: BLE001 -- an open file or the like, which is named when the code is looked at
            return model

    def foreign(self, folder: Path) -> list[str]:
        """Name what the skops file names beyond the trusted libraries; nothing of it is imported or built."""
        return (
            list(skops_file.untrusted(skops_file.stored(folder / skops_file.FILE)))
            if (folder / skops_file.FILE).is_file()
            else []
        )

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name scikit-learn and skops, and what a step of another library needs."""
        others = [_other(part) for part in _parts(model) if hasattr(part, "predict")]
        more = {name for other in others if other is not None for name in other.requirements(model)}
        return tuple(dict.fromkeys(("scikit-learn", "skops", *sorted(more))))


ADAPTER = SklearnAdapter()


def _halves(model: Any) -> tuple[Callable[[Any], Any], Any]:
    """Split into what comes before the last estimator, and that estimator; a search stands for the best it found."""
    if hasattr(model, "best_estimator_"):
        return _halves(model.best_estimator_)
    pipeline = require("sklearn.pipeline", to="ask a scikit-learn model").Pipeline
    if not isinstance(model, pipeline):
        return lambda data: data, model
    inner, last = _halves(model.steps[-1][1])
    if len(model.steps) == 1:
        return inner, last
    return lambda data: inner(_transformed(model.steps[:-1], data)), last


def _transformed(steps: Sequence[tuple[str, Any]], data: Any) -> Any:
    """Go through steps as a pipeline does before its last, which need not be one that remembers its fit."""
    for _, step in steps:
        data = data if step is None or step == "passthrough" else step.transform(data)
    return data


def _parts(model: Any) -> Iterator[Any]:
    """Give the model and every estimator inside it."""
    yield model
    for value in getattr(model, "__dict__", {}).values():
        for inner in value if isinstance(value, list | tuple) else [value]:
            candidates = inner if isinstance(inner, tuple) else (inner,)
            for candidate in candidates:
                if hasattr(candidate, "get_params") and not isinstance(candidate, type):
                    yield from _parts(candidate)


def _input(model: Any, frame: pd.DataFrame) -> Any:
    """Give a model what it was fitted on: texts, records, an array without names, or the frame."""
    first = first_step(model)
    if hasattr(first, "build_analyzer") and len(frame.columns) == 1:
        return frame.iloc[:, 0]
    if type(first).__name__ == "DictVectorizer" or getattr(first, "input_type", None) == "dict":  # or a FeatureHasher
        return frame.to_dict("records")
    nameless = hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    numeric = all(dtype.kind in "iufb" for dtype in frame.dtypes)
    return frame.to_numpy() if nameless and numeric else frame


AROUND = ("best_estimator_", "estimator", "regressor")
BESIDE = ("transformer_list", "estimators")


def first_step(model: Any) -> Any:
    """Find the step that meets the rows; where several do, in a union or a committee, the first that parts texts."""
    found = [first_step(inner) for inner in _inner(model)]
    return next((step for step in found if hasattr(step, "build_analyzer")), found[0] if found else model)


def _inner(model: Any) -> list[Any]:
    """Give the estimators within a model that meet what it meets; what another library calls so may meet something else."""
    steps = [step for _, step in getattr(model, "steps", ()) if hasattr(step, "get_params")][:1]
    own = type(model).__module__.partition(".")[0] == "sklearn"
    around = [getattr(model, name, None) for name in (AROUND if own else AROUND[:1])]
    beside = [step for name in BESIDE if own for _, step in getattr(model, name, None) or ()]
    return steps or [step for step in (*around, *beside) if hasattr(step, "get_params")]


def _dense(data: Any, absent: float) -> Array:
    import numpy as np

    try:
        if hasattr(data, "iloc"):  # a frame may hold pandas.NA
            return np.asarray(data.to_numpy(dtype=np.float64, na_value=np.nan))
        if not hasattr(data, "tocoo"):
            return np.asarray(data, dtype=np.float64)
        sparse = data.tocoo()
        made = np.full(sparse.shape, absent, dtype=np.float64)
        made[sparse.row, sparse.col] = sparse.data
        return made
    except (TypeError, ValueError) as reason:
        raise UnsupportedModelError(
            f"What reaches the last estimator must be numbers. It is not: {reason}."
        ) from reason


def _other(last: Any) -> Adapter | None:
    """Find the adapter of a last step that is another library's."""
    found = models.find(last)
    return None if found.library == "sklearn" else found


def _plain(part: Any) -> Any:
    """Leave out what no skops file holds: a search is the best it found, and a pandas Index of columns is a list."""
    if type(part).__module__.startswith("sklearn.model_selection") and hasattr(part, "best_estimator_"):
        return _plain(part.best_estimator_)
    if type(part).__name__ == "Index" and type(part).__module__.startswith("pandas"):
        return part.tolist()
    if isinstance(part, list | tuple):
        turned = [_plain(each) for each in part]
        return turned if type(part) is list else tuple(turned) if type(part) is tuple else part
    if type(part).__module__ in ("lightgbm.sklearn", "xgboost.sklearn"):
        return _without_fitting(part)
    if isinstance(part, dict):
        part.update({key: _plain(value) for key, value in part.items()})
    elif type(part).__module__.startswith("sklearn") and hasattr(part, "__dict__"):
        for name in FOR_FITTING.get(type(part).__name__, ()):
            part.__dict__.pop(name, None)
        part.__dict__.update({key: _plain(value) for key, value in part.__dict__.items()})
    return part


def _without_fitting(part: Any) -> Any:
    """Leave out what no answer needs; that the answers stay equal is seen when the model is read back."""
    part.__dict__.update({name: value for name, value in FITTING.items() if name in part.__dict__})
    if type(part).__module__ == "xgboost.sklearn" and callable(part.objective):
        part.objective = None  # the trees know which link they were given
    if hasattr(part, "_best_iteration") and hasattr(part, "booster_"):
        part.booster_.best_iteration = part.best_iteration_  # a copied Booster of LightGBM forgets it
    return part


def _is_written(part: Any, refused: Sequence[str] = ()) -> bool:
    """Tell whether skops can write a part by itself, with none of the refused types."""
    skops = require("skops.io", to="pack a scikit-learn model")
    try:
        return not set(refused) & set(skops.get_untrusted_types(data=skops.dumps(part)))
    except Exception:  # noqa: BLE001 -- whatever a part's own state raises
        return False


def _way_out(model: Any, refused: Sequence[str]) -> str:
    """Say what the user can do about types that no allow-list has."""
    libraries = sorted({name.partition(".")[0] for name in refused if not trusting.forbidden(name)})
    # pandas' own objects are not read back by skops, whoever trusts them
    known = [name for name in libraries if name not in ("__main__", "pandas") and distributions.bringing(name)]
    said = (
        "Hold plain values in its place (numbers, texts, dates, lists, dicts, frames), use a class of theirs, or do that "
        "step before the model and in the service's `preprocess`."
    )
    if known:
        said += f" If you trust the library: pack(…, trust={known!r})."
    return f"{said} {by_pickle(model)}"


def _reads_files(model: Any) -> bool:
    """Tell a text vectoriser that takes its texts for the names of files."""
    return any(getattr(part, "input", None) in ("filename", "file") for part in _parts(model))
