"""What an author declares of a column, held against what the column can keep."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ekiben.errors import SpecError, nearest
from ekiben.moments import moment
from ekiben.schema.columns import Change, Column, place

MAX_CATEGORIES = 200  # more distinct texts than this are free text, not categories
LIMITED = ("number", "integer", "datetime")  # the kinds that have an order


def declare(column: Column, changes: Mapping[str, Any]) -> Column:
    """Give the column of which something more is declared, or refuse what it cannot keep."""
    made = replace(column, **changes, declared=tuple(sorted({*column.declared, *changes})))
    for side in ("minimum", "maximum"):
        _is_a_bound(made, side, getattr(made, side))
    if made.minimum is not None and made.maximum is not None and place(made.minimum) > place(made.maximum):
        raise SpecError(
            f"The 'minimum' of {made.name!r} must not lie above its 'maximum'. Got {made.minimum!r} and {made.maximum!r}."
        )
    for word in ("nullable", "private"):
        if type(getattr(made, word)) is not bool:
            raise SpecError(f"The {word!r} of {made.name!r} must be True or False. Got {getattr(made, word)!r}.")
    if "unseen" in changes:
        _is_a_policy(made)
    for word in ("label", "unit"):
        said = getattr(made, word)
        if said is not None and (type(said) is not str or not said.strip()):
            raise SpecError(f"The {word!r} of {made.name!r} must be a text. Got {said!r}.")
    if "change" in changes:
        _is_a_change(made)
    return made


def _is_a_bound(column: Column, side: str, bound: Any) -> None:
    if bound is None:
        return
    if column.kind not in LIMITED:
        raise SpecError(
            f"A {side!r} needs a column of numbers or dates. Got {bound!r} for {column.name!r}, a {column.noun}."
        )
    if column.kind == "datetime":
        found = moment(bound)
        if found is None or found.aware != column.is_aware:
            wanted = "2026-11-22T10:00:00Z, with its offset" if column.is_aware else "2026-11-22, without an offset"
            raise SpecError(f"The {side!r} of {column.name!r} must be a date such as {wanted}. Got {bound!r}.")
    elif type(bound) not in (int, float) or not math.isfinite(bound):
        raise SpecError(f"The {side!r} of {column.name!r} must be a finite number. Got {bound!r}.")


def _is_a_policy(column: Column) -> None:
    if column.unseen not in ("accept", "refuse"):
        raise SpecError(f"The 'unseen' of {column.name!r} must be 'accept' or 'refuse'. Got {column.unseen!r}.")
    if column.unseen == "accept" and (column.kind == "category" or column.dtype == "category"):
        raise SpecError(
            f"A category takes its own values alone. Got unseen='accept' for {column.name!r}. "
            f"Fit on texts to take others: X[{column.name!r}].astype(object)"
        )
    if column.categories is None:
        raise SpecError(
            f"An 'unseen' needs a column of at most {MAX_CATEGORIES} texts. Got {column.unseen!r} for {column.name!r}, "
            f"a {column.noun}{' of more' if column.kind == 'text' else ''}."
        )


def _is_a_change(column: Column) -> None:
    known = get_args(Change)
    if column.change not in known:
        words, hint = ", ".join(map(repr, known)), nearest(str(column.change), known)
        raise SpecError(f"The 'change' of {column.name!r} must be one of {words}. Got {column.change!r}.{hint}")
    ordered = column.kind in LIMITED or (column.kind == "category" and column.ordered)
    if column.change in ("up", "down") and not ordered:
        raise SpecError(
            f"A direction needs a column that has an order. Got {column.change!r} for {column.name!r}, a {column.noun}."
        )


def alias_is_free(column: Column, others: Sequence[Column]) -> None:
    """Refuse an alias that names another column."""
    if column.alias is None:
        return
    if type(column.alias) is not str or column.alias in ("", column.name):
        raise SpecError(f"The 'alias' of {column.name!r} must be another name. Got {column.alias!r}.")
    for other in others:
        if column.alias in (other.name, other.alias):
            raise SpecError(
                f"The 'alias' of {column.name!r} must be its own. Got {column.alias!r}, which names {other.name!r} already."
            )


def aliased(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Give an alias to each column that has none and whose name is no identifier, and a new one where two collide.

    >>> loan = Column(name="Loan amount (€)", kind="number", dtype="float64", nullable=False)
    >>> [column.alias for column in aliased([loan])]
    ['loan_amount']
    """
    taken = {column.name for column in columns}
    made = []
    for i, column in enumerate(columns):
        alias = column.alias
        if alias in taken or (alias is None and not column.name.isidentifier()):
            alias = _free(_identifier(column.name) or f"column_{i}", taken)
        taken |= {alias} if alias is not None else set()
        made.append(replace(column, alias=alias))
    return tuple(made)


def _identifier(name: str) -> str:
    """Spell a name as an identifier: `Loan amount (€)` is `loan_amount`."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    spelt = re.sub(r"\W+", "_", plain).strip("_")
    return f"column_{spelt}" if spelt[:1].isdigit() else spelt


def _free(alias: str, taken: Container[str]) -> str:
    """Count up until no other column has the alias."""
    if alias not in taken:
        return alias
    return next(f"{alias}_{i}" for i in itertools.count(2) if f"{alias}_{i}" not in taken)
