"""Whether one value fits a column of the contract, and what it is when it does not."""

from __future__ import annotations

import math
import numbers
import re
import sys
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from ekiben.errors import Fault
from ekiben.moments import DAY, STEPS, is_date, moment
from ekiben.schema import Column, Label, between, listed, place

YEARS_NS = (-62_135_596_800_000_000_000, 253_402_300_799_999_999_999)  # the years 1 to 9999
NS = (1 - 2**63, 2**63 - 1)  # what 64 bits of nanoseconds hold: the years 1677 to 2262


def missing_column(column: Column, *, row: int | None = None, hint: str = "") -> Fault:
    """Say that a whole column, or one row's value of it, was not sent."""
    where = "" if row is None else f" in row {row}"
    message = f"The column {column.name!r} is missing{where}.{hint}"
    return Fault(message=message, column=column.name, row=row, expected=column.noun, got="nothing")


def twice(column: Column, *, row: int | None = None) -> Fault:
    """Say that a column came by its name and by its alias."""
    where = "" if row is None else f" in row {row}"
    message = f"The column {column.name!r} must come by its name or by its alias {column.alias!r}. Got both{where}."
    return Fault(message=message, column=column.name, row=row, expected="one of both names", got="both")


def value_faults(column: Column, values: Iterable[tuple[int, Any]]) -> list[Fault]:
    """Look at each value of one column, with its row, and tell which do not fit; no value is repeated."""
    return [value_fault(column, misplaced) for misplaced in misfits(column, values)]


def misfits(column: Column, values: Iterable[tuple[int, Any]]) -> list[tuple[int, str]]:
    """Look at each value of one column, with its row, and name what came instead of those that do not fit.

    >>> misfits(Column(name="age", kind="integer", dtype="int64", nullable=False), [(0, 30), (1, "41")])
    [(1, 'a text')]
    """
    known: frozenset[Label] | None = frozenset(column.categories or ()) if column.is_closed else None
    return [(row, got) for row, value in values if (got := misfit(column, value, known)) is not None]


def value_fault(column: Column, misplaced: tuple[int, str]) -> Fault:
    """Say that a value does not fit: its row, and what came."""
    (row, got), expected = misplaced, _expected(column)
    message = f"The column {column.name!r} must hold {expected}. Got {got} in row {row}."
    return Fault(message=message, column=column.name, row=row, expected=expected, got=got)


def _expected(column: Column) -> str:
    if column.is_closed:
        return listed(column.categories or ())
    noun = {"number": "a finite number", "integer": "an integer", "boolean": "true or false", "text": "a text"}
    noun |= {"datetime": _expected_date(column), "list": f"a list of {column.length} {column.items}s"}
    limited = between(column.minimum, column.maximum)
    return noun[column.kind] + (f" {limited}" if limited else "") + (" or null" if column.nullable else "")


def _expected_date(column: Column) -> str:
    if column.items == "date":
        return "a date such as 2026-11-22"
    if column.is_aware:
        return "a date and time with its offset, such as 2026-11-22T10:00:00Z"
    return "a date and time without an offset, such as 2026-11-22T10:00:00"


def misfit(column: Column, value: Any, known: Collection[Label] | None = None) -> str | None:
    """Name what came instead of a fitting value; None when it fits.

    >>> misfit(Column(name="age", kind="integer", dtype="int64", nullable=False), "30")
    'a text'
    """
    if is_missing(value):
        return None if column.nullable else "a missing value"
    if column.is_closed:
        return _category_misfit(column, value, known)
    return _MISFITS[column.kind](column, value)


def _boolean_misfit(_column: Column, value: Any) -> str | None:
    return None if named(value) == "a boolean" else named(value)


def _number_misfit(column: Column, value: Any) -> str | None:
    if named(value) not in ("an integer", "a number"):
        return named(value)
    low, high = limits(column.dtype)
    if not low <= value <= high or not math.isfinite(value):  # an int is compared exactly, however large
        return "a number out of range"
    if column.kind == "integer" and value != int(value):
        return "a number with a fraction"
    return _beyond(column, value, "a number below the minimum", "a number above the maximum")


def _beyond(column: Column, value: float, below: str, above: str) -> str | None:
    if column.minimum is not None and value < place(column.minimum):
        return below
    return above if column.maximum is not None and value > place(column.maximum) else None


@cache
def limits(dtype: str) -> tuple[float, float]:
    """Give the smallest and largest number that a dtype can hold."""
    name = dtype.lower()
    bits = {"float[pyarrow]": 32, "halffloat[pyarrow]": 16}.get(name) or int(re.sub(r"\D", "", name) or 64)
    if name.startswith("uint"):
        return 0, 2**bits - 1
    if name.startswith("int"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = {16: 65504.0, 32: 3.4028234663852886e38}.get(bits, sys.float_info.max)
    return -largest, largest


def bounds(column: Column) -> tuple[float, float]:
    """Give the smallest and largest value that a column takes: what its dtype holds, within what is declared.

    >>> bounds(Column(name="age", kind="integer", dtype="uint8", nullable=False, minimum=18))
    (18, 255)
    """
    low, high = span(column)[:2] if column.kind == "datetime" else limits(column.dtype)
    low = low if column.minimum is None else max(low, place(column.minimum))
    return low, high if column.maximum is None else min(high, place(column.maximum))


def _text_misfit(_column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        return named(value)
    return None if _is_unicode(value) else "a text with half a surrogate pair"


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _category_misfit(column: Column, value: Any, known: Collection[Label] | None) -> str | None:
    known = column.categories or () if known is None else known
    of = named(next(iter(column.categories or ()), ""))
    got = "a text" if isinstance(value, str) else named(value)
    if got == of or (of == "an integer" and got == "a number" and math.isfinite(value) and value == int(value)):
        return None if value in known else f"another {of.partition(' ')[2]}"
    return got


# ── dates ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _date_misfit(column: Column, value: Any) -> str | None:
    if not isinstance(value, str) and not is_date(value):
        return named(value)
    found = moment(value)
    if found is None:
        return "a text that is no date" if isinstance(value, str) else "a date out of range"
    if found.aware != column.is_aware:
        return f"a date with{'' if found.aware else 'out'} an offset"
    low, high, step = span(column)
    if not low <= found.ns <= high:
        return "a date out of range"
    if found.ns % step:
        return "a date with a time of day" if step == DAY else "a finer time than the column can hold"
    return _beyond(column, found.ns, "a date before the minimum", "a date after the maximum")


def span(column: Column) -> tuple[int, int, int]:
    """Give the first and last moment of a column of dates, and its least step, in nanoseconds.

    >>> span(Column(name="day", kind="datetime", dtype="object", items="date", nullable=False))[2] == DAY
    True
    """
    unit = date_unit(column)
    low, high = NS if unit == "ns" else YEARS_NS
    margin = DAY if column.is_aware else 0  # its own time zone must hold the moment too
    return low + margin, high - margin, STEPS[unit]


def date_unit(column: Column) -> str:
    """Give the unit of a column of dates: `s`, `ms`, `us`, `ns` or `day`."""
    found = re.search(r"\[(\w+)", column.dtype)
    if found is not None:
        return found[1]
    return {"date": "day", "datetime": "us"}.get(str(column.items), "ns")


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _list_misfit(column: Column, value: Any) -> str | None:
    items = plain_list(value)
    if items is None:
        return named(value)
    if len(items) != column.length:
        return f"a list of {len(items)}"
    one = item_column(column.name, str(column.items), str(column.holder))
    if column.items != "text" and _plainly_numbers(one, items):
        return None
    got = next((got for got in (misfit(one, item) for item in items) if got is not None), None)
    return None if got is None else f"a list with {got}"


def plain_list(value: Any) -> list[Any] | None:
    """Give the items of a list, a tuple or a 1-D array; None when it is none of them."""
    if isinstance(value, list | tuple):
        return list(value)
    found = value.tolist() if getattr(value, "ndim", 0) == 1 else None
    return found if isinstance(found, list) else None


@cache
def item_column(name: str, items: str, holder: str) -> Column:
    """Describe one item of a list as a column of its own."""
    dtype = (
        holder if holder not in ("list", "tuple") else {"number": "float64", "integer": "int64"}.get(items, "object")
    )
    return Column(name=name, kind=items, dtype=dtype, nullable=False)  # type: ignore[arg-type]


def _plainly_numbers(one: Column, items: list[Any]) -> bool:
    """Answer for a whole list of numbers at once, where all are Python's own."""
    if {int} != {*map(type, items)} and (one.kind == "integer" or not {*map(type, items)} <= {int, float}):
        return False
    low, high = limits(one.dtype)
    return all(low <= item <= high for item in items)  # NaN is not


_MISFITS = {
    "number": _number_misfit,
    "integer": _number_misfit,
    "boolean": _boolean_misfit,
    "text": _text_misfit,
    "category": _text_misfit,  # without categories, which no learnt one is
    "datetime": _date_misfit,
    "list": _list_misfit,
}


# ── what a value is ─────────────────────────────────────────────────────────────────────────────────────────────


def is_missing(value: Any) -> bool:
    """Tell whether one value is missing: None, NaN, NaT or `pandas.NA`.

    >>> is_missing(float("nan")), is_missing(None), is_missing(0.0)
    (True, True, False)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if type(value) in (float, int, str, bool):
        return bool(value != value)
    own = isinstance(value, numbers.Real) or type(value).__name__ == "datetime64"  # numpy's scalars are no floats
    return own and bool(value != value)


def named(value: Any) -> str:
    """Name the type of a value as its sender would, numpy's scalars among them."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", dict: "an object", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
