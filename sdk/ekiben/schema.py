"""The contract of a model's data: its columns, and what it gives."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from types import EllipsisType
from typing import Any, Literal, get_args

from ekiben import drawing
from ekiben.errors import SpecError, nearest
from ekiben.moments import moment

Kind = Literal["number", "integer", "boolean", "category", "text", "datetime", "list"]
Missing = Literal["nan", "none", "na", "nat"]
Items = Literal["number", "integer", "text", "date", "datetime", "timestamp"]
Unseen = Literal["accept", "refuse"]
Extra = Literal["refuse", "ignore"]
Change = Literal["free", "never", "up", "down"]
Task = Literal["classification", "regression", "clustering", "outliers", "ranking", "other"]
Part = Literal["label", "scores", "value"]
PARTS: tuple[Part, ...] = ("label", "scores", "value")
Label = str | int | float | bool
Bound = int | float | str  # a number, or a date as ISO 8601 text

MAX_CATEGORIES = 200  # more distinct texts than this are free text, not categories
CHANGES = {"never": "never changes", "up": "changes upward only", "down": "changes downward only"}
LIMITED = ("number", "integer", "datetime")  # the kinds that have an order


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
        Smallest and largest value seen, for description and never as a limit; a date is ISO 8601 text.
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
    declared: tuple[str, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether only the `categories` are taken."""
        return self.categories is not None and (self.unseen == "refuse" or self.kind == "category")

    @property
    def is_aware(self) -> bool:
        """Whether its dates carry an offset from UTC."""
        return self.kind == "datetime" and ("tz=" in self.dtype or ", " in self.dtype)

    def describe(self) -> str:
        """Say in a few words what the column holds."""
        parts: list[str] = [self.noun]
        if limited := between(self.minimum, self.maximum):
            parts.append(limited)
        if self.low is not None and self.high is not None:
            parts.append(f"seen {_short(self.low)} to {_short(self.high)}")
        if self.categories is not None:
            parts.append(listed(self.categories))
        if self.is_closed:
            parts.append("others are refused")
        if self.nullable:
            parts.append("may be missing")
        if self.change != "free":
            parts.append(CHANGES[self.change])
        return ", ".join(parts)

    @property
    def noun(self) -> str:
        """The kind, and of a list what it holds."""
        return f"list of {self.length} {self.items}s" if self.kind == "list" else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns of a table, in the order that the model takes them.

    `extra` says what happens to a column that is not among them: it is refused, or ignored.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False)
    >>> Schema(columns=(age,)).names
    ('age',)
    >>> print(Schema(columns=(age,)).edit("age", minimum=0, maximum=120))
    age  integer  int64  from 0 to 120
    """

    columns: tuple[Column, ...]
    extra: Extra = "refuse"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def labels(self) -> dict[str, str]:
        """How people call the columns of which that was declared."""
        return {column.name: column.label for column in self.columns if column.label is not None}

    @property
    def units(self) -> dict[str, str]:
        """What the columns' numbers are counted in, where that was declared."""
        return {column.name: column.unit for column in self.columns if column.unit is not None}

    @property
    def aliases(self) -> dict[str, str]:
        """For each alias the name that it stands for."""
        return {column.alias: column.name for column in self.columns if column.alias is not None}

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def edit(
        self,
        name: str,
        *,
        minimum: Bound | EllipsisType | None = ...,
        maximum: Bound | EllipsisType | None = ...,
        nullable: bool | EllipsisType = ...,
        unseen: Unseen | EllipsisType = ...,
        alias: str | EllipsisType | None = ...,
        label: str | EllipsisType | None = ...,
        unit: str | EllipsisType | None = ...,
        change: Change | EllipsisType = ...,
    ) -> Schema:
        """Declare something of one column, and give the contract that says so; what is left out stays.

        Parameters
        ----------
        name
            The column.
        minimum, maximum
            The smallest and largest value that is taken; None takes a limit away.
        nullable
            Whether a value may be missing.
        unseen
            Whether a text that was not seen is accepted or refused.
        alias
            Another name by which a row of JSON may bring the column; None takes it away.
        label, unit
            How people call the column, and what its numbers are counted in.
        change
            What a counterfactual may do to it: `free`, `never`, or only `up` or `down`.

        Raises
        ------
        SpecError
            If there is no such column, or it cannot hold to what is declared.

        Examples
        --------
        >>> age = Schema(columns=(Column(name="age", kind="integer", dtype="int64", nullable=False),))
        >>> age.edit("Age", minimum=0)
        Traceback (most recent call last):
        ...
        ekiben.errors.SpecError: The contract has no column 'Age'. Did you mean 'age'?
        """
        given = {"minimum": minimum, "maximum": maximum, "nullable": nullable, "unseen": unseen, "alias": alias}
        given |= {"label": label, "unit": unit}
        given |= {"change": change}
        changes = {key: value for key, value in given.items() if value is not ...}
        if name not in self.names:
            raise SpecError(f"The contract has no column {name!r}.{nearest(name, self.names)}")
        made = _declare(self[name], changes)
        _alias_is_free(made, [column for column in self.columns if column.name != name])
        return replace(self, columns=tuple(made if column.name == name else column for column in self.columns))

    def ignoring_extra(self) -> Schema:
        """Give the contract that ignores a column too many, instead of refusing it."""
        return replace(self, extra="ignore")

    def __str__(self) -> str:
        rows = [_cells(column) for column in self.columns]
        wide = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True) if width) for row in rows]
        return "\n".join([line.rstrip() for line in lines] + ["others are ignored"] * (self.extra == "ignore"))

    def _repr_html_(self) -> str:
        extra = f"Any other column is {'ignored' if self.extra == 'ignore' else 'refused'}."
        return drawing.table(f"{len(self.columns)} columns", extra, HEAD, [_cells(column) for column in self.columns])


HEAD = ("column", "alias", "kind", "dtype", "missing", "seen", "limits", "policy")


def _cells(column: Column) -> tuple[str, ...]:
    """Give what each column of a contract's table says of one column."""
    seen = (
        f"{_short(column.low)} to {_short(column.high)}" if column.low is not None and column.high is not None else ""
    )
    return (
        column.name,
        column.alias or "",
        column.noun,
        column.dtype,
        "may be missing" if column.nullable else "",
        listed(column.categories).removeprefix("one of ") if column.categories is not None else seen,
        ", ".join(filter(None, (between(column.minimum, column.maximum), CHANGES.get(column.change)))),
        "others are refused" if column.is_closed else "others are taken" if column.categories is not None else "",
    )


# ── what an author declares ─────────────────────────────────────────────────────────────────────────────────────


def _declare(column: Column, changes: Mapping[str, Any]) -> Column:
    made = replace(column, **changes, declared=tuple(sorted({*column.declared, *changes})))
    for side in ("minimum", "maximum"):
        _is_a_bound(made, side, getattr(made, side))
    if made.minimum is not None and made.maximum is not None and place(made.minimum) > place(made.maximum):
        raise SpecError(
            f"The 'minimum' of {made.name!r} must not lie above its 'maximum'. Got {made.minimum!r} and {made.maximum!r}."
        )
    if type(made.nullable) is not bool:
        raise SpecError(f"The 'nullable' of {made.name!r} must be True or False. Got {made.nullable!r}.")
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


def _alias_is_free(column: Column, others: Sequence[Column]) -> None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One thing that a model answers about a row: a label, a score a class, a value, or several of these.

    Parameters
    ----------
    name
        The target's name; empty for a model's only output.
    parts
        What is answered of `label`, `scores` and `value`.
    classes
        The labels, in the order of the scores; empty where nobody can list them.

    Examples
    --------
    >>> Output(parts=("label", "scores"), classes=("bad", "good")).columns
    ('label', 'score_bad', 'score_good')
    >>> Output(name="price", parts=("value",)).columns
    ('price',)
    """

    name: str = ""
    parts: tuple[Part, ...]
    classes: tuple[Label, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns of an answer's frame."""
        return tuple(column for part in self.parts for column in self.columns_of(part))

    def columns_of(self, part: Part) -> tuple[str, ...]:
        """Name the columns that hold one part; the label or value of a named output is under its name."""
        if part == "scores":
            prefix = f"{self.name}_" if self.name else ""
            return tuple(f"{prefix}score_{label}" for label in self.classes)
        if self.name and part == "value" and "label" in self.parts:
            return (f"{self.name}_value",)
        return (self.name or part,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and what it gives: the schema of its inputs, its task, and its outputs.

    Examples
    --------
    >>> labelled = Output(parts=("label",), classes=("bad", "good"))
    >>> Signature(inputs=Schema(columns=()), task="classification", outputs=(labelled,)).classes
    ('bad', 'good')
    """

    inputs: Schema
    task: Task
    outputs: tuple[Output, ...]

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels of a model with one output; empty for any other."""
        return self.outputs[0].classes if len(self.outputs) == 1 else ()


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


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────


def to_json(signature: Signature) -> dict[str, Any]:
    """Give the signature as plain JSON values."""
    outputs = [
        {"name": output.name, "parts": list(output.parts), "classes": list(output.classes)}
        for output in signature.outputs
    ]
    inputs = [column_to_json(column) for column in signature.inputs.columns]
    document = {"inputs": inputs, "task": signature.task, "outputs": outputs}
    return document if signature.inputs.extra == "refuse" else {**document, "extra": signature.inputs.extra}


def from_json(document: Mapping[str, Any]) -> Signature:
    """Read a signature back from `to_json`'s values, or from those of a package that had one output by its nature."""
    columns = tuple(column_from_json(entry) for entry in document["inputs"])
    inputs = Schema(columns=columns, extra=document.get("extra", "refuse"))
    outputs = _outputs(document["outputs"]) if "outputs" in document else (_the_only(document["classes"]),)
    return Signature(inputs=inputs, task=document["task"], outputs=outputs)


def _outputs(entries: Iterable[Mapping[str, Any]]) -> tuple[Output, ...]:
    return tuple(
        Output(name=entry["name"], parts=tuple(entry["parts"]), classes=tuple(entry["classes"])) for entry in entries
    )


def _the_only(classes: Sequence[Label]) -> Output:
    return Output(parts=("label", "scores"), classes=tuple(classes)) if classes else Output(parts=("value",))


ALWAYS = ("name", "kind", "dtype", "nullable", "missing", "unseen")  # in the JSON, whatever they are
LISTS = ("categories", "declared")


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
        return f"from {_short(minimum)} to {_short(maximum)}"
    if minimum is not None:
        return f"at least {_short(minimum)}"
    return f"at most {_short(maximum)}" if maximum is not None else ""


def _short(bound: Bound) -> str:
    return bound if isinstance(bound, str) else str(bound) if isinstance(bound, int) else f"{bound:.6g}"


def listed(labels: Sequence[Label], most: int = 6) -> str:
    """List the first few of some labels.

    >>> listed(["a", "b"])
    "one of 'a', 'b'"
    """
    shown = ", ".join(repr(label) for label in labels[:most])
    return f"one of {shown}" + (f" … ({len(labels)})" if len(labels) > most else "")
