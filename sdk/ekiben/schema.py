"""The contract of a model's data: columns, and whether a table fits."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from ekiben.errors import Fault, SchemaError, SpecError, nearest

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "integer", "boolean", "text"]
Missing = Literal["nan", "none", "na"]
Task = Literal["classification", "regression"]
Label = str | int | float | bool

MAX_CATEGORIES = 200  # more distinct texts than this are free text, not categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the contract, as the reference data showed it.

    Parameters
    ----------
    name
        The column's own name, as in the frame.
    kind
        What a value is: `number`, `integer`, `boolean` or `text`.
    dtype
        The pandas dtype that the model was fitted on; a table is brought back to it.
    nullable
        Whether a value may be missing: one was in the reference, or the model answers without it.
    missing
        How the model knows a missing value: NaN, None or `pandas.NA`.
    low, high
        Smallest and largest value seen, for description and never as a limit.
    categories
        The distinct texts seen, sorted, when there are at most 200 of them.
    unseen
        Whether a text outside `categories` is accepted or refused; the model itself was asked.

    Examples
    --------
    >>> Column(name="age", kind="integer", dtype="int64", nullable=False, low=18, high=68).describe()
    'integer, seen 18 to 68'
    """

    name: str
    kind: Kind
    dtype: str
    nullable: bool
    missing: Missing = "nan"
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    unseen: Literal["accept", "refuse"] = "accept"

    def describe(self) -> str:
        """Say in a few words what the column holds."""
        parts: list[str] = [self.kind]
        if self.low is not None and self.high is not None:
            parts.append(f"seen {_short(self.low)} to {_short(self.high)}")
        if self.categories is not None:
            parts.append(_listed(self.categories))
        if self.categories is not None and self.unseen == "refuse":
            parts.append("others are refused")
        if self.nullable:
            parts.append("may be missing")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns of a table, in the order that the model takes them.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False)
    >>> Schema(columns=(age,)).names
    ('age',)
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and what it gives: the schema of its inputs, its task, and its classes.

    `classes` is empty for a regressor; otherwise its labels, in the order of the scores.
    """

    inputs: Schema
    task: Task
    classes: tuple[Label, ...] = ()


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

    inferred = infer_dtype(values.dropna(), skipna=True)
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


# ── does a table fit? ───────────────────────────────────────────────────────────────────────────────────────────


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
        raise SchemaError(f"The rows must come as a pandas DataFrame. Got {type(frame).__name__}.")
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


def missing_column(column: Column, *, row: int | None = None, hint: str = "") -> Fault:
    """Say that a whole column, or one row's value of it, was not sent."""
    where = "" if row is None else f" in row {row}"
    message = f"The column {column.name!r} is missing{where}.{hint}"
    return Fault(message=message, column=column.name, row=row, expected=column.kind, got="nothing")


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


def value_faults(column: Column, values: Iterable[tuple[int, Any]]) -> list[Fault]:
    """Look at each value of one column, with its row, and tell which do not fit; no value is repeated."""
    faults = []
    for row, value in values:
        got = _misfit(column, value)
        if got is not None:
            expected = _expected(column)
            message = f"The column {column.name!r} must hold {expected}. Got {got} in row {row}."
            faults.append(Fault(message=message, column=column.name, row=row, expected=expected, got=got))
    return faults


def _expected(column: Column) -> str:
    if column.kind == "text" and column.unseen == "refuse" and column.categories is not None:
        return _listed(column.categories)
    noun = {"number": "a finite number", "integer": "an integer", "boolean": "true or false", "text": "a text"}
    return noun[column.kind] + (" or null" if column.nullable else "")


def _misfit(column: Column, value: Any) -> str | None:
    """Name what came instead of a fitting value; None when it fits."""
    if is_missing(value):
        return None if column.nullable else "a missing value"
    if column.kind == "boolean":
        return None if _named(value) == "a boolean" else _named(value)
    if column.kind == "text":
        return _text_misfit(column, value)
    if _named(value) not in ("an integer", "a number"):
        return _named(value)
    low, high = limits(column.dtype)
    if not low <= value <= high or not math.isfinite(value):  # an int is compared exactly, however large
        return "a number out of range"
    return "a number with a fraction" if column.kind == "integer" and value != int(value) else None


@cache
def limits(dtype: str) -> tuple[float, float]:
    """Give the smallest and largest number that a dtype can hold."""
    name = dtype.lower()
    bits = int(re.sub(r"\D", "", name) or 64)
    if name.startswith("uint"):
        return 0, 2**bits - 1
    if name.startswith("int"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = {16: 65504.0, 32: 3.4028234663852886e38}.get(bits, sys.float_info.max)
    return -largest, largest


def _text_misfit(column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        return _named(value)
    if column.unseen == "refuse" and column.categories is not None and value not in column.categories:
        return "another text"
    return None if _is_unicode(value) else "a text with half a surrogate pair"


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Tell whether one value is missing: None, NaN, NaT or `pandas.NA`.

    >>> is_missing(float("nan")), is_missing(None), is_missing(0.0)
    (True, True, False)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _named(value: Any) -> str:
    """Name the type of a value as its sender would, numpy's scalars among them."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", dict: "an object", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── contracts side by side ──────────────────────────────────────────────────────────────────────────────────────


def union(first: Schema, second: Schema) -> Schema:
    """Join the contracts of two arms of one service: the same columns, what either has seen.

    Raises
    ------
    SpecError
        If the arms take different columns or kinds, with every difference.
    """
    faults = [f"only one of them takes {name!r}" for name in sorted(set(first.names) ^ set(second.names))]
    both = [(column, second[column.name]) for column in first.columns if column.name in second.names]
    faults += [f"{a.name!r} is {a.kind} for one and {b.kind} for the other" for a, b in both if a.kind != b.kind]
    if faults:
        raise SpecError(f"The arms of one service must take the same columns. Got a difference: {'; '.join(faults)}.")
    return Schema(columns=tuple(_join(a, b) for a, b in both))


def _join(a: Column, b: Column) -> Column:
    seen = set(a.categories or ()) | set(b.categories or ())
    return replace(
        a,
        nullable=a.nullable and b.nullable,  # what one arm cannot take, the service cannot promise
        low=min(a.low, b.low) if a.low is not None and b.low is not None else None,
        high=max(a.high, b.high) if a.high is not None and b.high is not None else None,
        categories=tuple(sorted(seen)) if a.categories is not None and b.categories is not None else None,
        unseen="refuse" if "refuse" in (a.unseen, b.unseen) else "accept",
    )


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────


def to_json(signature: Signature) -> dict[str, Any]:
    """Give the signature as plain JSON values."""
    columns = [
        {key: value for key, value in asdict(column).items() if value is not None}
        for column in signature.inputs.columns
    ]
    return {"inputs": columns, "task": signature.task, "classes": list(signature.classes)}


def from_json(document: Mapping[str, Any]) -> Signature:
    """Read a signature back from `to_json`'s values."""
    columns = [
        Column(**{**entry, "categories": tuple(entry["categories"]) if "categories" in entry else None})
        for entry in document["inputs"]
    ]
    return Signature(inputs=Schema(columns=tuple(columns)), task=document["task"], classes=tuple(document["classes"]))


def _short(number: float) -> str:
    return f"{number:.6g}"


def _listed(texts: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(text) for text in texts[:most])
    return f"one of {shown}" + (f" … ({len(texts)})" if len(texts) > most else "")
