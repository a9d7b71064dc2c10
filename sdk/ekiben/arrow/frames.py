"""A frame of a contract out of a batch of Arrow: what a whole column can tell is not asked of its values one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ekiben import dtypes, tables
from ekiben._optional import require
from ekiben.arrow.values import EXACT
from ekiben.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

ARROWS = {"float64": "double", "float32": "float", **{name: name for name in ("int64", "int32", "int16", "int8")}}


def fitted(batch: Any, schema: Schema) -> pd.DataFrame:
    """Bring a batch into the contract's columns, order and dtypes: what `conform` makes of its frame, in less time.

    Parameters
    ----------
    batch
        A RecordBatch, its columns in any order. One of texts takes least where Arrow holds it as a dictionary.

    Raises
    ------
    SchemaError
        With every fault, as `conform` tells it.

    Examples
    --------
    >>> import pandas as pd
    >>> import pyarrow as pa
    >>> schema = tables.learn(pd.DataFrame({"age": [30, 41], "job": ["cook", None]}))
    >>> fitted(pa.RecordBatch.from_pydict({"job": pa.array(["nurse"]).dictionary_encode(), "age": [33]}), schema)
       age    job
    0   33  nurse
    """
    import pandas as pd

    names = [schema.aliases.get(name, name) for name in batch.schema.names]
    if not len(batch) or sorted(names) != sorted(schema.names):
        return tables.conform(_plain(batch), schema)
    made = {}
    for column in schema.columns:
        values = _series(column, batch.column(names.index(column.name)))
        if values is None:  # faults are told of the whole frame, by rows
            return tables.conform(_plain(batch), schema)
        made[column.name] = values
    return pd.DataFrame(made)


def repeated(told: Any, schema: Schema) -> list[str]:
    """Name those of a table's columns of texts that hold few different ones: to read as dictionaries.

    `told` is the schema by which Arrow describes the table.
    """
    types = require("pyarrow", to="read Arrow").types
    known = {column.name for column in schema.columns if column.categories is not None}
    texts = [field.name for field in told if types.is_string(field.type)]
    return [name for name in texts if schema.aliases.get(name, name) in known]


def _series(column: Column, array: Any) -> Any:
    """Give a column as the model was fitted on it; None where it does not plainly fit."""
    types = require("pyarrow", to="read Arrow").types
    if types.is_dictionary(array.type) and types.is_string(array.type.value_type):
        return _texts(column, array)
    if not array.null_count and str(array.type) == ARROWS.get(column.dtype):
        numbers = array.to_numpy()  # as the model was fitted on it: a series would take more time than to look at it
        return numbers if tables.numbers_fit(column, numbers) else None
    if _is_long(array):
        return None
    values = array.to_pandas()
    return dtypes.series(column, values) if tables.plainly_fits(column, values) else None


def _texts(column: Column, array: Any) -> Any:
    """Look at each text of a dictionary once, and give each of its rows the same object."""
    import numpy as np
    import pandas as pd

    known = array.dictionary.to_pylist()
    distinct = [*known, None] if array.null_count else known
    if not tables.plainly_fits(column, pd.Series(distinct, dtype=object)):
        return None
    places = array.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    cells = dtypes.series(column, distinct)
    return (cells if isinstance(cells, np.ndarray) else cells.array).take(places)


def _plain(batch: Any) -> pd.DataFrame:
    """Give a batch as a frame whose texts are texts."""
    types, schema = require("pyarrow", to="read Arrow").types, batch.schema
    for i, field in enumerate(schema):
        if types.is_dictionary(field.type) and types.is_string(field.type.value_type):
            schema = schema.set(i, field.with_type(field.type.value_type))
    frame: pd.DataFrame = batch.cast(schema).to_pandas(integer_object_nulls=any(map(_is_long, batch.columns)))
    return frame


def _is_long(array: Any) -> bool:
    """Tell integers of more than 53 bits with gaps between them, of which pandas would make floats."""
    if not array.null_count or not require("pyarrow", to="read Arrow").types.is_integer(array.type):
        return False
    numbers = array.drop_null().to_numpy()
    return bool(len(numbers) and (numbers.max() > EXACT or (numbers.min() < 0 and -int(numbers.min()) > EXACT)))
