"""How fitted explainers lie on disk: one header, and tables as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ekiben.errors import IntegrityError, NotFoundError

FORMAT = 1
HEADER = "explainer.json"


def write_header(folder: Path, method: str, **settings: Any) -> None:
    """Write which method lies in a folder, with its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "method": method, **settings}
    (folder / HEADER).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_header(folder: Path) -> dict[str, Any]:
    """Read which method lies in a folder."""
    path = folder / HEADER
    if not path.is_file():
        raise NotFoundError(f"The folder of an explainer must hold {HEADER}. Got {str(folder)!r}, which does not.")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT or "method" not in document:
        raise IntegrityError(
            f"An explainer must be of format {FORMAT} and name its method. Got format {document.get('format')!r} and "
            f"method {document.get('method')!r} in {str(path)!r}. Pack the model again."
        )
    return document


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table so that values, dtypes and kinds of missing value come back the same."""
    columns = [_column(str(name), frame[name]) for name in frame]
    path.write_text(json.dumps({"columns": columns}, allow_nan=False), encoding="utf-8")


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table that `write_frame` wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame({column["name"]: _series(column) for column in document["columns"]})


def read_array(path: Path) -> npt.NDArray[Any]:
    """Read one array of plain values; a file of another kind, or one of objects, is refused."""
    with path.open("rb") as file:
        made: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return made


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    head: dict[str, Any] = {"name": name, "dtype": str(values.dtype)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        categories = [_cell(value) for value in values.cat.categories]
        head |= {"categories": categories, "ordered": bool(values.cat.ordered)}
        return head | {"values": values.cat.codes.tolist()}
    return head | {"values": [_cell(value) for value in values.tolist()]}


def _series(column: dict[str, Any]) -> pd.Series:
    values = [_value(cell) for cell in column["values"]]
    if "categories" in column:
        categories = pd.CategoricalDtype([_value(cell) for cell in column["categories"]], column["ordered"])
        return pd.Series(pd.Categorical.from_codes(values, dtype=categories))
    return pd.Series(values, dtype=object).astype(column["dtype"])


def _cell(value: Any) -> Any:
    """JSON has one null; Python has three, and no infinity: those are wrapped."""
    if value is pd.NA:
        return {"special": "NA"}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"special": str(value)}
    return value.item() if hasattr(value, "item") else value


def _value(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    return pd.NA if cell["special"] == "NA" else float(cell["special"])
