"""Values that nobody has, in place of those of private columns: rows that travel with a package hold none in clear."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import tables
from ekiben.describing import decimals_of
from ekiben.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DATES = ("date", "datetime", "timestamp")
Draws = np.random.Generator


def invented(rows: pd.DataFrame, contract: Schema) -> pd.DataFrame:
    """Give rows whose private columns hold values that were drawn, each without a look at the rest of its row.

    Numbers and dates lie between the smallest and the largest that there are; texts are of those that the contract lists, or
    have other letters and digits. What is missing stays missing. The same rows give the same values.

    Parameters
    ----------
    rows
        Rows that fit the contract, of shape (n_rows, n_columns).
    contract
        What says which columns are private.
    """
    draws, plain = np.random.default_rng(0), tables.as_rows(rows)
    private = Schema(columns=tuple(column for column in contract.columns if column.private))
    made = {each.name: _replaced(each, [row[each.name] for row in plain], draws) for each in private.columns}
    held = tables.as_frame(made, private).set_index(rows.index)
    return tables.with_columns(rows, {str(name): held[name] for name in held})


def blurred(contract: Schema) -> Schema:
    """Give a contract that tells the ends of a private column's numbers to about a hundredth of their range, and no further out."""
    return replace(contract, columns=tuple(_blurred(each) if each.private else each for each in contract.columns))


def _blurred(column: Column) -> Column:
    low, high = column.low, column.high
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low == high:
        return column
    decimals = decimals_of(high - low)
    step = 10.0**-decimals
    inner = [round(low, decimals), round(high, decimals)]
    inner[0] += step * (inner[0] < low)
    inner[1] -= step * (inner[1] > high)
    return replace(column, low=round(inner[0], decimals), high=round(inner[1], decimals))


def _replaced(column: Column, values: list[Any], draws: Draws) -> list[Any]:
    """Draw a value in place of each that is there."""
    given = [value for value in values if value is not None]
    drawn = iter(_of_column(column, given, draws) if given else ())
    return [None if value is None else next(drawn) for value in values]


def _of_column(column: Column, given: list[Any], draws: Draws) -> list[Any]:
    if column.kind == "list":
        draw = _dates if column.items in DATES else _plain
        places = (draw([each[i] for each in given], draws) for i in range(len(given[0])))
        return [list(items) for items in zip(*places, strict=True)]
    if column.kind == "datetime":
        return _dates(given, draws)
    takes_others = column.categories is None and column.unseen == "accept"
    known = () if column.kind not in ("text", "category") or takes_others else column.categories or given
    return [known[i] for i in draws.integers(0, len(known), len(given))] if known else _plain(given, draws)


def _plain(given: Sequence[Any], draws: Draws) -> list[Any]:
    """Draw numbers between those that are given, or texts of their form."""
    if isinstance(given[0], str):
        return ["".join(_other(letter, draws) for letter in text) for text in given]
    if isinstance(given[0], bool):
        return [bool(each) for each in draws.integers(0, 2, len(given))]
    finite = [value for value in given if math.isfinite(value)] or [0]
    low, high, kind = min(finite), max(finite), type(given[0])
    if all(value == int(value) for value in finite) and low >= -(2**63) and high < 2**63:
        return [kind(each) for each in draws.integers(int(low), int(high), len(given), endpoint=True)]
    if kind is int:
        return [min(high, low + int(share * (high - low))) for share in draws.random(len(given)).tolist()]
    if math.isinf(high - low):
        return [low * (1 - share) + high * share for share in draws.random(len(given)).tolist()]
    return [float(each) for each in draws.uniform(low, high, len(given))]


def _dates(given: Sequence[str], draws: Draws) -> list[str]:
    """Draw dates between those that are given, whole days where they are."""
    moments = [datetime.fromisoformat(text) for text in given]
    low, seconds = min(moments), int((max(moments) - min(moments)).total_seconds())
    unit = 86_400 if all(each.time() == low.time() for each in moments) else 1
    later = (
        timedelta(seconds=unit * int(each)) for each in draws.integers(0, seconds // unit, len(given), endpoint=True)
    )
    form: Callable[[datetime], str] = datetime.isoformat if "T" in given[0] else lambda each: each.date().isoformat()
    return [form(low + each) for each in later]


def _other(letter: str, draws: Draws) -> str:
    if letter.isdigit():
        return str(draws.integers(0, 10))
    if not letter.isalpha():
        return letter
    drawn = LETTERS[draws.integers(0, len(LETTERS))]
    return drawn.upper() if letter.isupper() else drawn
