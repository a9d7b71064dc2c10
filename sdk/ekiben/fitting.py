"""Texts that fit into the room there is, counted in columns of a terminal."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

LEAST = 8  # columns: two ends of a text, and what stands between them


def short(text: str, most: int) -> str:
    """Leave out the middle of a long text, and write every line break as a space.

    >>> short("the total of all charges since the contract began", 20)
    'the total o … began'
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    kept = max(most, LEAST) - 3
    return f"{text[: kept * 2 // 3].rstrip()} … {text[-(kept // 3) :].lstrip()}"


def named(name: str, value: str, most: int) -> str:
    """Put a value behind a name, each shortened by itself: a long text leaves the name to be read.

    >>> named("income", "the total of all charges since the contract began", 30)
    'income (the total of … began)'
    """
    if not value:
        return short(name, most)
    room = most - len(" ()")
    kept = min(len(value), max(room - len(name), room // 3))
    return f"{short(name, room - kept)} ({short(value, kept)})"


def width(text: str) -> int:
    """Count the columns that a text takes: two for each wide letter, none for what stands above another.

    >>> width("income"), width("年収"), width("e\u0301")
    (6, 4, 1)
    """
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def padded(text: str, columns: int) -> str:
    """Fill a text up with spaces on its right.

    >>> padded("年収", 6) + "|"
    '年収  |'
    """
    return text + " " * (columns - width(text))
