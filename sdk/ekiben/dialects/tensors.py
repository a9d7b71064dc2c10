"""One tensor of the Open Inference Protocol: the values that came, in JSON or as bytes, as its datatype says."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from struct import Struct
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ekiben.errors import SchemaError

if TYPE_CHECKING:
    from ekiben.models import Array

MOST_VALUES = 50_000_000
LENGTH = Struct("<I")  # before each text in binary data

# The datatypes that hold numbers, as little-endian dtypes of numpy. BF16 is the upper half of FP32.
DTYPES = {
    "BOOL": "?",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<u2",
}  # fmt: skip
# The least and the greatest integer of each datatype that holds integers.
RANGES = {name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for name, dtype in DTYPES.items() if "INT" in name}
# What MLServer's codecs make of texts, by the `content_type` that they name: a document of JSON each, or base64.
WRITTEN: dict[str, Callable[[str], Any]] = {
    "pd_json": msgspec.json.decode,
    "base64": lambda text: base64.b64decode(text, validate=True).decode(),
}


class Tensor(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = msgspec.UNSET
    parameters: dict[str, Any] | None = None

    def told(self, name: str) -> Any:
        """Give one of the parameters; None where it is not there."""
        return (self.parameters or {}).get(name)


def shape(tensor: Tensor, number: int) -> list[int]:
    """Give a tensor's shape, the rows first; `number` names the input where it is refused."""
    good = 1 <= len(tensor.shape) <= 8 and all(0 <= size <= MOST_VALUES for size in tensor.shape)
    if not good or math.prod(tensor.shape) > MOST_VALUES:
        raise SchemaError(f"A shape must be [n_rows, …] of whole numbers. Input {number} has another.")
    return tensor.shape


def values(tensor: Tensor, binary: memoryview | None, number: int) -> list[Any]:
    """Give a tensor's values in row-major order, None where one is missing.

    Raises
    ------
    SchemaError
        If they are not those of its datatype and shape.
    """
    datatype, n = tensor.datatype, math.prod(tensor.shape)
    if datatype != "BYTES" and datatype not in DTYPES:
        known = ", ".join([*DTYPES, "BYTES"])
        raise SchemaError(f"A datatype must be one of {known}. Input {number} has another.")
    if binary is not None:
        found = _texts(binary, number) if datatype == "BYTES" else _numbers(binary, datatype, number)
    elif tensor.data is msgspec.UNSET:
        raise SchemaError(f"An input must have `data`, or its bytes behind the JSON. Input {number} has neither.")
    else:
        found = list(_flat(tensor.data, len(tensor.shape), number))
        found = found if datatype == "BYTES" else _narrowed(found, datatype, number)
    if len(found) != n:
        raise SchemaError(
            f"An input must have as many values as its shape says: {n:,}. Input {number} has {len(found):,}."
        )
    read = WRITTEN.get(str(tensor.told("content_type"))) if datatype == "BYTES" else None
    return found if read is None else [_reread(value, read, number) for value in found]


def _reread(value: Any, read: Callable[[str], Any], number: int) -> Any:
    """Undo what a codec made of a text."""
    try:
        return None if value is None else read(value)
    except (TypeError, ValueError, RecursionError):
        raise SchemaError(f"A text must be what its `content_type` says. Input {number} has one that is not.") from None


# ── JSON ──


def _flat(data: Any, depth: int, number: int) -> Iterator[Any]:
    """Go through data that is flat, or nested as deep as its shape."""
    if not isinstance(data, list) or not depth:
        raise SchemaError(f"`data` must be a list, flat or nested as the shape says. Input {number} has another.")
    if not any(isinstance(value, list) for value in data):
        yield from data
        return
    for value in data:
        yield from _flat(value, depth - 1, number)


def _narrowed(found: list[Any], datatype: str, number: int) -> list[Any]:
    """Give values of JSON as their datatype holds them, or refuse what it cannot hold."""
    if datatype == "BOOL":
        found = [bool(value) if type(value) is int and value in (0, 1) else value for value in found]
    kinds = {*map(type, found)} - {NoneType}
    noun, fits = "numbers", kinds <= {int, float}
    if datatype == "BOOL":
        noun, fits = "booleans", kinds <= {bool}
    elif datatype in RANGES:
        low, high = RANGES[datatype]
        noun, fits = f"integers from {low:,} to {high:,}", fits and _are_integers(found, low, high)
    if not fits:
        raise SchemaError(f"A tensor of {datatype} must hold {noun}. Input {number} holds something else.")
    if datatype not in ("FP16", "FP32"):
        return found
    try:
        numbers = np.array(found, dtype=np.float64)
    except OverflowError:
        raise SchemaError(f"A number of {datatype} must be within 64 bits. Input {number} has one beyond.") from None
    with np.errstate(over="ignore"):
        return _without_nan(numbers.astype(DTYPES[datatype]))


def _are_integers(found: list[Any], low: int, high: int) -> bool:
    there = [value for value in found if value is not None]
    whole = all(type(value) is int or value.is_integer() for value in there)
    return whole and (not there or (low <= min(there) and max(there) <= high))


# ── bytes ──


def _numbers(binary: memoryview, datatype: str, number: int) -> list[Any]:
    dtype = np.dtype(DTYPES[datatype])
    if len(binary) % dtype.itemsize:
        raise SchemaError(
            f"A tensor of {datatype} must have {dtype.itemsize} bytes a value. Input {number} has others."
        )
    found = np.frombuffer(binary, dtype=dtype)
    if datatype == "BF16":
        found = (found.astype(np.uint32) << 16).view(np.float32)
    return _without_nan(found)


def _without_nan(found: Array) -> list[Any]:
    """Give Python's own values, None for NaN: the protocol has no other way to say that one is missing."""
    told: list[Any] = found.tolist()
    if found.dtype.kind == "f" and np.isnan(found).any():
        return [None if value != value else value for value in told]
    return told


def _texts(binary: memoryview, number: int) -> list[Any]:
    found, start = [], 0
    while start < len(binary):
        end = start + LENGTH.size
        size = LENGTH.unpack(binary[start:end])[0] if end <= len(binary) else len(binary)
        if end + size > len(binary):
            raise SchemaError(f"Each text must have its length before it, in 4 bytes. Those of input {number} do not.")
        try:
            found.append(str(binary[end : end + size], "utf-8"))
        except UnicodeDecodeError:
            raise SchemaError(f"A text must be in UTF-8. Input {number} has one that is not.") from None
        start = end + size
    return found
