"""Frames and their contract: hold one to it, and turn frames into rows and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ekiben import dtypes
from ekiben.errors import Fault, SchemaError, SpecError, nearest
from ekiben.learning import learn
from ekiben.moments import is_date
from ekiben.schema import Column, Schema
from ekiben.values import bounds, is_missing, misfit, misfits, missing_column, plain_list, twice, value_fault

if TYPE_CHECKING:
    import pandas as pd

MOST_HINTS = 20  # missing columns of which a nearest spelling is looked for: an error spells out no more

__all__ = ["as_columns", "as_frame", "as_records", "as_rows", "comparable", "conform", "learn", "with_columns"]


# ── does a frame fit? ───────────────────────────────────────────────────────────────────────────────────────────


def conform(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Bring `frame` into the contract's columns, order and dtypes, or say everything that does not fit.

    Parameters
    ----------
    frame
        A table of shape (n_rows, n_columns), its columns in any order.

    Raises
    ------
    SchemaError
        With every fault: missing and unexpected columns, wrong kinds, missing values, unseen categories.

    Examples
    --------
    >>> import pandas as pd
    >>> schema = learn(pd.DataFrame({"age": [30, 41]}))
    >>> conform(pd.DataFrame({"Age": [33]}), schema)
    Traceback (most recent call last):
    ...
    ekiben.errors.SchemaError: The column 'age' is missing. Did you mean 'Age'?
    The column 'Age' is not expected. Drop it: frame.drop(columns=['Age'])
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise SchemaError(f"The rows must come as a pandas DataFrame. Got {type(frame).__name__}. {as_a_frame(frame)}")
    if not len(frame):
        raise SchemaError("The rows must be at least one. Got none.")
    if not all(isinstance(name, str) for name in frame.columns) or frame.columns.duplicated().any():
        raise SchemaError("The columns must have names that are texts and differ. Got others.")
    faults = [twice(schema[name]) for alias, name in schema.aliases.items() if {alias, name} <= set(frame.columns)]
    if not faults and not schema.aliases.keys().isdisjoint(frame.columns):
        frame = frame.rename(columns=schema.aliases)
    faults += _name_faults([str(name) for name in frame.columns], schema)
    for column in schema.columns:
        if column.name in frame.columns and not plainly_fits(column, frame[column.name]):
            faults += _few(column, misfits(column, enumerate(frame[column.name].tolist())))
    if faults:
        raise SchemaError.of(faults)
    fitting = as_frame({name: frame[name] for name in schema.names}, schema)
    fitting.index = frame.index
    return fitting


def as_a_frame(rows: Any) -> str:
    """Say how a frame is made of what is none.

    >>> as_a_frame([{"age": 30}])
    'Make one of the rows: pd.DataFrame(rows).'
    """
    if type(rows).__name__ == "Series":
        return "One row of a frame is frame.iloc[[0]], one column frame[['name']]."
    if isinstance(rows, dict):
        return "Make one of the row: pd.DataFrame([row])."
    if isinstance(rows, list | tuple) and rows and all(isinstance(row, dict) for row in rows):
        return "Make one of the rows: pd.DataFrame(rows)."
    return "Name its columns: pd.DataFrame(X, columns=[…])."


def given(parameter: str, data: Any) -> pd.DataFrame:
    """Make a frame of what a user gave: a frame, an array without names, or texts; say which parameter is none."""
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    if isinstance(data, pd.Series):
        return data.to_frame("text" if data.name is None else str(data.name))
    if isinstance(data, list | tuple) and data and all(isinstance(each, str) for each in data):
        return pd.DataFrame({"text": data})
    got = f"the text {data!r}. Read a file first, by pandas." if isinstance(data, str) else f"{type(data).__name__}."
    make = f" {as_a_frame(data)}" if isinstance(data, dict | list | tuple) else ""
    raise SpecError(
        f"The {parameter!r} must be a pandas DataFrame, a 2-D numpy array, or a list of texts. Got {got}{make}"
    )


def conformed(parameter: str, data: Any, contract: Schema) -> pd.DataFrame:
    """Bring what a user gave into the contract, or say of which parameter it is that does not fit."""
    try:
        return conform(given(parameter, data), contract)
    except SchemaError as misfit:
        raise SchemaError(
            f"The {parameter!r} must fit the contract of the 'reference'.\n{misfit}", misfit.faults
        ) from None


def _few(column: Column, found: list[tuple[int, str]], most: int = 3) -> list[Fault]:
    """Make words of the first misfits of one column, the last of them saying how many more there are."""
    faults = [value_fault(column, each) for each in found[:most]]
    if len(found) > most:
        faults[-1] = replace(faults[-1], message=f"{faults[-1].message} And in {len(found) - most:,} more rows.")
    return faults


def _name_faults(names: Sequence[str], schema: Schema) -> Iterator[Fault]:
    came, known, aliases = {*names}, {*schema.names}, schema.aliases
    strangers = [name for name in names if name not in known]
    for i, column in enumerate(column for column in schema.columns if column.name not in came):
        yield missing_column(column, hint=nearest(column.name, strangers) if i < MOST_HINTS else "")
    for name in strangers:
        if name not in aliases and schema.extra == "refuse":
            yield Fault(
                message=f"The column {name!r} is not expected. Drop it: frame.drop(columns=[{name!r}])",
                column=name,
                expected="no such column",
                got="a column",
            )


def plainly_fits(column: Column, values: pd.Series[Any]) -> bool:
    """Answer for a whole column at once where dtypes can tell; anything else is to be looked at value by value."""
    import numpy as np

    if column.kind in ("text", "category"):
        return _texts_fit(column, values.tolist())
    is_plain = isinstance(values.dtype, np.dtype)
    if column.kind in ("number", "integer"):
        return is_plain and numbers_fit(column, values.to_numpy())
    if column.kind not in ("boolean", "datetime") or (values.isna().any() and not column.nullable):
        return False
    if column.kind == "datetime":
        limited = column.minimum is not None or column.maximum is not None
        return not limited and column.dtype.startswith("datetime64[ns") and str(values.dtype) == column.dtype
    return is_plain and values.dtype.kind == "b"


def numbers_fit(column: Column, numbers: Any) -> bool:
    """Look at the least and the largest number of an array."""
    if numbers.dtype.kind not in {"number": "iuf", "integer": "iu"}.get(column.kind, ""):
        return False
    least, most = numbers.min(), numbers.max()
    if least != least:  # one is missing
        numbers = numbers[numbers == numbers]
        if not column.nullable or not len(numbers):
            return bool(column.nullable)
        least, most = numbers.min(), numbers.max()
    low, high = bounds(column)
    return bool(low <= least.item() and most.item() <= high)


def _texts_fit(column: Column, values: list[Any]) -> bool:
    """Look at each text once, however often it comes; what is neither a text nor missing is left to a closer look."""
    if not {*map(type, values)} <= {str, float, type(None)}:
        return False
    known = frozenset(column.categories or ()) if column.is_closed else None
    return all(misfit(column, value, known) is None for value in {*values})


# ── rows and frames ──────────────────────────────────────────────────────────────────────────────────────


def as_frame(values: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Make a frame in the contract's order and dtypes from fitting values, column by column."""
    import pandas as pd

    series = {column.name: dtypes.series(column, values[column.name]) for column in schema.columns}
    return pd.DataFrame(series, columns=list(schema.names))


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a frame into rows of plain Python values, None for what is missing: what JSON can hold.

    Examples
    --------
    >>> import pandas as pd
    >>> as_rows(pd.DataFrame({"age": [30.0, None]}))
    [{'age': 30.0}, {'age': None}]
    """
    return [{name: _plain(value) for name, value in row.items()} for row in as_records(frame)]


def _plain(value: Any) -> Any:
    """Give a value as JSON can hold it: a date is ISO 8601 text, an array a list."""
    if type(value) in (str, int, bool):
        return value
    if is_missing(value):
        return None
    if is_date(value):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    if getattr(value, "ndim", None) == 0:  # numpy's scalars, which a column of objects may hold
        return value.item()
    items = plain_list(value)
    return value if items is None else [_plain(item) for item in items]


def as_columns(frame: pd.DataFrame) -> list[list[Any]]:
    """Turn a frame into its columns as lists of plain Python values, None or NaN for what is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> as_columns(pd.DataFrame({"age": [30, 41], "job": ["cook", None]}))
    [[30, 41], ['cook', None]]
    """
    return [_as_list(frame[name]) for name in frame.columns]


def _as_list(values: pd.Series[Any]) -> list[Any]:
    if getattr(values.dtype, "kind", "O") in "iufb" and not hasattr(values.dtype, "na_value"):
        return values.tolist()
    cells = values.tolist()
    if {*map(type, cells)} <= {str, int, bool, type(None)}:
        return cells
    return [_plain(value) for value in cells]


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame whose every value can be hashed: a list is told as text.

    >>> import pandas as pd
    >>> comparable(pd.DataFrame({"place": [[1, 2], None]}))["place"].tolist()
    ['[1, 2]', None]
    """
    held = [name for name in frame.columns if frame[name].dtype == object and frame[name].map(_is_list).any()]
    told = {name: frame[name].map(lambda value: str(_plain(value)) if _is_list(value) else value) for name in held}
    return with_columns(frame, told)


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Give a frame in which some columns hold other values, or are new, by any name; `assign` takes none called `self`.

    >>> import pandas as pd
    >>> with_columns(pd.DataFrame({"self": [1, 2]}), {"self": [3, 4]})["self"].tolist()
    [3, 4]
    """
    made = frame.copy()
    for name, values in columns.items():
        made[name] = values
    return made


def _is_list(value: Any) -> bool:
    return plain_list(value) is not None


def as_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a frame into rows of plain Python values as they are, NaN included."""
    names = [str(name) for name in frame.columns]
    lists = [frame[name].tolist() for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
