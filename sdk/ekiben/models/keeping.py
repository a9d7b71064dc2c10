"""What pandas and Python's own library give an estimator to hold, as plain arrays and lists that skops can hold, and back."""

from __future__ import annotations

import collections
import datetime as dt
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from ekiben import distributions
from ekiben.errors import IntegrityError

MARK = "__ekiben__"
OWN = ("sklearn", distributions.CODE)  # whose objects are looked into: an estimator's attributes, and the user's own
KEYS = (str, int, float, bool)  # what skops takes as the keys of a dict


def frozen(part: Any) -> Any:
    """Turn every Series, frame, date, interval and the like of a model into a marked dict; anything else stays as it is.

    Examples
    --------
    >>> import pandas as pd
    >>> thawed(frozen({"means": pd.Series([1.5, 2.5], index=["a", "b"])}))["means"]["b"]
    2.5
    >>> thawed(frozen({"since": dt.date(2026, 1, 1)}))
    {'since': datetime.date(2026, 1, 1)}
    """
    return _walked(part, _frozen)


def thawed(part: Any) -> Any:
    """Turn the marked dicts of `frozen` back.

    Raises
    ------
    IntegrityError
        If a marked dict is none that `frozen` makes.
    """
    return _walked(part, _thawed)


def holders(part: Any, wanted: Callable[[Any], bool]) -> list[str]:
    """Name the innermost places of a model that hold what is wanted, as `Cleaner.pattern_`.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> scaler = StandardScaler()
    >>> scaler.labels_ = {"a": [1, 2j]}
    >>> holders(scaler, lambda part: isinstance(part, complex))
    ["StandardScaler.labels_['a'][1]"]
    """
    return list(dict.fromkeys(_holders(part, wanted, type(part).__name__, set())))


def _holders(part: Any, wanted: Callable[[Any], bool], place: str, seen: set[int]) -> Iterator[str]:
    if id(part) in seen:
        return
    seen.add(id(part))
    inside = [found for name, each in _inside(part, place) for found in _holders(each, wanted, name, seen)]
    yield from inside
    if not inside and wanted(part):
        yield place


def _inside(part: Any, place: str) -> Iterator[tuple[str, Any]]:
    if type(part) in (list, tuple):
        yield from ((f"{place}[{i}]", each) for i, each in enumerate(part))
    elif isinstance(part, dict):
        yield from ((f"{place}[{key!r}]", each) for key, each in part.items())
    elif _is_own(part):
        yield from ((f"{type(part).__name__}.{name}", each) for name, each in part.__dict__.items())


def _is_own(part: Any) -> bool:
    return type(part).__module__.startswith(OWN) and hasattr(part, "__dict__") and not isinstance(part, type)


def _walked(part: Any, turn: Callable[[Any], Any]) -> Any:
    turned = turn(part)
    if turned is not part:
        return turned
    if type(part) in (list, tuple):
        return type(part)(_walked(each, turn) for each in part)
    if isinstance(part, dict):
        part.update({key: _walked(value, turn) for key, value in part.items()})
    elif _is_own(part):
        part.__dict__.update({key: _walked(value, turn) for key, value in part.__dict__.items()})
    return part


def _frozen(part: Any) -> Any:
    """Mark a value whose parts are all plain; one that could not be made of them again stays as it is."""
    module, name = type(part).__module__, type(part).__name__
    if module.startswith("pandas.") and name == "DataFrame":
        return _frame(part)
    if module.startswith("pandas.") and hasattr(part, "reindex") and name != "MultiIndex":
        return _column("series" if name == "Series" else "index", part)
    if type(part) is dict and not all(type(key) in KEYS for key in part):
        return _marked("dict", *KINDS["dict"].told(part))
    mark = f"{module.partition('.')[0]}.{name}"
    told = KINDS[mark].told(part) if mark in KINDS else None
    return part if told is None else _marked(mark, *told)


def _marked(mark: str, *made_of: Any) -> dict[str, Any]:
    return {MARK: mark, "of": [frozen(each) for each in made_of]}


def _thawed(part: Any) -> Any:
    if not isinstance(part, dict) or MARK not in part:
        return part
    try:
        kinds = COLUMNS if part[MARK] in COLUMNS else KINDS
        return kinds[part[MARK]].made(*thawed(part["of"])) if "of" in part else _of_pandas(part)
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError, re.error) as reason:
        raise IntegrityError(
            f"What a model remembers must be as ekiben wrote it. Got a {part[MARK]!r} that cannot be made again. Pack it again."
        ) from reason


# ── frames ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _frame(part: Any) -> Any:
    index = frozen(part.index)
    columns = [frozen(part.iloc[:, i].reset_index(drop=True)) for i in range(part.shape[1])]
    if not part.columns.is_unique or not all(isinstance(each, dict) for each in (index, *columns)):
        return part
    return {MARK: "frame", "columns": columns, "index": index}


def _column(kind: str, part: Any) -> Any:
    """Tell a Series or an index by its name, its dtype and its values."""
    values = _values(part)
    index = {"index": frozen(part.index)} if kind == "series" else {}
    if values is None or not all(isinstance(each, dict) for each in index.values()):
        return part
    dtype = None if isinstance(values, dict) else str(part.dtype)  # a marked dict brings its own
    return {MARK: kind, "name": frozen(part.name), "dtype": dtype, "values": values, **index}


def _values(part: Any) -> Any:
    """Give numbers and dates as an array, objects as a list, and None for a dtype that has no such form."""
    dtype, mark = part.dtype, type(part.dtype).__name__
    if mark in COLUMNS:
        return _marked(mark, *COLUMNS[mark].told(part))
    if mark != "StringDtype" and (hasattr(dtype, "construct_array_type") or dtype.kind not in "biufmMO"):
        return None
    return frozen(part.tolist()) if str(dtype) == "object" else part.to_numpy()


def _of_pandas(part: dict[str, Any]) -> Any:
    pd = _pandas()
    if part[MARK] == "frame":
        columns = [_thawed(column) for column in part["columns"]]
        made = pd.concat(columns, axis=1) if columns else pd.DataFrame()
        return made.set_axis([column.name for column in columns], axis=1).set_axis(_thawed(part["index"]), axis=0)
    make = {"index": pd.Index, "series": pd.Series}[part[MARK]]
    made = make(thawed(part["values"]), dtype=part["dtype"], name=thawed(part["name"]))
    return made.set_axis(_thawed(part["index"])) if "index" in part else made


# ── values, and columns of dtypes that are pandas' own ─────────────────────────────────────────────────────────────


class Kind(NamedTuple):
    """What tells a value by plain parts, or gives None where they would not give it back; and what makes it of them."""

    told: Callable[[Any], Any]
    made: Callable[..., Any]


def _pandas() -> Any:
    import pandas as pd

    return pd


def _nullable(part: Any) -> tuple[list[Any], str]:
    told = zip(part.astype(object).tolist(), part.isna().tolist(), strict=True)
    return [None if missing else value for value, missing in told], str(part.dtype)


def _timestamp(part: Any) -> tuple[Any, ...] | None:
    told = (part.asm8, None if part.tz is None else str(part.tz))
    return told if repr(_timestamp_of(*told)) == repr(part) else None


def _timestamp_of(at: Any, zone: str | None) -> Any:
    made = _pandas().Timestamp(at)
    return made if zone is None else made.tz_localize("UTC").tz_convert(zone)


def _datetime(part: dt.datetime | dt.time) -> tuple[str] | None:
    told = part.isoformat()
    return (told,) if repr(type(part).fromisoformat(told)) == repr(part) else None


NULLABLE = Kind(_nullable, lambda values, dtype: _pandas().array(values, dtype=dtype))
COLUMNS: dict[str, Kind] = {
    **{f"{name}Dtype": NULLABLE for name in ("Boolean", "Float32", "Float64")},
    **{f"{name}{bits}Dtype": NULLABLE for name in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    "CategoricalDtype": Kind(
        lambda part: (part.array.codes, part.dtype),
        lambda codes, dtype: _pandas().Categorical.from_codes(codes, dtype=dtype),
    ),
    "DatetimeTZDtype": Kind(
        lambda part: (part.array.tz_convert("UTC").tz_localize(None).to_numpy(), str(part.dtype.tz)),
        lambda at, zone: _pandas().DatetimeIndex(at).tz_localize("UTC").tz_convert(zone),
    ),
    "IntervalDtype": Kind(
        lambda part: (part.array.left, part.array.right, part.array.closed),
        lambda left, right, closed: _pandas().arrays.IntervalArray.from_arrays(left, right, closed=closed),
    ),
}
KINDS: dict[str, Kind] = {
    "builtins.complex": Kind(lambda part: (part.real, part.imag), complex),
    "builtins.frozenset": Kind(lambda part: (sorted(part, key=repr),), frozenset),
    "builtins.range": Kind(lambda part: (part.start, part.stop, part.step), range),
    "collections.Counter": Kind(lambda part: (dict(part),), collections.Counter),
    "collections.deque": Kind(lambda part: (list(part), part.maxlen), collections.deque),
    "datetime.date": Kind(lambda part: (part.isoformat(),), dt.date.fromisoformat),
    "datetime.datetime": Kind(_datetime, dt.datetime.fromisoformat),
    "datetime.time": Kind(_datetime, dt.time.fromisoformat),
    "datetime.timedelta": Kind(lambda part: (part.days, part.seconds, part.microseconds), dt.timedelta),
    "decimal.Decimal": Kind(lambda part: (str(part),), Decimal),
    "dict": Kind(lambda part: ([list(pair) for pair in part.items()],), dict),
    "pandas.CategoricalDtype": Kind(
        lambda part: (part.categories, part.ordered), lambda *parts: _pandas().CategoricalDtype(*parts)
    ),
    "pandas.Interval": Kind(
        lambda part: (part.left, part.right, part.closed), lambda *parts: _pandas().Interval(*parts)
    ),
    "pandas.MultiIndex": Kind(
        lambda part: (list(part.levels), list(part.codes), list(part.names)),
        lambda levels, codes, names: _pandas().MultiIndex(levels=levels, codes=codes, names=names),
    ),
    "pandas.NaTType": Kind(lambda part: (), lambda: _pandas().NaT),  # noqa: ARG005 -- there is one of it
    "pandas.Timedelta": Kind(lambda part: (part.asm8,), lambda span: _pandas().Timedelta(span)),
    "pandas.Timestamp": Kind(_timestamp, _timestamp_of),
    "re.Pattern": Kind(lambda part: (part.pattern, part.flags), re.compile),
}
