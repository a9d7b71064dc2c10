"""Arrow's arrays ↔ lists of plain values, as JSON would have brought them; neither pandas nor Arrow's functions are needed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import codecs
from ekiben._optional import require
from ekiben.errors import SchemaError
from ekiben.moments import DAY, STEPS, as_datetime, iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = Any  # pyarrow has no types of its own

EXACT = 2**53  # from here on not every integer is a float
INT64 = (-(2**63), 2**63 - 1)
LARGEST_SCALE = 76  # digits behind the point of a decimal
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # the years 1 to 9999, counted from 1970
JSON = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}  # a text that is JSON, as Arrow marks it


def of_chunks(column: Array, most_text: int | None = None) -> list[Any]:
    """Give the values of a column, None where one is missing.

    Parameters
    ----------
    column
        A column of a type that `is_known`, whose buffers were validated.
    most_text
        How many characters its texts may have in all, where rows share them; None for any number.

    Raises
    ------
    SchemaError
        If they have more.
    """
    found: list[Any] = []
    for chunk in column.chunks:
        found += _of(chunk, most_text)
    return found


def is_known(kind: Any) -> bool:
    """Tell whether values of an Arrow type can be given as plain ones."""
    types = require("pyarrow", to="read Arrow").types
    if types.is_dictionary(kind):
        return _is_scalar(kind.value_type, types)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return _is_scalar(inner.value_type if types.is_dictionary(inner) else inner, types)
    return _is_scalar(kind, types)


def word_for(kind: Any) -> str:
    """Name a type of Arrow without what is in it, where names of the sender's own may stand.

    >>> import pyarrow as pa
    >>> word_for(pa.struct({"a": pa.int8()})), word_for(pa.duration("s"))
    ('struct', 'duration')
    """
    return re.split(r"[<\[(]", str(kind), maxsplit=1)[0]


def _is_scalar(kind: Any, types: Any) -> bool:
    if types.is_decimal(kind):
        return bool(0 <= kind.scale <= LARGEST_SCALE)
    return bool(
        _dtype(kind, types) or _is_text(kind, types) or types.is_boolean(kind) or types.is_null(kind) or _step(kind)
    )


def _is_text(kind: Any, types: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _dtype(kind: Any, types: Any) -> str:
    """Give the dtype that holds an Arrow type's numbers; nothing where it has none."""
    if not types.is_integer(kind) and not types.is_floating(kind):
        return ""
    code = "f" if types.is_floating(kind) else "i" if types.is_signed_integer(kind) else "u"
    return f"<{code}{kind.bit_width // 8}"


def _step(kind: Any) -> int:
    """Give how many nanoseconds one unit of an Arrow type of dates is; 0 where it is none."""
    name = str(kind)
    if name.startswith("timestamp["):
        return STEPS[kind.unit]
    return {"date32[day]": DAY, "date64[ms]": STEPS["ms"]}.get(name, 0)


def _of(array: Array, most_text: int | None) -> list[Any]:
    """Give the values of one array."""
    types, kind = require("pyarrow", to="read Arrow").types, array.type
    if types.is_dictionary(kind):
        return _of_dictionary(array, most_text)
    if isinstance(kind, require("pyarrow", to="read Arrow").BaseExtensionType):
        return _of_json(array.storage)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _of_lists(array, most_text)
    if types.is_null(kind):
        return [None] * len(array)
    if _is_text(kind, types):
        if types.is_string_view(kind) and most_text is not None:
            _few(int(np.maximum(_raw(array, "<i4", 4)[::4], 0).sum()), most_text)
        texts: list[Any] = array.to_pylist()
        return texts
    if types.is_decimal(kind):
        number = int if kind.scale == 0 else float
        return [None if value is None else number(value) for value in array.to_pylist()]
    if types.is_boolean(kind):
        return _with_gaps(_bits(array.buffers()[1], array).astype(bool).tolist(), array)
    if step := _step(kind):
        return _of_dates(array, step)
    return _of_numbers(_raw(array, _dtype(kind, types)), array)


def _of_dictionary(array: Array, most_text: int | None) -> list[Any]:
    known, places = _of(array.dictionary, most_text), _of(array.indices, None)
    if most_text is not None and any(type(value) is str for value in known):
        lengths = [len(value) if type(value) is str else 0 for value in known]
        _few(sum(lengths[place] for place in places if place is not None), most_text)
    return [None if place is None else known[place] for place in places]


def _few(n: int, most: int) -> None:
    if n > most:
        raise SchemaError(f"The texts of a column may have {most:,} characters here. Got more. Split it.")


def _of_json(array: Array) -> list[Any]:
    return [None if text is None else codecs.decode(text.encode()) for text in array.to_pylist()]


def _of_lists(array: Array, most_text: int | None) -> list[Any]:
    if hasattr(array.type, "list_size"):
        size = array.type.list_size
        ends = [size * (array.offset + i) for i in range(len(array) + 1)]
    else:
        ends = array.offsets.to_numpy(zero_copy_only=False).tolist()
    first, last = (ends[0], ends[-1]) if ends else (0, 0)
    items = _of(array.values.slice(first, last - first), most_text)
    found = [items[start - first : end - first] for start, end in pairwise(ends)]
    return _with_gaps(found, array)


def _of_dates(array: Array, step: int) -> list[Any]:
    """Give dates as text in ISO 8601, and as numpy's own where the calendar ends."""
    kind = array.type
    aware = getattr(kind, "tz", None) is not None
    width = "<i4" if str(kind) == "date32[day]" else "<i8"
    is_day = str(kind).startswith("date")
    unit = {DAY: "D", STEPS["ms"]: "ms", STEPS["us"]: "us", STEPS["s"]: "s"}.get(step, "ns")
    found: list[Any] = []
    for count in _raw(array, width).tolist():
        day = count * step // DAY
        if not FIRST_DAY <= day <= LAST_DAY:
            found.append(np.datetime64(count, unit))
        elif is_day:
            found.append(as_datetime(count * step).date().isoformat())
        else:
            found.append(iso(count * step, aware=aware))
    return _with_gaps(found, array)


def _of_numbers(raw: NDArray[Any], array: Array) -> list[Any]:
    found: list[Any] = raw.tolist()
    if raw.dtype.kind == "f" and np.isnan(raw).any():
        found = [None if value != value else value for value in found]
    return _with_gaps(found, array)


def _with_gaps(found: list[Any], array: Array) -> list[Any]:
    if not array.null_count:
        return found
    valid = _bits(array.buffers()[0], array).tolist()
    return [value if is_there else None for value, is_there in zip(found, valid, strict=True)]


def _raw(array: Array, dtype: str, n_each: int = 1) -> NDArray[Any]:
    """Give the numbers in an array's buffer, some of them a value."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty(0, dtype=dtype)
    start = array.offset * n_each * np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype=dtype, count=len(array) * n_each, offset=start)


def _bits(buffer: Any, array: Array) -> NDArray[Any]:
    if buffer is None or not len(array):
        return np.empty(0, dtype=np.uint8)
    packed = np.frombuffer(buffer, dtype=np.uint8)
    return np.unpackbits(packed, bitorder="little", count=array.offset + len(array))[array.offset :]


# ── lists → arrays ──────────────────────────────────────────────────────────────────────────────────────────────────


def as_array(cells: Sequence[Any]) -> tuple[Array, Mapping[str, str] | None]:
    """Make an array of plain values, and what its field says of it: what no plain type of Arrow holds is JSON in a text.

    Raises
    ------
    SchemaError
        If a number is not finite.

    Examples
    --------
    >>> as_array([True, None])[0].to_pylist()
    [True, None]
    >>> as_array([1, "a"])
    (<pyarrow.lib.StringArray object at ...>
    [
      "1",
      ""a""
    ], {'ARROW:extension:name': 'arrow.json', 'ARROW:extension:metadata': ''})
    """
    arrow = require("pyarrow", to="write Arrow")
    kinds = {*map(type, cells)} - {type(None)}
    if not kinds:
        return arrow.nulls(len(cells)), None
    if kinds == {bool}:
        packed = np.packbits([cell is True for cell in cells], bitorder="little")
        return _made(arrow.bool_(), cells, packed), None
    if kinds == {int} and _within(cells, *INT64):
        return _made(arrow.int64(), cells, np.array([cell or 0 for cell in cells], dtype=np.int64)), None
    if kinds == {float} or (kinds == {int, float} and _within(cells, -EXACT, EXACT)):
        return _made(arrow.float64(), cells, _finite(cells)), None
    if kinds == {str}:
        return _texts(cells), None
    return _texts([None if cell is None else codecs.encode(cell).decode() for cell in cells]), JSON


def _within(cells: Sequence[Any], low: int, high: int) -> bool:
    return all(low <= cell <= high for cell in cells if type(cell) is int)


def _finite(cells: Sequence[Any]) -> NDArray[Any]:
    found = np.array([0.0 if cell is None else cell for cell in cells], dtype=np.float64)
    if not np.isfinite(found).all():
        raise SchemaError("An answer must hold finite numbers. Got one that is not.")
    return found


def _made(kind: Any, cells: Sequence[Any], *buffers: Any) -> Array:
    arrow = require("pyarrow", to="write Arrow")
    gaps = [cell is not None for cell in cells]
    valid = None if all(gaps) else arrow.py_buffer(np.packbits(gaps, bitorder="little"))
    return arrow.Array.from_buffers(kind, len(cells), [valid, *(arrow.py_buffer(each) for each in buffers)])


def _texts(cells: Sequence[Any]) -> Array:
    arrow = require("pyarrow", to="write Arrow")
    parts = [b"" if cell is None else cell.encode() for cell in cells]
    ends = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    is_large = ends[-1] > math.floor(np.iinfo(np.int32).max)
    kind = arrow.large_string() if is_large else arrow.string()
    return _made(kind, cells, ends if is_large else ends.astype(np.int32), b"".join(parts))
