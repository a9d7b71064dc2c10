"""The ladder: which explanation a budget allows, chosen before anything is begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from ekiben.explainers import is_exact
from ekiben.explaining.messages import Known
from ekiben.explanations.reasons import english

Rung: TypeAlias = Literal["exact", "sampled", "cached", "later"]
RUNGS: tuple[Rung, ...] = ("exact", "sampled", "cached", "later")
SAMPLING = "sampling"
FITS: dict[Rung, str] = {"exact": "exact", "sampled": "fits"}
SLACK = 1.25  # what was measured in quiet takes longer in traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A rung, the method that stands on it, and why it was chosen."""

    rung: Rung
    method: str
    why: str


def choose(
    *,
    packed: str,
    wished: str | None,
    known: Callable[[str], Known | None],
    n_rows: int,
    left_ms: float,
    waits_ms: float = 0.0,
    is_warm: bool = True,
) -> Choice:
    """Choose by what was measured; a method that a caller names is never replaced by another.

    Parameters
    ----------
    packed, wished
        The method of the package, and the one that was asked for by name.
    known
        What was found of a method; None while nothing was.
    n_rows
        How many rows are explained.
    left_ms, waits_ms
        How long the caller waits, and how long others are before it, in milliseconds.
    is_warm
        Whether there is a process that others are before; otherwise one is on its way, and is waited for.

    Examples
    --------
    >>> slow = {"trees": Known(ms=900, exact=True), "sampling": Known(ms=30, draws=True)}
    >>> choose(packed="trees", wished=None, known=slow.get, n_rows=1, left_ms=80).rung
    'sampled'
    >>> choose(packed="trees", wished="trees", known=slow.get, n_rows=1, left_ms=80).rung
    'later'
    """
    method = wished or packed
    found = known(method) or Known(exact=is_exact(method), draws=method == SAMPLING)
    needs_ms = waits_ms + SLACK * n_rows * found.ms
    if left_ms <= 0:
        return Choice(rung="later", method=method, why=english("why", "unawaited"))
    if needs_ms <= left_ms:
        rung: Rung = "exact" if found.exact else "sampled"
        return Choice(rung=rung, method=method, why=said(method, "draws" if found.draws else FITS[rung]))
    if not is_warm:
        return Choice(rung="later", method=method, why=english("why", "starting"))
    short = english("why", "short", method=repr(method), needs=f"{needs_ms:.0f}", left=f"{left_ms:.0f}")
    other = known(SAMPLING)
    if found.exact and wished is None and other is not None and waits_ms + SLACK * n_rows * other.ms <= left_ms:
        return Choice(rung="sampled", method=SAMPLING, why=f"{short}; {said(SAMPLING, 'other')}")
    return Choice(rung="later", method=method, why=short)


@cache
def said(method: str, name: str) -> str:
    """Say something of a method.

    >>> said("sampling", "other")
    "'sampling' fits"
    """
    return english("why", name, method=repr(method))
