"""Frames and their contract: learn it from one, hold another to it, and turn frames into rows and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ekiben.errors import Fault, SchemaError, SpecError, nearest
from ekiben.schema import Column, Kind, Missing, Schema, is_missing, limits, missing_column, value_faults

if TYPE_CHECKING:
    import pandas as pd

MAX_CATEGORIES = 200  # more distinct texts than this are free text, not categories


# ── learning a schema ───────────────────────────────────────────────────────────────────────────────────────────


def learn(reference: pd.DataFrame) -> Schema:
    """Learn the contract from reference data.

    Parameters
    ----------
    reference
        The rows that the model was fitted on, or a fair sample, of shape (n_rows, n_columns).

    Raises
    ------
    SpecError
        If a column's values are of a kind that no contract can hold yet, with every such column.

    Examples
    --------
    >>> import pandas as pd
    >>> learn(pd.DataFrame({"age": [30, 41], "job": ["fixed", None]}))["job"].describe()
    "text, one of 'fixed', may be missing"
    """
    _usable_names(reference)
    columns, refused = [], []
    for name in reference.columns:
        try:
            columns.append(_learn_column(str(name), reference[name]))
        except SpecError as reason:
            refused.append(str(reason))
    if refused:
        raise SpecError("\n".join(refused))
    return Schema(columns=tuple(columns))


def _usable_names(reference: pd.DataFrame) -> None:
    if not len(reference) or not len(reference.columns):
        raise SpecError(f"The 'reference' must have rows and columns. Got shape {reference.shape}.")
    odd = [repr(name) for name in reference.columns.tolist() if name == "" or type(name) is not str]
    if odd:
        raise SpecError(
            f"Column names must be texts. Got {', '.join(odd[:10])}. Rename them and fit again: "
            "X.columns = [str(name) for name in X.columns]"
        )
    twice = sorted({str(name) for name in reference.columns[reference.columns.duplicated()]})
    if twice:
        raise SpecError(f"Column names must differ. Got more than one of {twice}.")


def _learn_column(name: str, values: pd.Series[Any]) -> Column:
    kind = _kind(name, values)
    present = values.dropna()
    numeric = kind in ("number", "integer")
    n_infinite = int((present.abs() == math.inf).sum()) if numeric else 0
    if n_infinite:
        raise SpecError(
            f"The column {name!r} must hold finite numbers. Got infinity in {n_infinite:,} of {len(values):,} rows."
        )
    return Column(
        name=name,
        kind=kind,
        dtype=str(values.dtype),
        nullable=bool(values.isna().any()),
        missing=_missing_marker(values),
        low=float(present.min()) if numeric else None,
        high=float(present.max()) if numeric else None,
        categories=_categories(values, present) if kind == "text" else None,
    )


def _kind(name: str, values: pd.Series[Any]) -> Kind:
    from pandas.api.types import infer_dtype

    inferred = infer_dtype(values.dropna(), skipna=True) if values.notna().any() else "empty"
    if inferred == "categorical":
        inferred = infer_dtype(values.cat.categories, skipna=True)
        if inferred != "string":
            raise SpecError(
                f"The categories of {name!r} must be texts. Got {inferred}. Convert them: X[{name!r}].astype(str)"
            )
    kinds: dict[str, Kind] = {
        "floating": "number",
        "mixed-integer-float": "number",
        "integer": "integer",
        "boolean": "boolean",
        "string": "text",
    }
    if inferred == "empty":
        raise SpecError(f"The column {name!r} must hold a value. Got only missing ones. Drop it, and fit without it.")
    if inferred not in kinds:
        raise SpecError(
            f"The column {name!r} must hold numbers, booleans or texts. Got {inferred} ({values.dtype}). "
            "Turn it into one of those before the model sees it."
        )
    return kinds[inferred]


def _missing_marker(values: pd.Series[Any]) -> Missing:
    import pandas as pd

    absent = values[values.isna()]
    if not len(absent):
        return "nan"
    first = absent.iloc[0]
    return "none" if first is None else "na" if first is pd.NA else "nan"


def _categories(values: pd.Series[Any], present: pd.Series[Any]) -> tuple[str, ...] | None:
    if str(values.dtype) == "category":
        return tuple(str(value) for value in values.cat.categories)  # their order is part of the dtype
    distinct = present.unique()
    return tuple(sorted(str(value) for value in distinct)) if len(distinct) <= MAX_CATEGORIES else None


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
        raise SchemaError(
            f"The rows must come as a pandas DataFrame. Got {type(frame).__name__}. "
            "Name its columns: pd.DataFrame(X, columns=package.schema.names)."
        )
    if not len(frame):
        raise SchemaError("The rows must be at least one. Got none.")
    if not all(isinstance(name, str) for name in frame.columns) or frame.columns.duplicated().any():
        raise SchemaError("The columns must have names that are texts and differ. Got others.")
    faults = list(_name_faults([str(name) for name in frame.columns], schema))
    for column in schema.columns:
        if column.name in frame.columns and not _plainly_fits(column, frame[column.name]):
            faults += _few(value_faults(column, enumerate(frame[column.name].tolist())))
    if faults:
        raise SchemaError.of(faults)
    return as_frame({name: frame[name] for name in schema.names}, schema).set_index(frame.index)


def _few(faults: list[Fault], most: int = 3) -> list[Fault]:
    """Keep the first faults of one column, the last of them saying how many more there are."""
    if len(faults) <= most:
        return faults
    last = faults[most - 1]
    return [*faults[: most - 1], replace(last, message=f"{last.message} And in {len(faults) - most:,} more rows.")]


def _name_faults(names: Sequence[str], schema: Schema) -> Iterator[Fault]:
    for column in schema.columns:
        if column.name not in names:
            hint = nearest(column.name, set(names) - set(schema.names))
            yield missing_column(column, hint=hint)
    for name in names:
        if name not in schema.names:
            yield Fault(
                message=f"The column {name!r} is not expected. Drop it: frame.drop(columns=[{name!r}])",
                column=name,
                expected="no such column",
                got="a column",
            )


def _plainly_fits(column: Column, values: pd.Series[Any]) -> bool:
    """Answer for a whole column at once where dtypes can tell; anything else is looked at value by value."""
    import numpy as np

    if column.kind == "text" or (values.isna().any() and not column.nullable):
        return False
    code = values.dtype.kind if isinstance(values.dtype, np.dtype) else "O"
    if column.kind == "boolean":
        return code == "b"
    if code not in ("iuf" if column.kind == "number" else "iu"):
        return False
    low, high = limits(column.dtype)
    return bool(values.dropna().between(low, high).all())


# ── rows and frames ──────────────────────────────────────────────────────────────────────────────────────


def as_frame(values: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Make a frame in the contract's order and dtypes from fitting values, column by column."""
    import pandas as pd

    series = {column.name: _series(column, values[column.name]) for column in schema.columns}
    return pd.DataFrame(series, columns=list(schema.names))


def _series(column: Column, values: Any) -> Any:
    import pandas as pd

    if isinstance(values, list) and column.dtype in NUMPYS_OWN:
        return _array(column, values)
    if isinstance(values, pd.Series) and _is_as_fitted(column, values):
        return values.reset_index(drop=True)
    made = pd.Series(values, dtype=None if isinstance(values, pd.Series) else object).reset_index(drop=True)
    if column.dtype == "category":
        return made.astype(pd.CategoricalDtype(list(column.categories or ())))
    if not made.isna().any():
        return made.astype(_dtype(column))
    made = made.astype(object).where(made.notna(), _marker(column))
    return made.astype(_with_gaps(_dtype(column)))


def _is_as_fitted(column: Column, values: pd.Series[Any]) -> bool:
    """Tell whether a series is already what the model was fitted on, its missing values included."""
    if str(values.dtype) != column.dtype or column.dtype == "category":
        return False
    return getattr(values.dtype, "kind", "O") in "iufb" or not values.isna().any()


NUMPYS_OWN = ("bool", "float64", "int64", "object")


def _array(column: Column, values: list[Any]) -> Any:
    """Do for a request's few values what pandas does for a table's many, in a tenth of the time."""
    import numpy as np

    gaps = [is_missing(value) for value in values]
    filled = (
        [_marker(column) if gap else value for gap, value in zip(gaps, values, strict=True)] if any(gaps) else values
    )
    if column.dtype == "object" or (column.dtype == "bool" and any(gaps)):
        made = np.empty(len(filled), dtype=object)
        made[:] = filled
        return made
    return np.array(filled, dtype=np.float64 if any(gaps) else column.dtype)


def _with_gaps(dtype: Any) -> Any:
    """Give the dtype that pandas gives numpy's values when one is missing; its own nullable dtypes stay."""
    import numpy as np

    widened = {"b": object, "i": float, "u": float}
    return widened.get(dtype.kind, dtype) if isinstance(dtype, np.dtype) else dtype


def _dtype(column: Column) -> Any:
    import pandas as pd

    return pd.api.types.pandas_dtype(column.dtype)


def _marker(column: Column) -> Any:
    import pandas as pd

    return {"nan": math.nan, "none": None, "na": pd.NA}[column.missing]


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a frame into rows of plain Python values, None for what is missing: what JSON can hold.

    Examples
    --------
    >>> import pandas as pd
    >>> as_rows(pd.DataFrame({"age": [30.0, None]}))
    [{'age': 30.0}, {'age': None}]
    """
    return [{name: None if is_missing(value) else value for name, value in row.items()} for row in as_records(frame)]


def as_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a frame into rows of plain Python values as they are, NaN included."""
    names = [str(name) for name in frame.columns]
    lists = [frame[name].tolist() for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
