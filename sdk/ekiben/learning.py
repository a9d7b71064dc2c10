"""Learn the contract from reference data."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ekiben import dtypes
from ekiben.errors import SpecError
from ekiben.moments import day, moment
from ekiben.schema import MAX_CATEGORIES, Column, Items, Kind, Missing, Schema, aliased
from ekiben.values import plain_list, value_faults

if TYPE_CHECKING:
    import pandas as pd


def contract(X: pd.DataFrame) -> Schema:
    """Learn the contract from the frame that a model is fitted on, to look at it and to declare more.

    Parameters
    ----------
    X
        The rows that the model is fitted on, or a fair sample, of shape (n_rows, n_columns).

    Returns
    -------
    A contract that shows itself in a notebook. `edit` declares limits and policies of a column and gives the next
    contract, `ignoring_extra` takes rows with a column too many; `ek.pack(…, contract=…)` holds the model to it.

    Raises
    ------
    SpecError
        If a column's values are of a kind that no contract can hold, with every such column.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [30, 41], "Loan amount (€)": [1200.0, None]})
    >>> print(contract(X).edit("age", minimum=18, maximum=120))
    age                           integer  int64                     30 to 41      from 18 to 120
    Loan amount (€)  loan_amount  number   float64  may be missing  1200 to 1200
    """
    import pandas as pd

    if not isinstance(X, pd.DataFrame):
        raise SpecError(
            f"A contract is learnt from a pandas DataFrame. Got {type(X).__name__}. "
            'Name its columns: pd.DataFrame(X, columns=["age", …])'
        )
    return learn(X)


def learn(reference: pd.DataFrame) -> Schema:
    """Learn the contract from reference data.

    Parameters
    ----------
    reference
        The rows that the model was fitted on, or a fair sample, of shape (n_rows, n_columns).

    Raises
    ------
    SpecError
        If a column's values are of a kind that no contract can hold, with every such column.

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
    return Schema(columns=aliased(columns))


def hold(learnt: Schema, declared: Schema | None) -> Schema:
    """Carry what an author declared over to the contract that a reference shows; nothing declared leaves it as it is.

    Raises
    ------
    SpecError
        If the two speak of other columns or kinds, with every difference.
    """
    if declared is None:
        return learnt
    if not isinstance(declared, Schema):
        raise SpecError(f"The 'contract' must be what ek.contract(X) gives. Got {type(declared).__name__}.")
    both = set(learnt.names) & set(declared.names)
    faults = [f"{name!r} is in the reference alone" for name in sorted(set(learnt.names) - both)]
    faults += [f"{name!r} is in the contract alone" for name in sorted(set(declared.names) - both)]
    pairs = [(learnt[name], declared[name]) for name in learnt.names if name in both]
    faults += [
        f"{a.name!r} is {a.noun} in the reference and {b.noun} in the contract" for a, b in pairs if a.noun != b.noun
    ]
    if faults:
        raise SpecError(
            f"The 'contract' must speak of the columns of the 'reference'. Got a difference: {'; '.join(faults)}. "
            "Learn it from the same frame: ek.contract(X)"
        )
    return Schema(columns=tuple(_held(a, b) for a, b in pairs), extra=declared.extra)


def _held(learnt: Column, declared: Column) -> Column:
    names = {*declared.declared} | ({"nullable"} if declared.nullable and not learnt.nullable else set())
    return replace(
        learnt,
        minimum=declared.minimum,
        maximum=declared.maximum,
        alias=declared.alias,
        label=declared.label,
        unit=declared.unit,
        change=declared.change,
        private=declared.private,
        nullable=declared.nullable if "nullable" in names else learnt.nullable,
        unseen=declared.unseen if "unseen" in names else learnt.unseen,
        declared=tuple(sorted(names)),
    )


def _usable_names(reference: pd.DataFrame) -> None:
    if not len(reference) or not len(reference.columns):
        raise SpecError(f"The 'reference' must have rows and columns. Got shape {reference.shape}.")
    odd = [repr(name) for name in reference.columns.tolist() if name == "" or type(name) is not str]
    if odd:
        raise SpecError(
            f"Column names must be texts. Got {', '.join(odd[:10])}. Rename them and fit again: "
            "X.columns = [str(name) for name in X.columns]"
        )
    unseen = [repr(name) for name in reference.columns.tolist() if any(map(_is_control, name))]
    if unseen:
        raise SpecError(
            f"Column names must hold no control characters. Got {', '.join(unseen[:10])}. Rename them and fit again: "
            r"X.columns = X.columns.str.replace(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]', '', regex=True)"
        )
    twice = sorted({str(name) for name in reference.columns[reference.columns.duplicated()]})
    if twice:
        raise SpecError(f"Column names must differ. Got more than one of {twice}.")


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) == "Cc" and letter not in "\t\n"


def _learn_column(name: str, values: pd.Series[Any]) -> Column:
    kind = _kind(name, values)
    column = Column(
        name=name,
        kind=kind,
        dtype=dtypes.name_of(values.dtype),
        nullable=bool(values.isna().any()),
        missing=_missing_marker(values),
    )
    return _LEARNERS[kind](column, values, values.dropna())


# ── which kind ──────────────────────────────────────────────────────────────────────────────────────────────────

KINDS: dict[str, Kind] = {
    "floating": "number",
    "mixed-integer-float": "number",
    "integer": "integer",
    "boolean": "boolean",
    "string": "text",
    "categorical": "category",
    "datetime64": "datetime",
    "datetime": "datetime",
    "date": "datetime",
}
WAYS_OUT = {
    "timedelta64": "X[{0!r}].dt.total_seconds()",
    "timedelta": "pd.to_timedelta(X[{0!r}]).dt.total_seconds()",
    "complex": "X[{0!r}].abs(), or its real and imag as two columns",
    "period": "X[{0!r}].dt.to_timestamp()",
    "interval": "X[{0!r}].array.mid",
    "decimal": "X[{0!r}].astype(float)",
    "time": "X[{0!r}].map(lambda at: at.hour + at.minute / 60)",
    "bytes": "X[{0!r}].str.decode('utf-8')",
    "mixed-integer": "X[{0!r}].astype(str)",
}


def _kind(name: str, values: pd.Series[Any]) -> Kind:
    inferred = _inferred(values)
    if inferred == "empty":
        raise SpecError(f"The column {name!r} must hold a value. Got only missing ones. Drop it, and fit without it.")
    if inferred in ("mixed", "unknown-array") and values.dtype == object and _holds_lists(values):
        return "list"
    if inferred not in KINDS or not (inferred == "categorical" or dtypes.comes_back(values.dtype)):
        way = f": {WAYS_OUT[inferred].format(name)}" if inferred in WAYS_OUT else "."
        raise SpecError(
            f"The column {name!r} must hold numbers, booleans, texts, categories, dates or lists of one length. "
            f"Got {inferred} ({values.dtype}). Turn it into one of those before the model sees it{way}"
        )
    return KINDS[inferred]


def _inferred(values: pd.Series[Any]) -> str:
    from pandas.api.types import infer_dtype

    if not values.notna().any():
        return "empty"
    present = values.dropna()
    found = infer_dtype(present, skipna=True)
    arrows_own = found == "unknown-array" and "dictionary<" in str(values.dtype)
    return infer_dtype(present.tolist(), skipna=True) if arrows_own else found


def _holds_lists(values: pd.Series[Any]) -> bool:
    return all(plain_list(value) is not None for value in values.dropna())


def _missing_marker(values: pd.Series[Any]) -> Missing:
    import pandas as pd

    absent = values[values.isna()]
    if not len(absent):
        return "nan"
    first = absent.iloc[0]
    if first is pd.NaT and values.dtype == object:
        return "nat"
    return "none" if first is None else "na" if first is pd.NA else "nan"


# ── what each kind shows ────────────────────────────────────────────────────────────────────────────────────────


def _number(column: Column, values: pd.Series[Any], present: pd.Series[Any]) -> Column:
    try:  # as floats: the dtype itself may not hold the magnitude of its smallest integer
        n_infinite = sum(map(math.isinf, present.to_numpy(dtype="float64").tolist()))
    except OverflowError:
        raise SpecError(
            f"The column {column.name!r} must hold numbers of 64 bits. Got an integer of hundreds of digits. "
            f"Turn it into texts, if it is a name: X[{column.name!r}].astype(str)"
        ) from None
    if n_infinite:
        raise SpecError(
            f"The column {column.name!r} must hold finite numbers. Got infinity in {n_infinite:,} of {len(values):,} rows."
        )
    return replace(column, low=float(present.min()), high=float(present.max()))


def _boolean(column: Column, _values: pd.Series[Any], _present: pd.Series[Any]) -> Column:
    return column


def _text(column: Column, _values: pd.Series[Any], present: pd.Series[Any]) -> Column:
    distinct = {*present.tolist()}  # to pandas two texts are one that differ behind a NUL alone
    few = len(distinct) <= MAX_CATEGORIES
    return replace(column, categories=tuple(sorted(str(value) for value in distinct)) if few else None)


def _category(column: Column, values: pd.Series[Any], _present: pd.Series[Any]) -> Column:
    from pandas.api.types import infer_dtype

    categories = values.cat.categories
    inferred = infer_dtype(categories, skipna=True)
    if inferred not in ("string", "integer", "boolean"):
        raise SpecError(
            f"The categories of {column.name!r} must be texts, integers or booleans. Got {inferred}. "
            f"Convert them: X[{column.name!r}].astype(str)"
        )
    dtype = dtypes.name_of(categories.dtype)
    return replace(
        column,
        categories=tuple(categories.tolist()),  # their order is part of the dtype
        unseen="refuse",
        ordered=bool(values.cat.ordered),
        categories_dtype=None if dtype == "object" else dtype,
    )


class _Date(NamedTuple):
    """A kind of Python object that is a date."""

    type: type
    items: Items


def _datetime(column: Column, _values: pd.Series[Any], present: pd.Series[Any]) -> Column:
    if column.dtype == "object":
        column = replace(column, items=_which_dates(column.name, present))
    elif column.dtype.startswith("date"):
        column = replace(column, items="date" if column.dtype.startswith("date32") else None)
    shown = [value.isoformat() for value in (present.min(), present.max())]
    low, high = map(day, shown) if all(map(_is_day, present.drop_duplicates())) else shown
    column = replace(column, low=low, high=high)
    if any(moment(text) is None for text in shown) or value_faults(column, enumerate((present.min(), present.max()))):
        raise SpecError(
            f"The dates of {column.name!r} must lie within the years that the column can hold. Got one beyond them. "
            "Drop such rows, or turn them into missing values."
        )
    return column


def _is_day(value: Any) -> bool:
    """Tell whether a date has no time, or that of midnight."""
    return getattr(value, "tzinfo", None) is None and "T" not in day(value.isoformat())


def _which_dates(name: str, present: pd.Series[Any]) -> Items:
    import pandas as pd

    known = (_Date(date, "date"), _Date(datetime, "datetime"), _Date(pd.Timestamp, "timestamp"))
    types = {type(value) for value in present}
    found = [one.items for one in known if types == {one.type}]
    if not found or any(getattr(value, "tzinfo", None) is not None for value in present):
        zoned = "dates with an offset" if found else " and ".join(sorted(kind.__name__ for kind in types))
        raise SpecError(
            f"A column of Python's own dates must hold one kind of them, without an offset. Got {zoned} in {name!r}. "
            f"Convert it: pd.to_datetime(X[{name!r}], utc=True)"
        )
    return found[0]


def _list(column: Column, _values: pd.Series[Any], present: pd.Series[Any]) -> Column:
    lengths = {len(value) for value in present}
    if len(lengths) > 1 or 0 in lengths:
        told = f"{min(lengths):,} to {max(lengths):,} items" if len(lengths) > 1 else "empty ones"
        raise SpecError(
            f"The lists of {column.name!r} must have one length. Got {told}. Pad or cut them, and fit again."
        )
    made = replace(
        column, length=lengths.pop(), items=_items(column.name, present), holder=_holder(column.name, present)
    )
    faults = value_faults(made, enumerate(present))
    if faults:
        raise SpecError(f"{faults[0].message} Fit on lists that fit.")
    return made


def _items(name: str, present: pd.Series[Any]) -> Items:
    from pandas.api.types import infer_dtype

    inferred = infer_dtype([item for value in present for item in plain_list(value) or ()], skipna=False)
    kinds: dict[str, Items] = {
        "floating": "number",
        "mixed-integer-float": "number",
        "integer": "integer",
        "string": "text",
    }
    if inferred not in kinds:
        raise SpecError(f"The lists of {name!r} must hold numbers, integers or texts. Got {inferred}.")
    return kinds[inferred]


def _holder(name: str, present: pd.Series[Any]) -> str:
    """Tell what holds the items: a list, a tuple, or an array of one dtype."""
    found = sorted({str(value.dtype) if hasattr(value, "dtype") else type(value).__name__ for value in present})
    if len(found) > 1:
        raise SpecError(
            f"The lists of {name!r} must be held in one way. Got {', '.join(found)}. Make all of them lists."
        )
    return found[0]


_LEARNERS = {
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
    "text": _text,
    "category": _category,
    "datetime": _datetime,
    "list": _list,
}
