"""Two contracts side by side: what changed between them, and what both take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from ekiben import drawing
from ekiben.errors import SpecError
from ekiben.moments import iso
from ekiben.schema import Bound, Column, Label, Schema, aliased, between, listed, place
from ekiben.values import bounds, item_column, limits, misfit, span

Verdict = Literal["same", "widening", "breaking"]
NUMBERS = ("number", "integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that two contracts say differently.

    Parameters
    ----------
    column
        The column's name; None for what is said of the whole row.
    what
        `column`, `kind`, `values`, `limits`, `precision`, `offset`, `length`, `nullable`, `alias` or `extra`.
    old, new
        What each says.
    verdict
        `breaking` when a row that the old one takes is refused by the new one, otherwise `widening`.
    sentence
        The same for a reader.
    """

    column: str | None
    what: str
    old: str
    new: str
    verdict: Literal["widening", "breaking"]
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Change:
    """What became of a contract."""

    differences: tuple[Difference, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """`breaking` when some row that the old contract takes is refused by the new one, `same` when nothing changed."""
        found = {difference.verdict for difference in self.differences}
        return "breaking" if "breaking" in found else "widening" if found else "same"

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {difference}" for difference in self.differences)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = ("column", "what", "old", "new", "verdict", "")
        rows = [(d.column or "", d.what, d.old, d.new, d.verdict, d.sentence) for d in self.differences]
        return drawing.table(self.verdict, "the new contract beside the old", head, rows)


def compare(old: Schema, new: Schema) -> Change:
    """Tell whether every row that the old contract takes is taken by the new one too.

    What was seen (ranges, texts that are no limit) never matters.

    Parameters
    ----------
    old, new
        Two contracts, as `package.schema` or `ek.contract` gives them.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False)
    >>> print(compare(Schema(columns=(age,)), Schema(columns=(age,)).edit("age", minimum=18)))
    breaking
      breaking: 'age' takes at least 18 now, and took any int64.
    """
    found = [_removed(column, new) for column in old.columns if column.name not in new.names]
    found += [_added(column) for column in new.columns if column.name not in old.names]
    for column in old.columns:
        if column.name in new.names:
            found += _of_column(column, new[column.name])
            found += _of_alias(column, new[column.name], old)
    return Change(differences=(*found, *_of_extra(old, new)))


def _removed(column: Column, new: Schema) -> Difference:
    ignored = new.extra == "ignore" and not {column.name, column.alias} & set(new.aliases)
    says = "is ignored" if ignored else "is refused"
    return _difference(column, "column", column.noun, "", f"is gone: a row with it {says}", breaks=not ignored)


def _added(column: Column) -> Difference:
    return _difference(column, "column", "", column.noun, "is new: a row without it is refused", breaks=True)


def _of_extra(old: Schema, new: Schema) -> Iterator[Difference]:
    if old.extra != new.extra:
        verdict: Literal["widening", "breaking"] = "breaking" if new.extra == "refuse" else "widening"
        done = {"refuse": "refused", "ignore": "ignored"}
        sentence = f"A column too many is {done[new.extra]} now, and was {done[old.extra]}."
        yield Difference(column=None, what="extra", old=old.extra, new=new.extra, verdict=verdict, sentence=sentence)


def _of_alias(a: Column, b: Column, old: Schema) -> Iterator[Difference]:
    if a.alias != b.alias:
        breaks = a.alias is not None or old.extra == "ignore"  # what was ignored beside the name now comes twice
        says = f"may be sent as {b.alias!r}" if b.alias else "has no alias"
        was = f"was {a.alias!r}" if a.alias else "had none"
        yield _difference(a, "alias", a.alias or "", b.alias or "", f"{says} now, and {was}", breaks=breaks)


def _of_column(a: Column, b: Column) -> Iterator[Difference]:
    yield from _of_values(a, b)
    if a.nullable != b.nullable:
        words = "may be missing" if b.nullable else "must be sent with a value"
        old, new = (("may be missing" if one.nullable else "never missing") for one in (a, b))
        yield _difference(a, "nullable", old, new, f"{words} now", breaks=a.nullable)


def _of_values(a: Column, b: Column) -> Iterator[Difference]:
    """Compare what both take beside a missing value."""
    finite = _finite(a)
    if finite is not None:
        yield from _of_finite(a, b, finite)
    elif _finite(b) is not None:
        says = f"takes only {listed(_finite(b) or ())} now, and took any {a.noun}"
        yield _difference(a, "values", a.noun, b.noun, says, breaks=True)
    elif a.kind == b.kind == "list":
        yield from _of_lists(a, b)
    elif a.kind == b.kind == "datetime":
        yield from _of_dates(a, b)
    elif a.kind in NUMBERS and b.kind in NUMBERS:
        yield from _of_kind(a, b)
        yield from _of_bounds(a, b)
    elif a.kind != b.kind:
        yield from _of_kind(a, b)


def _finite(column: Column) -> tuple[Label, ...] | None:
    """Give every value that a column takes, where they can be listed."""
    if column.is_closed:
        return column.categories
    return (True, False) if column.kind == "boolean" else None


def _of_finite(a: Column, b: Column, taken: tuple[Label, ...]) -> Iterator[Difference]:
    refused = tuple(value for value in taken if not _takes(b, value))
    known = _finite(b)
    more = known is None or not set(known) <= set(taken)
    old, new = (one.noun if _finite(one) is None else listed(_finite(one) or ()) for one in (a, b))
    if refused:
        yield _difference(a, "values", old, new, f"no longer takes {listed(refused)}", breaks=True)
    elif more:
        says = f"takes any {b.noun} now" if known is None else "takes more values now"
        yield _difference(a, "values", old, new, says, breaks=False)


def _takes(column: Column, value: Any) -> bool:
    return misfit(column, value) is None


def _of_kind(a: Column, b: Column) -> Iterator[Difference]:
    if a.kind != b.kind:
        widens = (a.kind, b.kind) == ("integer", "number")
        yield _difference(a, "kind", a.noun, b.noun, f"is {b.noun} now, and was {a.noun}", breaks=not widens)


def _of_bounds(a: Column, b: Column) -> Iterator[Difference]:
    (low, high), (lowest, highest) = bounds(a), bounds(b)
    if (low, high) != (lowest, highest):
        says = f"takes {_range(b)} now, and took {_range(a)}"
        yield _difference(a, "limits", _range(a), _range(b), says, breaks=lowest > low or highest < high)


def _range(column: Column) -> str:
    return between(column.minimum, column.maximum) or f"any {column.dtype}"


def _of_dates(a: Column, b: Column) -> Iterator[Difference]:
    if a.is_aware != b.is_aware:
        old, new = ("with an offset" if one.is_aware else "without an offset" for one in (a, b))
        yield _difference(a, "offset", old, new, f"takes dates {new} now, and took them {old}", breaks=True)
        return
    yield from _of_bounds(a, b)
    before, after = span(a)[2], span(b)[2]
    if before != after:
        says = f"is {'coarser' if after > before else 'finer'} now: {b.items or b.dtype}, and was {a.items or a.dtype}"
        yield _difference(a, "precision", a.items or a.dtype, b.items or b.dtype, says, breaks=after > before)


def _of_lists(a: Column, b: Column) -> Iterator[Difference]:
    if a.length != b.length:
        says = f"must have {b.length} items now, and had {a.length}"
        yield _difference(a, "length", str(a.length), str(b.length), says, breaks=True)
    yield from (replace(each, column=a.name) for each in _of_values(_item(a), _item(b)))


def _item(column: Column) -> Column:
    return item_column(f"each item of {column.name}", str(column.items), str(column.holder))


def _difference(column: Column, what: str, old: str, new: str, says: str, *, breaks: bool) -> Difference:
    return Difference(
        column=column.name,
        what=what,
        old=old,
        new=new,
        verdict="breaking" if breaks else "widening",
        sentence=f"{column.name!r} {says}.",
    )


# ── what both take ──────────────────────────────────────────────────────────────────────────────────────────────


def union(first: Schema, second: Schema) -> Schema:
    """Join the contracts of two arms of one service: every column of either, and of a column what both take.

    A column that one arm takes must be sent whenever that arm may answer, and so always.

    Raises
    ------
    SpecError
        If the arms contradict each other: no value of a column fits both, with every such column.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=True)
    >>> job = Column(name="job", kind="text", dtype="object", nullable=False)
    >>> union(Schema(columns=(age,)), Schema(columns=(job, age))).names
    ('age', 'job')
    """
    columns, faults = [], []
    for column in (*first.columns, *(column for column in second.columns if column.name not in first.names)):
        arms = [arm[column.name] for arm in (first, second) if column.name in arm.names]
        try:
            columns.append(column if len(arms) == 1 else _join(*arms))
        except SpecError as reason:
            faults.append(str(reason))
    if faults:
        raise SpecError(
            f"The arms of one service must take values in common. Got a contradiction: {'; '.join(faults)}. "
            "Serve them apart, or fit them on columns of one kind."
        )
    return Schema(columns=aliased(columns), extra=first.extra if first.extra == second.extra else "refuse")


def takers(arms: dict[str, Schema]) -> dict[str, tuple[str, ...]]:
    """Tell for each column that not every arm takes which arms take it.

    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=True)
    >>> takers({"champion": Schema(columns=()), "challenger": Schema(columns=(age,))})
    {'age': ('challenger',)}
    """
    names = dict.fromkeys(name for schema in arms.values() for name in schema.names)
    found = {name: tuple(arm for arm, schema in arms.items() if name in schema.names) for name in names}
    return {name: those for name, those in found.items() if len(those) < len(arms)}


def _join(a: Column, b: Column) -> Column:
    """Promise what both arms can take, and describe what either has seen."""
    joined = _join_values(a, b)
    return replace(
        joined,
        nullable=a.nullable and b.nullable,
        low=_outer(a.low, b.low, min),
        high=_outer(a.high, b.high, max),
        alias=a.alias or b.alias,
        label=a.label or b.label,
        unit=a.unit if a.unit == b.unit else None,
        change=a.change if a.change == b.change else "free",
        private=a.private or b.private,
        declared=(),
    )


def _outer(a: Bound | None, b: Bound | None, pick: Any) -> Any:
    return pick(a, b, key=place) if a is not None and b is not None and type(a) is type(b) else None


def _join_values(a: Column, b: Column) -> Column:
    if a.is_closed or b.is_closed:
        return _join_closed(*((a, b) if a.is_closed else (b, a)))
    if a.kind == b.kind == "text":
        seen = set(a.categories or ()) | set(b.categories or ())
        known = a.categories is not None and b.categories is not None
        return replace(a, categories=tuple(sorted(map(str, seen))) if known else None)
    if a.kind == b.kind == "boolean":
        return a
    if a.kind in NUMBERS and b.kind in NUMBERS:
        return _join_bounds(
            replace(_narrower(a, b), kind="integer" if "integer" in (a.kind, b.kind) else "number"), a, b
        )
    if a.kind == b.kind == "datetime" and a.is_aware == b.is_aware:
        return _join_bounds(max(a, b, key=lambda column: span(column)[2]), a, b)
    if a.kind == b.kind == "list" and a.length == b.length:
        return _join_lists(a, b)
    raise _contradiction(a, b)


def _join_closed(closed: Column, other: Column) -> Column:
    taken = [value for value in closed.categories or () if _takes(other, value)]
    if not taken:
        raise SpecError(f"{closed.name!r} has no value in common")
    return replace(closed, categories=tuple(taken), unseen="refuse")


def _join_bounds(joined: Column, a: Column, b: Column) -> Column:
    """Keep to the limits of both; what the dtype says anyhow is not declared again."""
    low, high = (pick(side) for pick, side in zip((max, min), zip(bounds(a), bounds(b), strict=True), strict=True))
    if low > high:
        raise _contradiction(a, b)
    said = replace(joined, minimum=None, maximum=None)
    lowest, highest = bounds(said)
    return replace(said, minimum=_bound(said, low, lowest), maximum=_bound(said, high, highest))


def _bound(column: Column, wanted: float, own: float) -> Bound | None:
    if wanted == own:
        return None
    return iso(int(wanted), aware=column.is_aware) if column.kind == "datetime" else wanted


def _narrower(a: Column, b: Column) -> Column:
    """Give the column whose numbers fit the other's dtype too, or else the first."""
    (low, high), (lowest, highest) = limits(a.dtype), limits(b.dtype)
    return b if low <= lowest and highest <= high else a


def _join_lists(a: Column, b: Column) -> Column:
    try:
        item = _join_values(_item(a), _item(b))
    except SpecError:
        raise _contradiction(a, b) from None
    base = a if item.dtype == _item(a).dtype else b
    if item.minimum is not None or item.maximum is not None:
        raise _contradiction(a, b)
    return replace(base, items=item.kind)  # type: ignore[arg-type]


def _contradiction(a: Column, b: Column) -> SpecError:
    said = [column.noun if a.noun != b.noun else column.dtype for column in (a, b)]
    return SpecError(f"{a.name!r} is {said[0]} for one and {said[1]} for the other")
