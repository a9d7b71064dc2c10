"""How tables of fitted explainers lie on disk: as JSON."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import dtypes

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("NA", "NaT")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table so that values, dtypes and kinds of missing value come back the same."""
    columns = [_column(str(name), frame[name]) for name in frame]
    path.write_text(json.dumps({"columns": columns}, allow_nan=False), encoding="utf-8")


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table that `write_frame` wrote."""
    import pandas as pd

    document = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame({column["name"]: _series(column) for column in document["columns"]})


def read_columns(path: Path) -> list[list[Any]]:
    """Read the columns of a table that `write_frame` wrote as plain values: what `tables.as_columns` gives, without pandas."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [_plain_column(column) for column in document["columns"]]


def _plain_column(column: dict[str, Any]) -> list[Any]:
    cells = column["values"]
    if "categories" in column:
        cells = [column["categories"][code] if code >= 0 else None for code in cells]
    return [_plain(cell) for cell in cells]


def _plain(cell: Any) -> Any:
    """Give a cell as JSON can hold it: a date is ISO 8601 text, whatever is missing is None."""
    if not isinstance(cell, dict):
        return cell
    if "special" in cell:
        return None if cell["special"] in (*MISSING, "nan") else float(cell["special"])
    if "items" in cell:
        return [_plain(item) for item in cell["items"]]
    return next(cell[key] for key in ("timestamp", "datetime", "date") if key in cell)


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    import pandas as pd

    head: dict[str, Any] = {"name": name, "dtype": dtypes.name_of(values.dtype)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        categories = values.cat.categories
        head |= {"categories": [_cell(value) for value in categories], "ordered": bool(values.cat.ordered)}
        head |= {} if categories.dtype == object else {"categories_dtype": dtypes.name_of(categories.dtype)}
        return head | {"values": values.cat.codes.tolist()}
    return head | {"values": [_cell(value) for value in values.tolist()]}


def _series(column: dict[str, Any]) -> pd.Series:
    import pandas as pd

    values = [_value(cell) for cell in column["values"]]
    if "categories" in column:
        known = pd.Index([_value(cell) for cell in column["categories"]], dtype=column.get("categories_dtype"))
        return pd.Series(pd.Categorical.from_codes(values, dtype=pd.CategoricalDtype(known, column["ordered"])))
    if any(isinstance(value, list | tuple | np.ndarray | date) for value in values):
        return _of_objects(column["dtype"], values)
    return pd.Series(values, dtype=object).astype(dtypes.parse(column["dtype"]))


def _of_objects(dtype: str, values: list[Any]) -> pd.Series:
    """Put dates and lists into cells; pandas would make columns of lists, and round dates to nanoseconds."""
    import pandas as pd

    if dtype == "object":
        return pd.Series(dtypes.objects(values), dtype=object)
    return pd.Series(pd.array(values, dtype=dtypes.parse(dtype)))


def _cell(value: Any) -> Any:
    """JSON has one null; Python has four, and dates, lists of several kinds and infinity: those are wrapped."""
    import pandas as pd

    if value is pd.NA or value is pd.NaT:
        return {"special": "NA" if value is pd.NA else "NaT"}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"special": str(value)}
    if isinstance(value, pd.Timestamp):
        return {"timestamp": value.isoformat(), "unit": value.unit, "zone": None if value.tz is None else str(value.tz)}
    if isinstance(value, date):
        return {"datetime" if isinstance(value, datetime) else "date": value.isoformat()}
    if isinstance(value, list | tuple | np.ndarray):
        holder = str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
        return {"items": [_cell(item) for item in value], "holder": holder}
    return value.item() if hasattr(value, "item") else value


def _value(cell: Any) -> Any:
    import pandas as pd

    if not isinstance(cell, dict):
        return cell
    if "special" in cell:
        return getattr(pd, cell["special"]) if cell["special"] in MISSING else float(cell["special"])
    if "timestamp" in cell:
        stamp = pd.Timestamp(cell["timestamp"])
        return (stamp if cell["zone"] is None else stamp.tz_convert(cell["zone"])).as_unit(cell["unit"])
    if "items" not in cell:
        return date.fromisoformat(cell["date"]) if "date" in cell else datetime.fromisoformat(cell["datetime"])
    items = [_value(item) for item in cell["items"]]
    if cell["holder"] in ("list", "tuple"):
        return items if cell["holder"] == "list" else tuple(items)
    return np.array(items, dtype=cell["holder"])
