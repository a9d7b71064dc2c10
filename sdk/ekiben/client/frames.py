"""Frames as the bodies of requests, and answers as frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from ekiben import arrow, codecs, protocol, tables
from ekiben.errors import EkibenError, Fault, SchemaError
from ekiben.explanations import Explanation, Explanations
from ekiben.protocol import ARM, ID, MODEL

if TYPE_CHECKING:
    import pandas as pd

JSON = "application/json"
GAPS = {"NoneType", "NAType", "NaTType"}
ALIKE = (
    {"str"},
    {"str", "float"},
    {"bool"},
    {"int"},
    {"float"},
    {"date"},
)  # a column's types that Arrow keeps as they are
LISTS = ({"list"}, {"tuple"}, {"ndarray"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one request was answered: columns, who gave them, and why, where that was asked too."""

    columns: Mapping[str, list[Any]]
    n_rows: int
    id: str
    arm: str
    model: str
    why: Sequence[Explanation] = ()


def checked(frame: Any) -> None:
    """Refuse what is no frame of rows."""
    if not hasattr(frame, "columns") or not len(frame):
        got = "none." if hasattr(frame, "columns") else f"{type(frame).__name__}. {tables.as_a_frame(frame)}"
        raise SchemaError(f"The rows must come as a pandas DataFrame of at least one row. Got {got}")
    if frame.columns.duplicated().any():
        raise SchemaError("The columns must have names that differ. Got one twice.")


def as_json(frame: pd.DataFrame, beside: Mapping[str, str]) -> bytes:
    """Write rows as JSON, and fields beside them.

    >>> import pandas as pd
    >>> as_json(pd.DataFrame({"age": [30]}), {"customer_id": "c-7"})
    b'{"rows":[{"age":30}],"customer_id":"c-7"}'
    """
    try:
        return codecs.encode({"rows": tables.as_rows(frame), **beside})
    except (SchemaError, TypeError, OverflowError, UnicodeEncodeError):
        raise SchemaError.of(_strangers(frame)) from None


def _strangers(frame: pd.DataFrame) -> Iterator[Fault]:
    """Tell of each column the first value that JSON cannot hold."""
    for name in frame.columns:
        for row, cells in enumerate(tables.as_rows(frame[[name]])):
            if (got := _stranger(cells)) is not None:
                message = f"The column {name!r} must hold finite numbers, booleans, texts, dates or lists. Got {got} in row {row}."
                yield Fault(message=message, column=str(name), row=row, expected="what JSON can hold", got=got)
                break


def _stranger(cells: dict[str, Any]) -> str | None:
    try:
        codecs.encode(cells)
    except UnicodeEncodeError:
        return "a text with half a surrogate pair"
    except (SchemaError, OverflowError):
        return "a number that is not finite, or too large"
    except TypeError:
        return "something else"
    return None


def as_arrow(frame: pd.DataFrame, beside: Mapping[str, str]) -> bytes | None:
    """Write rows as an Arrow stream that means what their JSON would; None where Arrow and JSON would differ."""
    import pyarrow as pa

    arrays = {}
    for name in frame.columns:
        array = _as_array(frame[name])
        if array is None:
            return None
        arrays[str(name)] = array
    return arrow.packed(pa.table(arrays).replace_schema_metadata(dict(beside)), arrow.STREAM)


def _as_array(cells: pd.Series[Any]) -> Any | None:
    import pyarrow as pa

    if cells.dtype == object and not _are_alike(cells.tolist()):
        return None
    try:
        array = pa.array(cells, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if _means_the_same(kind) else None


def _are_alike(cells: Sequence[Any]) -> bool:
    kinds = {type(cell).__name__ for cell in cells} - GAPS
    if kinds in LISTS:
        inner = {type(item).__name__ for cell in cells if hasattr(cell, "__len__") for item in cell}
        return kinds == {"ndarray"} or inner in ({"str"}, {"int"}, {"float"})
    return not kinds or kinds in ALIKE


def _means_the_same(kind: Any) -> bool:
    """Tell whether what JSON says of a type's values is what Arrow says; of decimals or spans of time it is not."""
    import pyarrow as pa

    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return bool(
            types.is_integer(kind.value_type) or types.is_floating(kind.value_type) or types.is_string(kind.value_type)
        )
    plain = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_string,
        types.is_large_string,
        types.is_null,
    )
    return any(of(kind) for of in (*plain, types.is_timestamp, types.is_date))


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def answered(answer: httpx.Response) -> Answered | None:
    """Read an answer of predictions; None for what is none."""
    if answer.headers.get("content-type") == arrow.STREAM:
        return _of_arrow(answer)
    found = document(answer)
    predictions = found.get("predictions")
    if not isinstance(predictions, list) or not all(isinstance(each, dict) for each in predictions):
        return None
    who, arm, model = (str(found.get(key, "")) for key in ("id", "arm", "model"))
    return Answered(columns=protocol.columns(predictions), n_rows=len(predictions), id=who, arm=arm, model=model)


def _of_arrow(answer: httpx.Response) -> Answered | None:
    try:
        table = arrow.opened(answer.content, arrow.STREAM, lambda _name: True)
        columns = arrow.read(table)
    except EkibenError:
        return None
    who, arm, model = (answer.headers.get(name, "") for name in (ID, ARM, MODEL))
    return Answered(columns=columns, n_rows=table.n_rows, id=who, arm=arm, model=model)


def document(answer: httpx.Response) -> dict[str, Any]:
    """Read the body of an answer; whatever is no JSON object is as good as nothing."""
    try:
        found = codecs.decode(answer.content)
    except SchemaError:
        return {}
    return found if isinstance(found, dict) else {}


def joined(answers: Sequence[Answered], index: pd.Index[Any]) -> pd.DataFrame:
    """Make one frame of the answers to all parts of another, and say in its `attrs` who gave them."""
    import pandas as pd

    names = dict.fromkeys(name for each in answers for name in each.columns)
    gaps = {id(each): [None] * each.n_rows for each in answers}
    columns = {name: [cell for each in answers for cell in each.columns.get(name, gaps[id(each)])] for name in names}
    made = pd.DataFrame(columns, index=index)
    made.attrs.update(_told(answers))
    if why := [each for one in answers for each in one.why]:
        made.attrs["explanations"] = Explanations(why)
    return made


def _told(answers: Sequence[Answered]) -> dict[str, Any]:
    """Say who answered: of several requests what they have in common, and each by itself."""
    each = [{"id": one.id, "arm": one.arm, "model": one.model} for one in answers]
    if len(answers) == 1:
        return each[0]
    alike = {key: each[0][key] for key in ("arm", "model") if len({one[key] for one in each}) == 1}
    rows = [one.n_rows for one in answers]
    return {**alike, "requests": [{**one, "rows": n} for one, n in zip(each, rows, strict=True)]}
