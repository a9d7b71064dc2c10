"""Bytes ↔ rows ↔ columns, strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import msgspec

from ekiben.errors import Fault, SchemaError
from ekiben.schema import Column, Schema
from ekiben.values import is_missing, misfits, missing_column, twice, value_fault

MOST_TOLD = 100  # faults of a request that are told one by one; a body of a few kilobytes may have a million
P = TypeVar("P")
_encoder = msgspec.json.Encoder()


def decode(body: bytes) -> Any:
    """Read JSON, or say where it stops being JSON; NaN and Infinity are not.

    Raises
    ------
    SchemaError
        If the bytes are not JSON in UTF-8.

    Examples
    --------
    >>> decode(b'{"rows": [{"age": 30}]}')
    {'rows': [{'age': 30}]}
    >>> decode(b"[NaN]")
    Traceback (most recent call last):
    ...
    ekiben.errors.SchemaError: The body must be JSON. Got something else at byte 1.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise SchemaError("The body must be JSON of few levels. Got one nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as reason:
        where = str(reason).rpartition("(byte ")[2].rstrip(")")
        place = f" at byte {where}" if where.isdigit() else ""
        raise SchemaError(f"The body must be JSON. Got something else{place}.") from None


def decode_with_nan(body: bytes) -> Any:
    """Read JSON in which NaN, which JSON does not know and many clients send, is null; infinities are no JSON here either.

    Raises
    ------
    SchemaError
        If the bytes are not JSON in UTF-8.

    Examples
    --------
    >>> decode_with_nan(b'{"income": [NaN, 1.5]}')
    {'income': [None, 1.5]}
    """
    if b"NaN" not in body:
        return decode(body)
    try:
        found = json.loads(body.decode(), parse_constant=lambda word: {"NaN": None}[word])
        return decode(json.dumps(found).encode())  # Python takes more than is JSON: half of a surrogate pair
    except (ValueError, KeyError, RecursionError):
        return decode(body)  # says where it is none


def encode(document: Any) -> bytes:
    """Write JSON; a number that JSON cannot hold is refused, not written as null.

    Raises
    ------
    SchemaError
        If a number is NaN or infinite.

    Examples
    --------
    >>> encode({"scores": {"bad": 0.25}})
    b'{"scores":{"bad":0.25}}'
    """
    _finite(document)
    return _encoder.encode(document)


def _finite(document: Any) -> None:
    if isinstance(document, float) and not math.isfinite(document):
        raise SchemaError("An answer must hold finite numbers. Got one that is not.")
    if isinstance(document, Mapping):
        for value in document.values():
            _finite(value)
    elif isinstance(document, list | tuple):
        for value in document:
            _finite(value)


def columns_of(rows: Sequence[Any], schema: Schema, *, ignore: str | None = None) -> dict[str, list[Any]]:
    """Turn rows of JSON into columns, or say every value that does not fit, by row and column.

    Parameters
    ----------
    rows
        Objects, one a row, each with every column of the contract, by its name or its alias.
    schema
        The contract.
    ignore
        A field that a row may carry beside the contract's columns.

    Raises
    ------
    SchemaError
        With the first 100 faults and the number of all: missing and unexpected columns, wrong kinds, missing values, unseen
        categories.

    Examples
    --------
    >>> from ekiben.schema import Column
    >>> age = Schema(columns=(Column(name="age", kind="integer", dtype="int64", nullable=False),))
    >>> columns_of([{"age": 30}, {"age": 41}], age)
    {'age': [30, 41]}
    >>> columns_of([{"age": 30}, {"age": "41"}], age)
    Traceback (most recent call last):
    ...
    ekiben.errors.SchemaError: The column 'age' must hold an integer. Got a text in row 1.
    """
    found = _Faults()
    others = [each for each in enumerate(rows) if not isinstance(each[1], dict)]
    found.add(len(others), others, _no_object)
    found.refuse()
    rows, doubled = _by_name(rows, schema)
    found = _Faults()
    found.add(len(doubled), doubled, lambda place: twice(place[1], row=place[0]))
    required, known = {*schema.names}, {*schema.names, ignore}
    for i, row in enumerate(rows):
        if schema.extra == "refuse" and not row.keys() <= known:
            found.add(1, (i,), _unexpected)
        if not row.keys() >= required:
            n = len(required) - sum(name in required for name in row)
            missing = (column for column in schema.columns if column.name not in row)
            found.add(n, missing, partial(missing_column, row=i))
    holding = [(i, row) for i, row in enumerate(rows) if not required.isdisjoint(row)]
    for column in schema.columns:
        cells = ((i, row[column.name]) for i, row in holding if column.name in row)
        found.add(len(places := misfits(column, cells)), places, partial(value_fault, column))
    found.refuse()
    return {name: [row[name] for row in rows] for name in schema.names}


def held(columns: Mapping[str, list[Any]], schema: Schema, *, fitting: Collection[str] = ()) -> dict[str, list[Any]]:
    """Hold columns of the same length to the contract, as `columns_of` holds rows, and give those that it names.

    Parameters
    ----------
    columns
        Values by the column's name or its alias, None where one is missing.
    schema
        The contract.
    fitting
        Columns, by their own names, that are known to fit and are not looked at again.

    Raises
    ------
    SchemaError
        With the first 100 faults and the number of all: missing and unexpected columns, wrong kinds, missing values, unseen
        categories.

    Examples
    --------
    >>> from ekiben.schema import Column
    >>> age = Schema(columns=(Column(name="age", kind="integer", dtype="int64", nullable=False),))
    >>> held({"age": [30, 41]}, age)
    {'age': [30, 41]}
    >>> held({"age": [30, None]}, age)
    Traceback (most recent call last):
    ...
    ekiben.errors.SchemaError: The column 'age' must hold an integer. Got a missing value in row 1.
    """
    aliases = schema.aliases
    found = _Faults()
    doubled = [schema[name] for alias, name in aliases.items() if alias in columns and name in columns]
    found.add(len(doubled), doubled, twice)
    named = {aliases.get(name, name): values for name, values in columns.items()}
    if schema.extra == "refuse" and not {*named} <= {*schema.names}:
        found.add(1, (None,), _unexpected)
    missing = [column for column in schema.columns if column.name not in named]
    found.add(len(missing), missing, missing_column)
    for column in schema.columns:
        if column.name not in fitting:
            places = misfits(column, enumerate(named.get(column.name, ())))
            found.add(len(places), places, partial(value_fault, column))
    found.refuse()
    return {name: named[name] for name in schema.names}


def _by_name(
    rows: Sequence[dict[str, Any]], schema: Schema
) -> tuple[Sequence[dict[str, Any]], list[tuple[int, Column]]]:
    """Put each column's own name in place of its alias, and tell in which row which column came by both."""
    aliases = {alias: schema[name] for alias, name in schema.aliases.items()}
    if not aliases:
        return rows, []
    doubled = [
        (i, column)
        for i, row in enumerate(rows)
        for alias, column in aliases.items()
        if alias in row and column.name in row
    ]
    named = {alias: column.name for alias, column in aliases.items()}
    return [{named.get(key, key): value for key, value in row.items()} for row in rows], doubled


class _Faults:
    """What does not fit: those that come first, and how many there are."""

    def __init__(self) -> None:
        self._told: list[Fault] = []
        self._n = 0

    def add(self, n: int, places: Iterable[P], fault: Callable[[P], Fault]) -> None:
        """Count so many places that do not fit; a fault is made of those that are told."""
        self._n += n
        self._told += map(fault, islice(places, max(0, MOST_TOLD - len(self._told))))

    def refuse(self) -> None:
        if self._n:
            raise SchemaError.of(self._told, n_untold=self._n - len(self._told))


def _no_object(place: tuple[int, Any]) -> Fault:
    row, value = place
    got = _kind_of(value)
    message = f"A row must be an object. Got {got} in row {row}."
    return Fault(message=message, row=row, expected="an object", got=got)


def _unexpected(row: int | None) -> Fault:
    """Say that a row, or all of them, has a column too many, whose name is the sender's own and so is not repeated."""
    who, where = ("A request", "") if row is None else ("A row", f" in row {row}")
    message = f"{who} must hold the contract's columns alone. Got another{where}. GET /schema lists them."
    return Fault(message=message, row=row, expected="no such column", got="a column")


def _kind_of(value: Any) -> str:
    if is_missing(value):
        return "null"
    return {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}.get(
        type(value), "something else"
    )
