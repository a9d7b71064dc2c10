"""One column of a contract, and the words that say what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ekiben.moments import moment

Kind = Literal["number", "integer", "boolean", "category", "text", "datetime", "list"]
Missing = Literal["nan", "none", "na", "nat"]
Items = Literal["number", "integer", "text", "date", "datetime", "timestamp"]
Unseen = Literal["accept", "refuse"]
Change = Literal["free", "never", "up", "down"]
Label = str | int | float | bool
Bound = int | float | str  # a number, or a date as ISO 8601 text

PRIVATE = "never recorded in clear"
CHANGES = {"never": "never changes", "up": "changes upward only", "down": "changes downward only"}
ALWAYS = ("name", "kind", "dtype", "nullable", "missing", "unseen")  # in the JSON, whatever they are
LISTS = ("categories", "declared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the contract: what the reference data showed, and what its author declared.

    Parameters
    ----------
    name
        The column's own name, as in the frame.
    kind
        What a value is: `number`, `integer`, `boolean`, `category`, `text`, `datetime` or `list`.
    dtype
        The pandas dtype that the model was fitted on; a table is brought back to it.
    nullable
        Whether a value may be missing: one was in the reference, or the model answers without it.
    missing
        How the model knows a missing value: NaN, None, NaT or `pandas.NA`.
    low, high
        Smallest and largest value seen, for description and never as a limit; a date is ISO 8601 text, without a time where all
        of the column were whole days.
    categories
        The distinct texts seen, sorted, when there are at most 200 of them; of a category all of them, in their order.
    unseen
        Whether a text outside `categories` is accepted or refused; the model itself was asked.
    ordered, categories_dtype
        Of a category: whether its order means something, and the dtype of its categories where that is not object.
    length, items, holder
        Of a list: how many items it has, of which kind, and what holds them in the frame: `list`, `tuple`, or the dtype
        of an array. Of dates that are Python's own objects `items` says which.
    minimum, maximum
        What the author declared as a limit: a value beyond it is refused.
    alias
        Another name by which a row of JSON may bring the column, for a name that no program can spell.
    label, unit
        How people call the column, and what its numbers are counted in, as reasons say it: "Annual income", "EUR".
    change
        What a counterfactual may do to it: anything (`free`), nothing (`never`), or only raise (`up`) or lower (`down`) it.
    private
        Whether its values are never recorded in clear: a keyed hash is, or nothing where the spec drops the column. Rows that
        travel with a package hold made-up ones.
    declared
        Which of these the author declared.

    Examples
    --------
    >>> Column(name="age", kind="integer", dtype="int64", nullable=False, low=18, high=68).describe()
    'integer, seen 18 to 68'
    """

    name: str
    kind: Kind
    dtype: str
    nullable: bool
    missing: Missing = "nan"
    low: float | str | None = None
    high: float | str | None = None
    categories: tuple[str | int, ...] | None = None
    unseen: Unseen = "accept"
    ordered: bool = False
    categories_dtype: str | None = None
    length: int | None = None
    items: Items | None = None
    holder: str | None = None
    minimum: Bound | None = None
    maximum: Bound | None = None
    alias: str | None = None
    label: str | None = None
    unit: str | None = None
    change: Change = "free"
    private: bool = False
    declared: tuple[str, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether only the `categories` are taken."""
        return self.categories is not None and (self.unseen == "refuse" or self.kind == "category")

    @property
    def is_aware(self) -> bool:
        """Whether its dates carry an offset from UTC."""
        return self.kind == "datetime" and ("tz=" in self.dtype or ", " in self.dtype)

    @property
    def is_days(self) -> bool:
        """Whether all of its dates were whole days."""
        ends = [end for end in (self.low, self.high) if isinstance(end, str)]
        return self.kind == "datetime" and bool(ends) and not any("T" in end for end in ends)

    def describe(self) -> str:
        """Say in a few words what the column holds."""
        parts: list[str] = [self.noun]
        if limited := between(self.minimum, self.maximum):
            parts.append(limited)
        if self.low is not None and self.high is not None:
            parts.append(f"seen {short(self.low)} to {short(self.high)}")
        if self.categories is not None:
            parts.append(listed(self.categories))
        if self.is_closed:
            parts.append("others are refused")
        if self.nullable:
            parts.append("may be missing")
        if self.change != "free":
            parts.append(CHANGES[self.change])
        if self.private:
            parts.append(PRIVATE)
        return ", ".join(parts)

    @property
    def noun(self) -> str:
        """The kind, and of a list what it holds."""
        return f"list of {self.length} {self.items}s" if self.kind == "list" else self.kind


def column_to_json(column: Column) -> dict[str, Any]:
    """Give a column as plain JSON values, without what it does not say."""
    usual = {field.name: field.default for field in fields(column)}
    said = {key: value for key, value in asdict(column).items() if key in ALWAYS or value != usual[key]}
    return {key: list(value) if key in LISTS else value for key, value in said.items()}


def column_from_json(entry: Mapping[str, Any]) -> Column:
    """Read a column back from `column_to_json`'s values."""
    said: dict[str, Any] = {key: tuple(value) if key in LISTS else value for key, value in entry.items()}
    return Column(**said)


def between(minimum: Bound | None, maximum: Bound | None) -> str:
    """Say a declared range in words; nothing when none is declared.

    >>> between(0, 120), between(None, 120)
    ('from 0 to 120', 'at most 120')
    """
    if minimum is not None and maximum is not None:
        return f"from {short(minimum)} to {short(maximum)}"
    if minimum is not None:
        return f"at least {short(minimum)}"
    return f"at most {short(maximum)}" if maximum is not None else ""


def listed(labels: Sequence[Label], most: int = 6) -> str:
    """List the first few of some labels.

    >>> listed(["a", "b"])
    "one of 'a', 'b'"
    """
    shown = ", ".join(repr(label) for label in labels[:most])
    return f"one of {shown}" + (f" … ({len(labels)})" if len(labels) > most else "")


def short(bound: Bound) -> str:
    """Say a number in a few digits."""
    return bound if isinstance(bound, str) else str(bound) if isinstance(bound, int) else f"{bound:.6g}"


def place(bound: Bound) -> float:
    """Give where a bound lies: a number itself, a date as nanoseconds.

    >>> place(18), place("1970-01-02")
    (18, 86400000000000)
    """
    if not isinstance(bound, str):
        return bound
    found = moment(bound)
    assert found is not None
    return found.ns
