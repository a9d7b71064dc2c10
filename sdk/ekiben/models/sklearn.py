"""scikit-learn's estimators and pipelines, kept in skops files."""

from __future__ import annotations

import copy
import importlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ekiben import sealing, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers, by_pickle
from ekiben.schema import Label, Task

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
)
CODE = "ekiben_code_"  # the modules of a package's own code
TRUSTED = "A packed model may use classes of scikit-learn and XGBoost, and numpy's ufuncs."


class SklearnAdapter:
    """Classifiers with probabilities, and regressors, of scikit-learn or in one of its pipelines."""

    library = "sklearn"

    def task(self, model: Any) -> Task:
        """Tell a classifier from a regressor; anything else is refused."""
        base = require("sklearn.base", to="pack a scikit-learn model")
        name = type(model).__name__
        validation = require("sklearn.utils.validation", to="pack a scikit-learn model")
        try:
            validation.check_is_fitted(model)
        except Exception as reason:
            raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {name}. Fit it first.") from reason
        if not getattr(model, "refit", True):
            raise UnsupportedModelError(f"A search must be fitted with refit=True. Got {name}(refit=False).")
        if base.is_regressor(model):
            return "regression"
        if not base.is_classifier(model):
            raise UnsupportedModelError(f"The model must be a classifier or a regressor. Got {name}.")
        if not hasattr(model, "predict_proba"):
            raise UnsupportedModelError(
                f"A classifier must give probabilities. {name} has no predict_proba. "
                "Wrap it: CalibratedClassifierCV(model).fit(X, y), or give it probability=True."
            )
        return "classification"

    def classes(self, model: Any) -> tuple[Label, ...]:
        """Give `classes_` as plain values."""
        if isinstance(model.classes_, list):
            raise UnsupportedModelError("The model must have one target. Got several. Pack one model for each.")
        return tuple(model.classes_.tolist())

    def answers(self, model: Any, frame: pd.DataFrame) -> Answers:
        """Preprocess once, then ask the last step for labels and scores, or values."""
        before, last = _halves(model)
        data = before(_input(model, frame))
        if not hasattr(last, "predict_proba"):
            return Answers(values=_flat(last.predict(data)))
        return Answers(labels=last.predict(data), scores=_doubles(last.predict_proba(data)))

    def scores(self, model: Any, frame: pd.DataFrame) -> Array:
        """Give `predict_proba`, or the values as one column."""
        data = _input(model, frame)
        if hasattr(model, "predict_proba"):
            return _doubles(model.predict_proba(data))
        return _flat(model.predict(data)).reshape(-1, 1)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Split a pipeline before its last step, nested pipelines too."""
        before, last = _halves(model)
        absent = 0.0 if _xgboost(last) is None else math.nan  # what is not in a sparse matrix is missing to XGBoost
        return lambda frame: _dense(before(_input(model, frame)), absent), last

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Leave it to XGBoost when the last step is its own."""
        return None if _xgboost(estimator) is None else _xgboost(estimator).contributions(estimator, matrix)

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give XGBoost's margin, where the last step is its own."""
        return cast("Array", _xgboost(estimator).margin(estimator, matrix))

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:
        """Write a skops file with the same bytes for the same model; `trust` names modules whose classes it may hold."""
        skops = require("skops.io", to="pack a scikit-learn model")
        try:
            dumped = skops.dumps(_plain(copy.deepcopy(model)))
        except Exception as reason:
            raise UnsupportedModelError(
                f"The model must hold nothing but data and known classes. skops could not write {type(model).__name__}: {reason}"
            ) from reason
        if _reads_files(model):
            raise UnsupportedModelError(
                "A vectoriser must take texts: input='content'. Got one that opens files by name."
            )
        refused = [name for name in _untrusted(dumped) if not _allowed(name, trust)]
        if refused:
            raise UnsupportedModelError(f"{TRUSTED} Got {', '.join(refused)}. {_way_out(model, refused)}")
        (folder / FILE).write_bytes(_canonical(dumped))

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Read the skops file; types beyond the trusted libraries and `trust` are refused."""
        skops = require("skops.io", to="load a scikit-learn model")
        data = _stored(folder / FILE)
        refused = [name for name in _untrusted(data) if not _allowed(name, trust)]
        if refused:
            raise IntegrityError(f"{TRUSTED} Got {', '.join(refused)}.")
        return skops.loads(data, trusted=skops.get_untrusted_types(data=data))

    def foreign(self, folder: Path) -> list[str]:
        """Name what the skops file names beyond the trusted libraries; nothing of it is imported or built."""
        return _untrusted(_stored(folder / FILE)) if (folder / FILE).is_file() else []

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name scikit-learn and skops, and XGBoost when a step is its own."""
        inside = any(type(part).__module__.startswith("xgboost") for part in _parts(model))
        return ("scikit-learn", "skops", *(("xgboost",) if inside else ()))


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
    return lambda data: inner(model[:-1].transform(data)), last


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
    """Give a model that was fitted without column names an array, everything else the frame."""
    nameless = hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    numeric = all(dtype.kind in "iufb" for dtype in frame.dtypes)
    return frame.to_numpy() if nameless and numeric else frame


def _dense(data: Any, absent: float) -> Array:
    import numpy as np

    try:
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


def _flat(values: Any) -> Array:
    import numpy as np

    made = np.asarray(values, dtype=np.float64)
    if made.ndim == 2 and made.shape[1] > 1:
        raise UnsupportedModelError("The model must have one target. Got several. Pack one model for each.")
    return made.reshape(-1)


def _xgboost(estimator: Any) -> Any:
    if not type(estimator).__module__.startswith("xgboost"):
        return None
    from ekiben.models.xgboost import ADAPTER as XGBOOST

    return XGBOOST


def _plain(part: Any) -> Any:
    """Leave out what no skops file holds: a search is the best it found, and a pandas Index of columns is a list."""
    if type(part).__module__.startswith("sklearn.model_selection") and hasattr(part, "best_estimator_"):
        return _plain(part.best_estimator_)
    if type(part).__name__ == "Index" and type(part).__module__.startswith("pandas"):
        return part.tolist()
    if isinstance(part, list | tuple):
        turned = [_plain(each) for each in part]
        return turned if type(part) is list else tuple(turned) if type(part) is tuple else part
    if isinstance(part, dict):
        part.update({key: _plain(value) for key, value in part.items()})
    elif type(part).__module__.startswith("sklearn") and hasattr(part, "__dict__"):
        part.__dict__.update({key: _plain(value) for key, value in part.__dict__.items()})
    return part


def _untrusted(data: bytes) -> list[str]:
    """List what a skops file names beyond what may be built without asking."""
    skops = require("skops.io", to="look into a packed model")
    try:
        names = skops.get_untrusted_types(data=data)
    except Exception as reason:
        raise IntegrityError(f"{FILE} must be a file of skops. It is not: {type(reason).__name__}.") from reason
    return [name for name in names if not _known(name)]


def _stored(path: Path) -> bytes:
    """Read a skops file as `save` writes it: nothing in it is compressed, so it is no larger than it looks."""
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            sealing.parsed(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, IntegrityError, OSError) as reason:
        raise IntegrityError(f"{path.name} must be a file of skops. It is not: {type(reason).__name__}.") from reason
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise IntegrityError(f"{path.name} must be a file of skops as ekiben writes it. Got compressed entries.")
    return data


def _allowed(name: str, trust: Sequence[str]) -> bool:
    """Tell whether the user's word covers a name: a class of an installed library, or anything of the package's own code."""
    prefix = next((given for given in trust if _within(name, (given,))), None)
    if prefix is None or trusting.forbidden(name):
        return False
    found = _found(name)
    if name.startswith(CODE):
        return found is not None
    module = str(getattr(found, "__module__", ""))
    return isinstance(found, type) and not trusting.forbidden(module) and _is_installed(name)


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_installed(name: str) -> bool:
    return name.partition(".")[0] in packages_distributions()


def _way_out(model: Any, refused: Sequence[str]) -> str:
    """Say what the user can do about types that no allow-list has."""
    libraries = sorted({name.partition(".")[0] for name in refused if not trusting.forbidden(name)})
    known = [library for library in libraries if library != "__main__" and _is_installed(library)]
    said = "Replace it by one of theirs, or do that step before the model and in the service's `preprocess`."
    if known:
        said += f" If you trust the library: pack(…, trust={known!r})."
    return f"{said} {by_pickle(model)}"


def _reads_files(model: Any) -> bool:
    """Tell a text vectoriser that takes its texts for the names of files."""
    return any(getattr(part, "input", None) in ("filename", "file") for part in _parts(model))


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

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    made = io.BytesIO()
    np.save(made, clean, allow_pickle=False)
    return made.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
