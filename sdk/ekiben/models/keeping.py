"""pandas' Series and frames inside a model, as plain arrays and lists that skops can hold, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ekiben import distributions

MARK = "__ekiben__"
OWN = ("sklearn", distributions.CODE)  # whose objects are looked into: an estimator's attributes, and the user's own


def frozen(part: Any) -> Any:
    """Turn every plain Series, frame and index of a model into a marked dict; anything else stays as it is.

    Examples
    --------
    >>> import pandas as pd
    >>> thawed(frozen({"means": pd.Series([1.5, 2.5], index=["a", "b"])}))["means"]["b"]
    2.5
    """
    return _walked(part, _frozen)


def thawed(part: Any) -> Any:
    """Turn the marked dicts of `frozen` back."""
    return _walked(part, _thawed)


def _walked(part: Any, turn: Callable[[Any], Any]) -> Any:
    turned = turn(part)
    if turned is not part:
        return turned
    if type(part) in (list, tuple):
        return type(part)(_walked(each, turn) for each in part)
    if isinstance(part, dict):
        part.update({key: _walked(value, turn) for key, value in part.items()})
    elif type(part).__module__.startswith(OWN) and hasattr(part, "__dict__") and not isinstance(part, type):
        part.__dict__.update({key: _walked(value, turn) for key, value in part.__dict__.items()})
    return part


def _frozen(part: Any) -> Any:
    if not type(part).__module__.startswith("pandas."):
        return part
    kind = type(part).__name__
    if kind in ("Index", "RangeIndex", "DatetimeIndex") and _is_plain(part.dtype):
        return _column("index", part)
    if kind == "Series" and _is_plain(part.dtype) and (index := _frozen(part.index)) is not part.index:
        return {**_column("series", part), "index": index}
    if kind == "DataFrame" and part.columns.is_unique and (index := _frozen(part.index)) is not part.index:
        columns = [_frozen(part.iloc[:, i].reset_index(drop=True)) for i in range(part.shape[1])]
        if all(isinstance(column, dict) for column in columns):
            return {MARK: "frame", "columns": columns, "index": index}
    return part


def _is_plain(dtype: Any) -> bool:
    return getattr(dtype, "kind", "O") in "biufMO" and not hasattr(dtype, "categories") and str(dtype)[0].islower()


def _column(kind: str, values: Any) -> dict[str, Any]:
    """Keep objects as a list, numbers and dates as an array."""
    data = values.tolist() if values.dtype == object else values.to_numpy()
    return {MARK: kind, "name": values.name, "dtype": str(values.dtype), "values": data}


def _thawed(part: Any) -> Any:
    if not isinstance(part, dict) or MARK not in part:
        return part
    import pandas as pd

    if part[MARK] == "frame":
        columns = [_thawed(column) for column in part["columns"]]
        made = pd.concat(columns, axis=1) if columns else pd.DataFrame()
        return made.set_axis([column.name for column in columns], axis=1).set_axis(_thawed(part["index"]), axis=0)
    if part[MARK] == "index":
        return pd.Index(part["values"], dtype=part["dtype"], name=part["name"])
    made = pd.Series(part["values"], dtype=part["dtype"], name=part["name"])
    return made.set_axis(_thawed(part["index"])) if "index" in part else made
