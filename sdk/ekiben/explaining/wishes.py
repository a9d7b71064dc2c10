"""What a caller wants of an explanation: the query of `/explain`."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ekiben.errors import SpecError, nearest
from ekiben.explainers import UNITS, takes_units
from ekiben.protocol import names_in

KNOWN = ("method", "units", "columns", "top", "seed", "wait")
LONGEST = 8192  # bytes of a query
MOST_SEED = 2**63 - 1
LONGEST_S = 86_400
ELSEWHERE = "EKIBEN_EXPLAINER_URL"  # where another service explains the same arms by other methods
# Methods that tell the few columns that matter, whatever is wished.
WHOLE = ("anchor", "anchor-alibi", "counterfactual")
OTHER = ("other", "other columns", "all other columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted beyond the rows.

    Parameters
    ----------
    method
        By which method; None for the packed one.
    units
        On which scale; None for that of the method.
    columns, top
        Which columns to tell, and how many of the strongest; what the others add is told as one number. Of a rule
        everything is told.
    seed
        Seeds the methods that draw.
    wait_s
        How many seconds the caller waits; None for as long as the spec says.
    """

    method: str | None = None
    units: str | None = None
    columns: tuple[str, ...] = ()
    top: int | None = None
    seed: int = 0
    wait_s: float | None = None


PLAIN = Wish()


def read(query: str) -> Wish:
    """Read the query of a request.

    Raises
    ------
    SpecError
        If it asks for what cannot be; no value is repeated.

    Examples
    --------
    >>> read("top=3&wait=0.2")
    Wish(method=None, units=None, columns=(), top=3, seed=0, wait_s=0.2)
    """
    if not query:
        return PLAIN
    if len(query) > LONGEST:
        raise SpecError(f"A query may hold {LONGEST:,} bytes. Got more.")
    found = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in found]
    if unknown := [name for name in names if name not in KNOWN]:
        hint = nearest(unknown[0], KNOWN)
        raise SpecError(f"A query of /explain may hold {', '.join(KNOWN)}. Got something else.{hint}")
    if len({*names}) < len(names):
        raise SpecError("A query of /explain must name each thing once. Got one twice.")
    told = dict(found)
    columns = names_in(told.get("columns", ""))
    if len({*columns}) < len(columns) or "" in columns or ("columns" in told and not columns):
        raise SpecError(
            "`columns` must name each column once, with commas between, and in quotation marks where its name holds one: "
            '?columns=age,"town, street". Got something else.'
        )
    return Wish(
        method=told.get("method"),
        units=_units(told["units"]) if "units" in told else None,
        columns=columns,
        top=_whole("top", told["top"], 1, 10_000) if "top" in told else None,
        seed=_whole("seed", told["seed"], 0, MOST_SEED) if "seed" in told else 0,
        wait_s=_seconds(told["wait"]) if "wait" in told else None,
    )


def elsewhere() -> str | None:
    """Read from the environment where a second service explains the same arms by other methods; None where there is none.

    Raises
    ------
    SpecError
        If it is no address.
    """
    told = os.environ.get(ELSEWHERE)
    if not told:
        return None
    try:
        found = urlsplit(told)
        is_address = found.scheme in ("http", "https") and bool(found.hostname) and "@" not in found.netloc
    except ValueError:
        is_address = False
    if not is_address:
        raise SpecError(
            f"{ELSEWHERE} must be an address without a password, such as http://churn-alibi. Got something else."
        )
    return told


def checked(
    wish: Wish, packed: str, others: Collection[str], columns: Collection[str], scales: Collection[str] = UNITS
) -> Wish:
    """See that a service has what is wanted; `scales` are those of the model's answers.

    Raises
    ------
    SpecError
        If it does not offer the method, or the contract has no such column, or the model no such scale; where another service
        explains by other methods, with its address.
    """
    allowed = list(dict.fromkeys((packed, *others)))
    if wish.method is not None and wish.method not in allowed:
        says = f"`method` must be one that this service offers: {', '.join(allowed)}. Got another."
        there = elsewhere()
        asks = f" Other methods are asked at {there}." if there else ""
        raise SpecError(f"{says}{nearest(wish.method, allowed)}{asks}")
    known = {*columns}
    if unknown := [name for name in wish.columns if name not in known]:
        hint = nearest(unknown[0], columns)
        are = "is" if len(unknown) == 1 else "are"
        raise SpecError(f"`columns` must be columns of the contract. {len(unknown)} of them {are} none.{hint}")
    if wish.units is not None and wish.units not in scales:
        raise SpecError(f"`units` must be a scale of this model's answers: {', '.join(scales)}. Got another.")
    if wish.units is not None and wish.method not in (None, packed) and not takes_units(wish.method):
        raise SpecError(
            "`method` must be one that explains on the scale of `units`. This one knows none. Leave one of the two out."
        )
    return wish


def n_told(wish: Wish, method: str, columns: Collection[str]) -> int:
    """Count the columns that an explanation tells at most; 0 where that is for the method to say.

    >>> n_told(Wish(top=3), "linear", ["a", "b", "c", "d"]), n_told(Wish(top=3), "examples", ["a", "b", "c", "d"])
    (3, 4)
    """
    if method in WHOLE:
        return 0
    if method == "examples":  # shows rows
        return len(columns)
    return min(len(wish.columns) or len(columns), wish.top or len(columns))


def told(explanation: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    """Leave of an explanation what is wanted; what is left out is told as one number, so that all still add up.

    The error of that number is not above the sum of the errors.

    >>> one = {"contributions": {"a": 3.0, "b": -1.0, "c": 0.5}, "standard_errors": None}
    >>> told(one, Wish(top=1))["contributions"]
    {'a': 3.0, 'other': -0.5}
    """
    parts = explanation.get("contributions")
    if parts is None or (not wish.columns and wish.top is None):
        return dict(explanation)
    wanted = {*wish.columns}
    names = [name for name in parts if name in wanted] if wanted else list(parts)
    if wish.top is not None:
        names = sorted(names, key=lambda name: -abs(parts[name]))[: wish.top]
    made = {**explanation, "contributions": _folded(parts, names)}
    errors = explanation.get("standard_errors")
    return made | ({"standard_errors": _folded(errors, names)} if errors else {})


def _folded(parts: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    kept = {name: parts[name] for name in names}
    rest = [amount for name, amount in parts.items() if name not in kept]
    return kept | ({_name_of_rest(parts): math.fsum(rest)} if rest else {})


def _name_of_rest(parts: Collection[str]) -> str:
    """Give what all other columns are called together: a name that no column has."""
    names = chain(OTHER, (f"{OTHER[-1]} ({n})" for n in count(2)))
    return next(name for name in names if name not in parts)


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise SpecError(f"`{name}` must be a whole number from {least} to {most:,}. Got something else.")
    return int(text)


def _units(text: str) -> str:
    if text not in UNITS:
        raise SpecError(f"`units` must be one of {', '.join(UNITS)}. Got something else.{nearest(text, UNITS)}")
    return text


def _seconds(text: str) -> float:
    try:
        found = float(text) if len(text) < 40 else math.nan
    except ValueError:
        found = math.nan
    if not 0 <= found <= LONGEST_S:
        raise SpecError(f"`wait` must be a number of seconds from 0 to {LONGEST_S:,}. Got something else.")
    return found
