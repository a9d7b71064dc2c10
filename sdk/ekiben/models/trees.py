"""What the adapters of libraries of trees share: a small model.json, and categories as their codes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben.errors import IntegrityError, UnsupportedModelError

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

SETTINGS = "model.json"
Kinds = type | tuple[type, ...]


def write_settings(folder: Path, kind: str, **more: Any) -> None:
    """Write which class a model is, and what else its answers depend on; what is None is left out."""
    told = {"class": kind} | {name: value for name, value in more.items() if value is not None}
    (folder / SETTINGS).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def read_settings(folder: Path, classes: Sequence[str], known: Mapping[str, Kinds]) -> dict[str, Any]:
    """Read what `write_settings` wrote.

    Raises
    ------
    IntegrityError
        If it is not of the shape that is written: one of `classes`, and nothing but `known` names of their types.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_settings(Path(folder), "XGBRegressor", missing=0.0)
    ...     read_settings(Path(folder), ["XGBRegressor"], {"missing": float})
    {'class': 'XGBRegressor', 'missing': 0.0}
    """
    try:
        told = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise IntegrityError(f"A model's {SETTINGS} must be JSON. It is not: {reason}.") from None
    if not isinstance(told, dict) or told.get("class") not in classes:
        got = told.get("class") if isinstance(told, dict) else told
        raise IntegrityError(f"The class in {SETTINGS} must be one of {', '.join(classes)}. Got {got!r}.")
    wrong = [name for name, value in told.items() if name != "class" and not _fits(value, known.get(name, ()))]
    if wrong:
        raise IntegrityError(
            f"What {SETTINGS} holds must be of {', '.join(['class', *known])}. Got another {wrong[0]}."
        )
    return told


def _fits(value: Any, kinds: Kinds) -> bool:
    return isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))


def refuse_own_answers(model: Any, library: str) -> None:
    """Refuse a class that answers otherwise than its base in the library, which is what would be loaded.

    Raises
    ------
    UnsupportedModelError
        If a class outside of the library has a `predict` or `predict_proba` of its own.
    """
    outside = list(takewhile(lambda kind: kind.__module__.partition(".")[0] != library, type(model).__mro__))
    own = sorted({name for kind in outside for name in ("predict", "predict_proba") if name in vars(kind)})
    if own:
        raise UnsupportedModelError(
            f"A model of {library} must answer as its library does. {type(model).__name__} has a {' and '.join(own)} of "
            "its own. Fit the library's class, and put the rest into the service's `preprocess` and `postprocess`."
        )


def codes(frame: pd.DataFrame, categories: Mapping[str, Iterable[Any]]) -> Array:
    """Give the columns as numbers, categories as the codes that the model gave them, of shape (n_rows, n_columns).

    Examples
    --------
    >>> import pandas as pd
    >>> codes(pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", None])}), {"b": ["y", "x"]})
    array([[ 1.,  1.],
           [ 2., nan]])
    """
    import numpy as np

    columns = []
    for name in frame.columns:
        values = frame[name]
        if str(values.dtype) == "category":
            values = values.cat.set_categories(list(categories.get(name, values.cat.categories))).cat.codes
            values = values.where(values >= 0)
        columns.append(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.column_stack(columns)
