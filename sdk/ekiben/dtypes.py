"""How a column's dtype is named, and how values become a series of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ekiben.moments import EPOCH, STEPS, moment
from ekiben.schema import Column, Schema
from ekiben.values import date_unit, is_missing, plain_list

if TYPE_CHECKING:
    import pandas as pd

NUMPYS_OWN = ("bool", "float64", "int64", "object")
OWN = {int, float, str, bool, type(None)}
ARROW = "[pyarrow]"
_DICTIONARY = re.compile(r"dictionary<values=(\w+), indices=(\w+), ordered=([01])>\[pyarrow\]")


def name_of(dtype: Any) -> str:
    """Name a pandas dtype so that `parse` finds it again; pandas' own names leave out how texts are stored.

    Examples
    --------
    >>> import pandas as pd
    >>> name_of(pd.Series([1]).dtype), name_of(pd.StringDtype("pyarrow"))
    ('int64', 'string[pyarrow]')
    """
    import pandas as pd

    if isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow":
        return "string[pyarrow]" if dtype.na_value is pd.NA else "str"
    if isinstance(dtype, pd.ArrowDtype) and str(dtype) == "string[pyarrow]":
        return "utf8[pyarrow]"
    return str(dtype)


def parse(name: str) -> Any:
    """Find the pandas dtype that `name_of` named."""
    import pandas as pd

    if name == "str":
        import numpy as np

        return pd.StringDtype("pyarrow", na_value=np.nan)
    if found := _DICTIONARY.fullmatch(name):
        import pyarrow as pa

        values, indices, ordered = found.groups()
        return pd.ArrowDtype(pa.dictionary(pa.type_for_alias(indices), pa.type_for_alias(values), ordered == "1"))
    return pd.api.types.pandas_dtype(name)


def needs_arrow(schema: Schema) -> bool:
    """Tell whether a frame of this contract cannot be made without pyarrow."""
    said = [text for column in schema.columns for text in (column.dtype, column.categories_dtype or "")]
    return any(text == "str" or text.endswith(ARROW) for text in said)


def comes_back(dtype: Any) -> bool:
    """Tell whether a dtype is found again by its name; Arrow's nested ones are not."""
    try:
        return bool(parse(name_of(dtype)) == dtype)
    except (TypeError, ValueError, NotImplementedError):  # pandas' three words for a name that it cannot read
        return False


def series(column: Column, values: Any) -> Any:
    """Make a series of a column's dtype from fitting values, whatever holds them."""
    import pandas as pd

    if isinstance(values, list) and column.dtype in NUMPYS_OWN and column.kind not in _BUILDERS:
        return _array(column, values)
    if isinstance(values, pd.Series) and _is_as_fitted(column, values):
        return pd.Series(values.array, copy=False)
    builder = _BUILDERS[
        "category" if column.dtype == "category" else column.kind if column.kind in _BUILDERS else "any"
    ]
    return builder(column, values)


def _is_as_fitted(column: Column, values: pd.Series[Any]) -> bool:
    """Tell whether a series is already what the model was fitted on, its missing values included."""
    if name_of(values.dtype) != column.dtype or column.dtype == "category" or column.kind == "list":
        return False
    if column.kind == "datetime":
        return column.dtype != "object"
    return getattr(values.dtype, "kind", "O") in "iufb" or not values.isna().any()


def _array(column: Column, values: list[Any]) -> Any:
    """Do for a request's few values what pandas does for a table's many, in a tenth of the time."""
    import numpy as np

    gaps = _gaps(values)
    filled = (
        [_marker(column) if gap else value for gap, value in zip(gaps, values, strict=True)] if any(gaps) else values
    )
    if column.dtype == "object" or (column.dtype == "bool" and any(gaps)):
        return objects(filled)
    return np.array(filled, dtype=np.float64 if any(gaps) else column.dtype)


def _gaps(values: list[Any]) -> list[bool]:
    """Tell of each value whether it is missing, without a closer look where all are Python's own."""
    if {*map(type, values)} <= OWN:
        return [value is None or value != value for value in values]
    return [is_missing(value) for value in values]


def objects(values: list[Any]) -> Any:
    """Hold Python's own objects, lists among them, one a cell.

    >>> objects([[1, 2], None]).shape
    (2,)
    """
    import numpy as np

    made = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def _of_any(column: Column, values: Any) -> Any:
    import pandas as pd

    made = pd.Series(values, dtype=None if isinstance(values, pd.Series) else object).reset_index(drop=True)
    dtype = parse(column.dtype)
    if column.dtype.endswith(ARROW):
        return _of_arrow(column, made, dtype)
    if not made.isna().any():
        return made.astype(dtype)
    made = made.astype(object).where(made.notna(), _marker(column))
    return made.astype(_with_gaps(dtype))


def _of_arrow(column: Column, made: pd.Series[Any], dtype: Any) -> Any:
    """Hand Arrow values of one Python type: it does not mix integers and floats."""
    import pandas as pd

    if isinstance(dtype, pd.StringDtype):
        return made.astype(object).where(made.notna(), None).astype(dtype)
    import pyarrow as pa

    plain: Callable[[Any], Any] = {"integer": int, "number": float, "boolean": bool}.get(column.kind, _same)
    values = [None if is_missing(value) else plain(value) for value in made.tolist()]
    array = pa.array(values)
    if pa.types.is_dictionary(dtype.pyarrow_dtype):
        array = array.cast(dtype.pyarrow_dtype.value_type).dictionary_encode()
    return pd.Series(pd.arrays.ArrowExtensionArray(array.cast(dtype.pyarrow_dtype)))


def _same(value: Any) -> Any:
    return value


def _of_categories(column: Column, values: Any) -> Any:
    import pandas as pd

    categories = pd.Index(list(column.categories or ()), dtype=column.categories_dtype or None)
    places = {value: i for i, value in enumerate(column.categories or ())}
    cells = values.tolist() if hasattr(values, "tolist") else values
    codes = [-1 if is_missing(value) else places[value] for value in cells]
    return pd.Series(pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, ordered=column.ordered)))


def _of_dates(column: Column, values: Any) -> Any:
    """Count each date from 1970 in the column's own unit, so that not a nanosecond is lost."""
    import numpy as np
    import pandas as pd

    found = [None if is_missing(value) else moment(value) for value in values]
    if column.dtype == "object":
        return pd.Series(
            objects([_marker(column) if one is None else _own(column, one.ns) for one in found]), dtype=object
        )
    step = STEPS[date_unit(column)]
    counts = [None if one is None else one.ns // step for one in found]
    dtype = parse(column.dtype)
    if column.dtype.endswith(ARROW):
        return _arrow_dates(dtype, counts)
    gap = np.iinfo(np.int64).min
    array = np.array([gap if count is None else count for count in counts], dtype=np.int64).view(
        f"M8[{date_unit(column)}]"
    )
    made = pd.Series(array)
    return made.dt.tz_localize("UTC").astype(dtype) if column.is_aware else made


def _arrow_dates(dtype: Any, counts: list[int | None]) -> Any:
    import pandas as pd
    import pyarrow as pa

    of = dtype.pyarrow_dtype
    array = pa.array(counts, type=pa.int32() if pa.types.is_date32(of) else pa.int64()).cast(of)
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


def _own(column: Column, ns: int) -> Any:
    """Give a date as the Python object that the model was fitted on."""
    import pandas as pd

    if column.items == "timestamp":
        return pd.Timestamp(ns)
    made = EPOCH + timedelta(microseconds=ns // 1_000)
    return made.date() if column.items == "date" else made


def _of_lists(column: Column, values: Any) -> Any:
    import pandas as pd

    return pd.Series(objects([_held(column, value) for value in values]), dtype=object)


def _held(column: Column, value: Any) -> Any:
    import numpy as np

    items = plain_list(value)
    if items is None:
        return _marker(column)
    if column.items == "integer":
        items = [int(item) for item in items]
    if column.holder in ("list", "tuple"):
        return items if column.holder == "list" else tuple(items)
    return np.array(items, dtype=column.holder)


_BUILDERS: dict[str, Callable[[Column, Any], Any]] = {
    "any": _of_any,
    "category": _of_categories,
    "datetime": _of_dates,
    "list": _of_lists,
}


def _with_gaps(dtype: Any) -> Any:
    """Give the dtype that pandas gives numpy's values when one is missing; its own nullable dtypes stay."""
    import numpy as np

    widened = {"b": object, "i": float, "u": float}
    return widened.get(dtype.kind, dtype) if isinstance(dtype, np.dtype) else dtype


def _marker(column: Column) -> Any:
    import pandas as pd

    return {"nan": math.nan, "none": None, "na": pd.NA, "nat": pd.NaT}[column.missing]
