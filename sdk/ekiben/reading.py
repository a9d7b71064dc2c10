"""Read a body by types made of its contract: what fits as it comes, within microseconds, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ekiben.schema import Column, Schema
from ekiben.values import bounds

EXPLAIN = "explain"  # the field of a body that asks for explanations beside its predictions
INT64 = (-(2**63), 2**63 - 1)  # what msgspec compares integers with; larger ones are left to the slow path
ODD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what a body that does not fit makes msgspec raise


class Reader:
    """The typed decoder of one contract: what it takes, `codecs.columns_of` takes too, as the same values.

    Parameters
    ----------
    inputs
        The contract of the rows.
    max_rows
        How many rows a body may hold.
    unit
        The field that names the unit, in the body or in its rows; None for none.
    explains
        Whether a body may ask for explanations beside its predictions: `explain`.

    Raises
    ------
    TypeError, ValueError
        If the contract is none that types can tell: it has dates, lists, or names that JSON must escape.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="uint8", nullable=False)
    >>> reader = Reader(Schema(columns=(age,)), max_rows=2)
    >>> reader.columns(reader.read(b'{"rows": [{"age": 30}, {"age": 41}]}'))
    {'age': [30, 41]}
    >>> reader.read(b'{"rows": [{"age": 300}]}') is None
    True
    """

    def __init__(self, inputs: Schema, *, max_rows: int, unit: str | None = None, explains: bool = False) -> None:
        self.names, self.unit = inputs.names, unit
        self._explains = explains and unit != EXPLAIN
        self._fields = {name: f"column_{i}" for i, name in enumerate(self.names)}
        self._unit_of_row = None if unit is None else self._fields.get(unit, "unit")
        if inputs.extra == "ignore" and inputs.aliases:
            raise ValueError("an alias is no column too many")
        if unit in self._fields and inputs[str(unit)].kind not in ("integer", "text", "category"):
            raise ValueError("a unit is a text or an integer")
        types = [(self._fields[column.name], _type(column)) for column in inputs.columns]
        strict = inputs.extra == "refuse"
        self._decode = msgspec.json.Decoder(self._body(types, strict=strict, max_rows=max_rows)).decode
        # What is skipped is not looked at closely: only a second look tells whether it is JSON.
        self._check: Callable[[bytes], Any] | None = None if strict else msgspec.json.decode

    def _body(self, types: list[tuple[str, Any]], *, strict: bool, max_rows: int) -> Any:
        told: list[Any] = [] if self.unit is None else [("unit", str | int | UnsetType, UNSET)]
        beside = list(told) if self._unit_of_row == "unit" else []
        told += [(EXPLAIN, bool, False)] if self._explains else []
        names = {field: name for name, field in self._fields.items()} | ({"unit": self.unit} if self.unit else {})
        row = msgspec.defstruct(
            "Row", [*types, *beside], rename=names.get, gc=False, frozen=True, forbid_unknown_fields=strict
        )
        rows = Annotated[list[row], Meta(min_length=1, max_length=max_rows)]  # type: ignore[valid-type]
        return msgspec.defstruct(
            "Body", [("rows", rows), *told], rename=names.get, gc=False, frozen=True, forbid_unknown_fields=True
        )

    def read(self, body: bytes) -> Any | None:
        """Give the body, `rows` in it, when it fits; None when it does not, or when that is hard to tell."""
        try:
            if self._check is not None:
                self._check(body)
            return self._decode(body)
        except ODD:
            return None

    def asks_why(self, body: Any) -> bool:
        """Tell whether a body asks for explanations too."""
        return self._explains and body.explain is True

    def fields(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Name the attributes of a row that hold some columns."""
        return tuple(self._fields[name] for name in names)

    def columns(self, body: Any) -> dict[str, list[Any]]:
        """Turn a body's rows into columns, in the contract's order."""
        return {name: [getattr(row, field) for row in body.rows] for name, field in self._fields.items()}

    def unit_of(self, body: Any) -> str | None:
        """Give the one unit that a body or its rows name, as text: empty for none, None where that is hard to tell."""
        if self._unit_of_row is None:
            return ""
        if type(body.unit) is str:  # nearly every request
            return body.unit or None
        if body.unit is not UNSET:
            units = {body.unit}
        else:
            units = {getattr(row, self._unit_of_row) for row in body.rows} - {UNSET}
        if not units:
            return ""
        if None in units:  # in a column of the contract, which may lack a value
            return None
        try:
            texts = {str(unit) for unit in units}
        except ValueError:  # Python refuses to write integers of more than 4300 digits
            return None
        return texts.pop() or None if len(texts) == 1 else None


def _type(column: Column) -> Any:
    kind = _closed(column) if column.is_closed else _KINDS[column.kind](column)
    return kind | None if column.nullable else kind


def _closed(column: Column) -> Any:
    categories = column.categories or ()
    if {*map(type, categories)} == {bool} and len(categories) == 2:
        return bool
    kinds = {*map(type, categories)}
    if kinds not in ({str}, {int}) or (kinds == {int} and max(map(int, categories)) > INT64[1]):
        raise TypeError(column.name)
    return Literal[categories]


def _integer(column: Column) -> Any:
    low, high = bounds(column)
    return Annotated[int, Meta(ge=max(math.ceil(low), INT64[0]), le=min(math.floor(high), INT64[1]))]


def _number(column: Column) -> Any:
    low, high = bounds(column)
    return _integer(column) | Annotated[float, Meta(ge=_not_below(low), le=-_not_below(-high))]


def _not_below(bound: float) -> float:
    """Give the smallest float that is not below a bound, which may be a whole number between two floats."""
    near = float(bound)
    return near if near >= bound else math.nextafter(near, math.inf)


def _text(_column: Column) -> Any:
    return str


def _unknown(column: Column) -> Any:
    raise TypeError(column.kind)


_KINDS: dict[str, Callable[[Column], Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": lambda _column: bool,
    "text": _text,
    "category": _text,
    "datetime": _unknown,
    "list": _unknown,
}


def reader(inputs: Schema, *, max_rows: int, unit: str | None = None, explains: bool = False) -> Reader | None:
    """Make the reader of a contract; None when its types cannot be told.

    >>> reader(
    ...     Schema(columns=(Column(name="day", kind="datetime", dtype="datetime64[ns]", nullable=False),)), max_rows=1
    ... )
    """
    try:
        return Reader(inputs, max_rows=max_rows, unit=unit, explains=explains)
    except (TypeError, ValueError, OverflowError):
        return None
