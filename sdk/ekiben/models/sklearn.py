"""scikit-learn's estimators and pipelines, kept in skops files."""

from __future__ import annotations

import copy
import importlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ekiben import distributions, models, sealing, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Adapter, Answers, by_pickle
from ekiben.models.forests import check_text
from ekiben.models.keeping import frozen, thawed
from ekiben.schema import PARTS, Label, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "model.skops"
# What a file may name beside what skops trusts by itself. A whole library would be too much: scipy.stats runs text of
# the file as code, and numpy.memmap and scipy.io write files. So: classes that scikit-learn and XGBoost's own
# scikit-learn module define, functions that only score or check, and a few names.
CLASSES_OF = ("sklearn", "xgboost.sklearn", "scipy.sparse")
FUNCTIONS_OF = ("sklearn.metrics", "sklearn.feature_selection")
NAMES = (
    # what a column selector selects
    *(f"builtins.{kind}" for kind in ("bool", "float", "int", "object", "str")),
    *(
        f"numpy.{kind}"
        for kind in ("bool", "bool_", "float32", "float64", "floating", "int64", "integer", "number", "object_")
    ),
    "functools.partial",
    "numpy.dtype",
    "numpy.mean",
    "pandas._libs.missing.NAType",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    # A Booster reads LightGBM's text, which names columns, numbers and nothing to run; the classes hold it and settings.
    # Their wrappers of functions (an objective, a metric) are not here.
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
)
# Classifiers whose label is the class of the largest probability, by their own code; and those whose label follows from the
# number that the probability is made of, which rounding may turn into a tie.
BY_CHANCE = (
    "BaggingClassifier",
    "CalibratedClassifierCV",
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "ExtraTreesClassifier",
    "RandomForestClassifier",
    "VotingClassifier",
)
BY_CHANCE_BUT_TIES = (
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LogisticRegression",
    "LogisticRegressionCV",
)
CLOSE = 1e-6  # scores that differ by more are in the right order, those of 32 bits too
TRUSTED = "A packed model may use classes of scikit-learn, XGBoost and LightGBM, and numpy's ufuncs."
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
        _refuse_unfitted(model)
        last = _halves(model)[1]
        if not hasattr(last, "predict"):
            raise UnsupportedModelError(
                f"The model must predict. {type(last).__name__} has no predict. Let an estimator be the last step."
            )
        other = _other(last)
        return _task_of(last) if other is None else other.task(last)

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Ask about a few rows what comes back: one column or several, with scores or without."""
        before, last = _halves(model)
        data, other = before(_input(model, frame)), _other(last)
        return _outputs(last, data) if other is None else other.outputs(last, data)

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Preprocess once, then ask the last step for what is wanted."""
        before, last = _halves(model)
        data, other = before(_input(model, frame)), _other(last)
        return _answers(last, data, parts) if other is None else other.answers(last, data, parts)

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
        try:
            dumped = skops.dumps(frozen(_plain(copy.deepcopy(model))))
        except Exception as reason:
            why = "it is nested too deeply" if isinstance(reason, RecursionError) else str(reason).rstrip(".")
            raise UnsupportedModelError(
                f"The model must hold nothing but data and known classes. skops could not write {type(model).__name__}: "
                f"{why}. {by_pickle(model)}"
            ) from reason
        if _reads_files(model):
            raise UnsupportedModelError(
                "A vectoriser must take texts: input='content'. Got one that opens files by name."
            )
        data = _canonical(dumped)
        refused = [name for name in _untrusted(data) if not _allowed(name, trust)]
        if refused:
            raise UnsupportedModelError(f"{TRUSTED} Got {', '.join(refused)}. {_way_out(model, refused)}")
        (folder / FILE).write_bytes(data)

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Read the skops file; types beyond the trusted libraries and `trust` are refused."""
        skops = require("skops.io", to="load a scikit-learn model")
        exceptions = require("skops.io.exceptions", to="load a scikit-learn model")
        data = _stored(folder / FILE)
        classes = _classes_in(data)
        if "lightgbm.basic.Booster" in classes:
            _check_boosters(data)
        named = [name for name in classes if _known(name) or _allowed(name, trust)]
        try:
            return thawed(skops.loads(data, trusted=named))  # once through the file for most models
        except exceptions.UntrustedTypesFoundException:
            refused = [name for name in _untrusted(data) if not _allowed(name, trust)]
        if refused:
            raise IntegrityError(f"{TRUSTED} Got {', '.join(refused)}.")
        return thawed(skops.loads(data, trusted=skops.get_untrusted_types(data=data)))

    def bare(self, model: Any) -> Any:
        """Give a copy without what only fitting needs; where none can be made, the model itself."""
        try:
            return _plain(copy.deepcopy(model))
        except Exception:  # noqa: BLE001 -- an open file or the like, which is named when the code is looked at
            return model

    def foreign(self, folder: Path) -> list[str]:
        """Name what the skops file names beyond the trusted libraries; nothing of it is imported or built."""
        return list(_untrusted(_stored(folder / FILE))) if (folder / FILE).is_file() else []

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
    first = _first(model)
    if hasattr(first, "build_analyzer") and len(frame.columns) == 1:
        return frame.iloc[:, 0]
    if type(first).__name__ == "DictVectorizer":
        return frame.to_dict("records")
    nameless = hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    numeric = all(dtype.kind in "iufb" for dtype in frame.dtypes)
    return frame.to_numpy() if nameless and numeric else frame


def _first(model: Any) -> Any:
    """Find the step that meets the rows."""
    if hasattr(model, "best_estimator_"):
        return _first(model.best_estimator_)
    return _first(model.steps[0][1]) if hasattr(model, "steps") else model


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


def _doubles(scores: Any) -> Array:
    import numpy as np

    return np.asarray(scores, dtype=np.float64)  # XGBoost as a last step gives 32 bits


def _refuse_unfitted(model: Any) -> None:
    validation = require("sklearn.utils.validation", to="pack a scikit-learn model")
    name = type(model).__name__
    try:
        validation.check_is_fitted(model)
    except Exception as reason:
        raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {name}. Fit it first.") from reason
    if not getattr(model, "refit", True):
        raise UnsupportedModelError(f"A search must be fitted with refit=True. Got {name}(refit=False).")


def _table(predicted: Any) -> Array:
    """Give predictions as (n_rows, n_outputs), whatever container they came in."""
    import numpy as np

    dense = predicted.toarray() if hasattr(predicted, "tocoo") else np.asarray(predicted)
    return cast("Array", dense.reshape(-1, 1) if dense.ndim == 1 else dense)


def _names(predicted: Array) -> list[str]:
    return [""] if predicted.shape[1] == 1 else [f"y{i}" for i in range(predicted.shape[1])]


def _task_of(last: Any) -> Task:
    base = require("sklearn.base", to="pack a scikit-learn model")
    known: dict[str | None, Task] = {
        "classifier": "classification",
        "regressor": "regression",
        "clusterer": "clustering",
        "density_estimator": "clustering",  # a mixture: which component
        "outlier_detector": "outliers",
    }
    if isinstance(last, base.OutlierMixin):
        return "outliers"
    kind = require("sklearn.utils", to="pack a scikit-learn model").get_tags(last).estimator_type
    return known.get(kind, "other")


def _outputs(last: Any, data: Any) -> tuple[Output, ...]:
    task, predicted = _task_of(last), _table(last.predict(data))
    names = _names(predicted)
    if task == "regression":
        return tuple(Output(name=name, parts=("value",)) for name in names)
    if task == "outliers":
        parts: tuple[Part, ...] = ("label", "value") if hasattr(last, "decision_function") else ("label",)
        return (Output(parts=parts, classes=(-1, 1)),)
    if task == "other":
        return tuple(
            Output(name=name, parts=("value" if values.dtype.kind == "f" else "label",))
            for name, values in zip(names, predicted.T, strict=True)
        )
    parts = ("label", "scores") if _gives_scores(last) else ("label",)
    classes = _classes(last, predicted)
    return tuple(Output(name=name, parts=parts, classes=known) for name, known in zip(names, classes, strict=True))


def _answers(last: Any, data: Any, parts: Sequence[Part]) -> tuple[Answers, ...]:
    task = _task_of(last)
    if task == "regression":
        return tuple(Answers(values=_doubles(each)) for each in _table(last.predict(data)).T)
    if task == "other":
        columns = _table(last.predict(data)).T
        return tuple(Answers(values=each) if each.dtype.kind == "f" else Answers(labels=each) for each in columns)
    if task == "outliers":
        labels = last.predict(data) if "label" in parts else None
        valued = "value" in parts and hasattr(last, "decision_function")
        return (Answers(labels=labels, values=_doubles(last.decision_function(data)).reshape(-1) if valued else None),)
    scores = _scores(last, data) if "scores" in parts and _gives_scores(last) else None
    if scores is not None and "label" not in parts:
        return tuple(Answers(scores=each) for each in scores)
    labels = _labels(last, data) if scores is None else _labels_beside(last, data, scores)
    if scores is None:
        return tuple(Answers(labels=each) for each in labels)
    return tuple(Answers(labels=each, scores=chances) for each, chances in zip(labels, scores, strict=True))


def _gives_scores(last: Any) -> bool:
    """Tell whether there is a probability for each class; a chain has but one a link, which is enough for two."""
    if type(last).__name__ == "ClassifierChain":
        return hasattr(last, "predict_proba") and all(len(each) == 2 for each in last.classes_)
    return hasattr(last, "predict_proba")


def _scores(last: Any, data: Any) -> list[Array]:
    import numpy as np

    found = last.predict_proba(data)
    if isinstance(found, list):
        return [_doubles(each) for each in found]
    if _answers_yes_or_no(last):
        return [np.column_stack([1 - chance, chance]) for chance in _doubles(found).T]
    return [_doubles(found)]


def _answers_yes_or_no(last: Any) -> bool:
    """Tell a model of several yes-or-no labels whose probabilities are those of yes."""
    binarizer = getattr(last, "_label_binarizer", None)
    several = getattr(last, "multilabel_", False) or "multilabel" in getattr(binarizer, "y_type_", "")
    return bool(several) or type(last).__name__ == "ClassifierChain"


def _labels(last: Any, data: Any) -> list[Array]:
    predicted = _table(last.predict(data))
    fitted = getattr(last, "classes_", None)
    if isinstance(fitted, list):  # a chain passes them on as floats
        return [each.astype(known.dtype) for each, known in zip(predicted.T, fitted, strict=True)]
    return list(predicted.T)


def _labels_beside(last: Any, data: Any, scores: Sequence[Array]) -> list[Array]:
    """Give the labels that belong to scores; a model is asked again only where they do not tell."""
    name = type(last).__name__ if type(last).__module__.startswith("sklearn.") else ""
    if len(scores) == 1 and (name in BY_CHANCE or (name in BY_CHANCE_BUT_TIES and not _has_ties(scores[0]))):
        labels: Array = last.classes_.take(scores[0].argmax(axis=1), axis=0)
        return [labels]
    return _labels(last, data)


def _has_ties(scores: Array) -> bool:
    """Tell whether the two largest scores of some row are so close that rounding may have turned them."""
    import numpy as np

    if scores.shape[1] < 2:
        return True
    two = np.partition(scores, -2, axis=1)[:, -2:] if scores.shape[1] > 2 else scores
    return not bool((np.abs(two[:, 1] - two[:, 0]) > CLOSE).all())


def _classes(last: Any, predicted: Array) -> list[tuple[Label, ...]]:
    """Give the labels of each output: those that were fitted, or 0 and 1 for each of several yes-or-no labels."""
    fitted = getattr(last, "classes_", None)
    if fitted is None:
        return [_groups(last)]
    if isinstance(fitted, list):
        return [tuple(each.tolist()) for each in fitted]
    return [tuple(fitted.tolist())] if predicted.shape[1] == 1 else [(0, 1)] * predicted.shape[1]


def _groups(last: Any) -> tuple[Label, ...]:
    """Give the numbers of a clusterer's clusters, or of a mixture's components."""
    seen = {*getattr(last, "labels_", ()), *getattr(last, "subcluster_labels_", ())}
    n_known = len(getattr(last, "cluster_centers_", ())) or int(getattr(last, "n_components", 0) or 0)
    return tuple(sorted({int(label) for label in seen} | set(range(n_known))))


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


@lru_cache(maxsize=1)  # packing looks at one file several times
def _untrusted(data: bytes) -> tuple[str, ...]:
    """List what a skops file names beyond what may be built without asking."""
    skops = require("skops.io", to="look into a packed model")
    try:
        names = skops.get_untrusted_types(data=data)
    except Exception as reason:
        raise IntegrityError(f"{FILE} must be a file of skops. It is not: {type(reason).__name__}.") from reason
    return tuple(name for name in names if not _known(name))


def _stored(path: Path) -> bytes:
    """Read a skops file as `save` writes it: nothing in it is compressed, so it is no larger than it looks."""
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            if not packed:  # seen before anything is read: a small file may unpack to any size
                sealing.parsed(archive.read("schema.json"))
    except Exception as reason:  # zipfile raises a dozen kinds at bytes that are none of its own
        raise IntegrityError(f"{path.name} must be a file of skops. It is not: {type(reason).__name__}.") from reason
    if packed:
        raise IntegrityError(f"{path.name} must be a file of skops as ekiben writes it. Got compressed entries.")
    return data


def _allowed(name: str, trust: Sequence[str]) -> bool:
    """Tell whether the user's word covers a name: a class of an installed library, or anything of the package's own code."""
    prefix = next((given for given in trust if _within(name, (given,))), None)
    if prefix is None or trusting.forbidden(name):
        return False
    if name.startswith(distributions.CODE):
        return _found(name) is not None
    if not distributions.bringing(name):  # known before it is imported
        return False
    found = _found(name)
    return isinstance(found, type) and not trusting.forbidden(found.__module__)


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        return None


def _way_out(model: Any, refused: Sequence[str]) -> str:
    """Say what the user can do about types that no allow-list has."""
    libraries = sorted({name.partition(".")[0] for name in refused if not trusting.forbidden(name)})
    known = [library for library in libraries if library != "__main__" and distributions.bringing(library)]
    said = "Replace it by one of theirs, or do that step before the model and in the service's `preprocess`."
    if known:
        said += f" If you trust the library: pack(…, trust={known!r})."
    return f"{said} {by_pickle(model)}"


def _classes_in(data: bytes) -> set[str]:
    """List the classes that a skops file speaks of; skops itself judges the rest."""
    schema = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))
    found, waiting = set(), [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.add(f"{node.get('__module__')}.{node.get('__class__')}")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return found


def _check_boosters(data: bytes) -> None:
    """See that a Booster of LightGBM's holds whole trees: it would end the process at others, or at none."""
    nodes = [json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))]
    while nodes:
        node = nodes.pop()
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, dict) and (node.get("__module__"), node.get("__class__")) == ("lightgbm.basic", "Booster"):
            held = node.get("content", {}).get("content", {}).get("_handle", {})
            text = json.loads(held["content"]) if held.get("__loader__") == "JsonNode" else None
            check_text(text if isinstance(text, str) else "")


def _reads_files(model: Any) -> bool:
    """Tell a text vectoriser that takes its texts for the names of files."""
    return any(getattr(part, "input", None) in ("filename", "file") for part in _parts(model))


@cache
def _known(name: str) -> bool:
    """Tell whether a name is one of ours to trust; a class counts where it is defined, not where it is imported."""
    if name in NAMES:
        return True
    if not _within(name.rpartition(".")[0], CLASSES_OF + FUNCTIONS_OF):
        return False
    found = _found(name)
    allowed = CLASSES_OF if isinstance(found, type) else FUNCTIONS_OF
    return _within(str(getattr(found, "__module__", "")), allowed)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _canonical(dumped: bytes) -> bytes:
    """Give skops' ids and files the numbers of their order, so that one model has one digest."""
    source = zipfile.ZipFile(io.BytesIO(dumped))
    schema = json.loads(source.read("schema.json"))
    ids: dict[Any, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, ids, files)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for old, new in files.items():
            _add(archive, new, _without_gaps(source.read(old)) if new.endswith(".npy") else source.read(old))
        _add(archive, "schema.json", json.dumps(schema, separators=(",", ":")).encode())
    return made.getvalue()


def _renumber(node: Any, ids: dict[Any, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for child in node:
            _renumber(child, ids, files)
    if not isinstance(node, dict):
        return
    if "__loader__" in node and "__id__" in node:
        node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
    if "__loader__" in node and isinstance(node.get("file"), str):
        old = node["file"]
        node["file"] = files.setdefault(old, f"{len(files)}{Path(old).suffix}")
    for child in node.values():
        _renumber(child, ids, files)


def _without_gaps(data: bytes) -> bytes:
    """Zero the bytes between the fields of an array, which hold whatever lay in memory: those of a tree's nodes do."""
    import numpy as np

    if b"'descr': [" not in data[:64]:  # fields have names
        return data
    array = np.load(io.BytesIO(data), allow_pickle=False)
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    made = io.BytesIO()
    np.save(made, clean, allow_pickle=False)
    return made.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
