"""Dates and times as ISO 8601 text, and as nanoseconds since 1970."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

ISO = r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2}(?::\d{2})?)?)?"
_ISO = re.compile(ISO, re.ASCII)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- a date without an offset stays without one
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
STEPS = {"s": SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1, "day": DAY}  # nanoseconds in the least step of a unit


class Moment(NamedTuple):
    """A date, or a date and time: nanoseconds since 1970, in UTC when it came with an offset."""

    ns: int
    aware: bool


def moment(value: Any) -> Moment | None:
    """Read a date from ISO 8601 text, or from Python's, numpy's and pandas' own dates; None when it is none.

    Examples
    --------
    >>> moment("1970-01-01T00:00:01")
    Moment(ns=1000000000, aware=False)
    >>> moment("1970-01-01T01:00:00+01:00")
    Moment(ns=0, aware=True)
    >>> moment("2026-02-30") is None
    True
    """
    if not isinstance(value, str):
        value = value.isoformat() if isinstance(value, date) else str(value)
    found = _ISO.fullmatch(value)
    return None if found is None else _counted(*found.groups())


def is_date(value: Any) -> bool:
    """Tell whether a value is a date of Python, numpy or pandas."""
    return isinstance(value, date) or type(value).__name__ == "datetime64"


def day(text: str) -> str:
    """Leave out the time of a text of ISO 8601 at midnight; anything else stays as it is.

    >>> day("2024-01-01T00:00:00"), day("2024-01-01T06:00:00")
    ('2024-01-01', '2024-01-01T06:00:00')
    """
    return text.removesuffix("T00:00:00") if _ISO.fullmatch(text) else text


def _counted(*parts: str | None) -> Moment | None:
    *numbers, fraction, offset = parts
    try:
        local = datetime(*(int(part or 0) for part in numbers))  # type: ignore[arg-type]  # noqa: DTZ001
        shift = _shift(offset or "Z")
    except ValueError:
        return None
    since = local - EPOCH
    ns = (since.days * 86_400 + since.seconds - shift) * SECOND + int((fraction or "").ljust(9, "0"))
    return Moment(ns, offset is not None)


def _shift(offset: str) -> int:
    """Give the seconds of an offset from UTC."""
    if offset == "Z":
        return 0
    hours, minutes, seconds = (int(part) for part in (*offset[1:].split(":"), "0")[:3])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(offset)
    return (-1 if offset[0] == "-" else 1) * (hours * 3600 + minutes * 60 + seconds)


def as_datetime(ns: int) -> datetime:
    """Give a time without an offset, to the microsecond.

    >>> as_datetime(1_000)
    datetime.datetime(1970, 1, 1, 0, 0, 0, 1)
    """
    return EPOCH + timedelta(microseconds=ns // 1_000)


def iso(ns: int, *, aware: bool) -> str:
    """Write nanoseconds since 1970 as ISO 8601 text.

    >>> iso(1, aware=True)
    '1970-01-01T00:00:00.000000001Z'
    """
    whole, fraction = divmod(ns, SECOND)
    told = as_datetime(whole * SECOND).isoformat()
    return told + (f".{fraction:09}" if fraction else "") + ("Z" if aware else "")
