"""The contract of a model's data: its columns, and what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Literal

from ekiben import drawing
from ekiben.errors import SpecError, nearest
from ekiben.schema.columns import (
    CHANGES,
    PRIVATE,
    Bound,
    Change,
    Column,
    Items,
    Kind,
    Label,
    Missing,
    Unseen,
    between,
    column_from_json,
    column_to_json,
    listed,
    place,
    short,
)
from ekiben.schema.declaring import MAX_CATEGORIES, alias_is_free, aliased, declare

__all__ = [
    "MAX_CATEGORIES",
    "PARTS",
    "Bound",
    "Change",
    "Column",
    "Extra",
    "Items",
    "Kind",
    "Label",
    "Missing",
    "Output",
    "Part",
    "Schema",
    "Signature",
    "Task",
    "Unseen",
    "aliased",
    "between",
    "column_from_json",
    "column_to_json",
    "from_json",
    "listed",
    "place",
    "to_json",
]

Extra = Literal["refuse", "ignore"]
Task = Literal["classification", "regression", "clustering", "outliers", "ranking", "other"]
Part = Literal["label", "scores", "value"]
PARTS: tuple[Part, ...] = ("label", "scores", "value")
HEAD = ("column", "alias", "kind", "dtype", "missing", "seen", "limits", "policy")


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
    def days(self) -> frozenset[str]:
        """The columns whose dates were whole days."""
        return frozenset(column.name for column in self.columns if column.is_days)

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
        private: bool | EllipsisType = ...,
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
        private
            Whether a service that records decisions keeps no value of it in clear, but a keyed hash; the rows that travel with a
            package hold made-up ones.

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
        given |= {"label": label, "unit": unit, "change": change, "private": private}
        changes = {key: value for key, value in given.items() if value is not ...}
        if name not in self.names:
            raise SpecError(f"The contract has no column {name!r}.{nearest(name, self.names)}")
        made = declare(self[name], changes)
        alias_is_free(made, [column for column in self.columns if column.name != name])
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


def _cells(column: Column) -> tuple[str, ...]:
    """Give what each column of a contract's table says of one column."""
    seen = f"{short(column.low)} to {short(column.high)}" if column.low is not None and column.high is not None else ""
    private = PRIVATE if column.private else ""
    return (
        column.name,
        column.alias or "",
        column.noun,
        column.dtype,
        "may be missing" if column.nullable else "",
        listed(column.categories).removeprefix("one of ") if column.categories is not None else seen,
        ", ".join(filter(None, (between(column.minimum, column.maximum), CHANGES.get(column.change), private))),
        "others are refused" if column.is_closed else "others are taken" if column.categories is not None else "",
    )


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
