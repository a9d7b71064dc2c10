"""The file of skops that an estimator is kept in: the same bytes for the same model, and looked through before anything is built."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ekiben import distributions, sealing, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError
from ekiben.models.forests import check_text

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
TRUSTED = "A packed model may use classes of scikit-learn, XGBoost and LightGBM, and numpy's ufuncs."


def stored(path: Path) -> bytes:
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


@lru_cache(maxsize=1)  # packing looks at one file several times
def untrusted(data: bytes) -> tuple[str, ...]:
    """List what a skops file names beyond what may be built without asking."""
    skops = require("skops.io", to="look into a packed model")
    try:
        names = skops.get_untrusted_types(data=data)
    except Exception as reason:
        raise IntegrityError(f"{FILE} must be a file of skops. It is not: {type(reason).__name__}.") from reason
    return tuple(name for name in names if not known(name))


def allowed(name: str, trust: Sequence[str]) -> bool:
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


@cache
def known(name: str) -> bool:
    """Tell whether a name is one of ours to trust; a class counts where it is defined, not where it is imported."""
    if name in NAMES:
        return True
    if not _within(name.rpartition(".")[0], CLASSES_OF + FUNCTIONS_OF):
        return False
    found = _found(name)
    allowed = CLASSES_OF if isinstance(found, type) else FUNCTIONS_OF
    return _within(str(getattr(found, "__module__", "")), allowed)


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        return None


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def classes_in(data: bytes) -> set[str]:
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


def check_boosters(data: bytes) -> None:
    """See that a Booster of LightGBM's holds whole trees: it would end the process at others, or at none."""
    nodes = [json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))]
    while nodes:
        node = nodes.pop()
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, dict) and (node.get("__module__"), node.get("__class__")) == ("lightgbm.basic", "Booster"):
            held = node.get("content", {}).get("content", {}).get("_handle", {})
            text = json.loads(held["content"]) if held.get("__loader__") == "JsonNode" else None
            check_text(text if isinstance(text, str) else "")


def canonical(dumped: bytes) -> bytes:
    """Give skops' ids and files the numbers of their order, so that one model has one digest."""
    source = zipfile.ZipFile(io.BytesIO(dumped))
    schema = json.loads(source.read("schema.json"))
    ids: dict[Any, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, ids, files)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for old, new in files.items():
            _add(archive, new, without_gaps(source.read(old)) if new.endswith(".npy") else source.read(old))
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


def without_gaps(data: bytes) -> bytes:
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
