"""The contract of a model's data: columns, and whether a value fits."""

from __future__ import annotations

import math
import numbers
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from ekiben.errors import Fault, SpecError

Kind = Literal["number", "integer", "boolean", "text"]
Missing = Literal["nan", "none", "na"]
Task = Literal["classification", "regression", "clustering", "outliers", "ranking", "other"]
Part = Literal["label", "scores", "value"]
PARTS: tuple[Part, ...] = ("label", "scores", "value")
Label = str | int | float | bool

MAX_CATEGORIES = 200  # more distinct texts than this are free text, not categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the contract, as the reference data showed it.

    Parameters
    ----------
    name
        The column's own name, as in the frame.
    kind
        What a value is: `number`, `integer`, `boolean` or `text`.
    dtype
        The pandas dtype that the model was fitted on; a table is brought back to it.
    nullable
        Whether a value may be missing: one was in the reference, or the model answers without it.
    missing
        How the model knows a missing value: NaN, None or `pandas.NA`.
    low, high
        Smallest and largest value seen, for description and never as a limit.
    categories
        The distinct texts seen, sorted, when there are at most 200 of them.
    unseen
        Whether a text outside `categories` is accepted or refused; the model itself was asked.

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
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    unseen: Literal["accept", "refuse"] = "accept"

    def describe(self) -> str:
        """Say in a few words what the column holds."""
        parts: list[str] = [self.kind]
        if self.low is not None and self.high is not None:
            parts.append(f"seen {_short(self.low)} to {_short(self.high)}")
        if self.categories is not None:
            parts.append(_listed(self.categories))
        if self.categories is not None and self.unseen == "refuse":
            parts.append("others are refused")
        if self.nullable:
            parts.append("may be missing")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns of a table, in the order that the model takes them.

    Examples
    --------
    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False)
    >>> Schema(columns=(age,)).names
    ('age',)
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


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


# ── does a value fit? ───────────────────────────────────────────────────────────────────────────────────────────


def missing_column(column: Column, *, row: int | None = None, hint: str = "") -> Fault:
    """Say that a whole column, or one row's value of it, was not sent."""
    where = "" if row is None else f" in row {row}"
    message = f"The column {column.name!r} is missing{where}.{hint}"
    return Fault(message=message, column=column.name, row=row, expected=column.kind, got="nothing")


def value_faults(column: Column, values: Iterable[tuple[int, Any]]) -> list[Fault]:
    """Look at each value of one column, with its row, and tell which do not fit; no value is repeated."""
    faults = []
    for row, value in values:
        got = _misfit(column, value)
        if got is not None:
            expected = _expected(column)
            message = f"The column {column.name!r} must hold {expected}. Got {got} in row {row}."
            faults.append(Fault(message=message, column=column.name, row=row, expected=expected, got=got))
    return faults


def _expected(column: Column) -> str:
    if column.kind == "text" and column.unseen == "refuse" and column.categories is not None:
        return _listed(column.categories)
    noun = {"number": "a finite number", "integer": "an integer", "boolean": "true or false", "text": "a text"}
    return noun[column.kind] + (" or null" if column.nullable else "")


def _misfit(column: Column, value: Any) -> str | None:
    """Name what came instead of a fitting value; None when it fits."""
    if is_missing(value):
        return None if column.nullable else "a missing value"
    if column.kind == "boolean":
        return None if _named(value) == "a boolean" else _named(value)
    if column.kind == "text":
        return _text_misfit(column, value)
    if _named(value) not in ("an integer", "a number"):
        return _named(value)
    low, high = limits(column.dtype)
    if not low <= value <= high or not math.isfinite(value):  # an int is compared exactly, however large
        return "a number out of range"
    return "a number with a fraction" if column.kind == "integer" and value != int(value) else None


@cache
def limits(dtype: str) -> tuple[float, float]:
    """Give the smallest and largest number that a dtype can hold."""
    name = dtype.lower()
    bits = int(re.sub(r"\D", "", name) or 64)
    if name.startswith("uint"):
        return 0, 2**bits - 1
    if name.startswith("int"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = {16: 65504.0, 32: 3.4028234663852886e38}.get(bits, sys.float_info.max)
    return -largest, largest


def _text_misfit(column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        return _named(value)
    if column.unseen == "refuse" and column.categories is not None and value not in column.categories:
        return "another text"
    return None if _is_unicode(value) else "a text with half a surrogate pair"


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Tell whether one value is missing: None, NaN, NaT or `pandas.NA`.

    >>> is_missing(float("nan")), is_missing(None), is_missing(0.0)
    (True, True, False)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if type(value) in (float, int, str, bool):
        return bool(value != value)
    return isinstance(value, numbers.Real) and bool(value != value)  # numpy's scalars are no floats


def _named(value: Any) -> str:
    """Name the type of a value as its sender would, numpy's scalars among them."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a text", dict: "an object", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


# ── contracts side by side ──────────────────────────────────────────────────────────────────────────────────────


def union(first: Schema, second: Schema) -> Schema:
    """Join the contracts of two arms of one service: the same columns, what either has seen.

    Raises
    ------
    SpecError
        If the arms take different columns or kinds, with every difference.
    """
    faults = [f"only one of them takes {name!r}" for name in sorted(set(first.names) ^ set(second.names))]
    both = [(column, second[column.name]) for column in first.columns if column.name in second.names]
    faults += [f"{a.name!r} is {a.kind} for one and {b.kind} for the other" for a, b in both if a.kind != b.kind]
    if faults:
        raise SpecError(f"The arms of one service must take the same columns. Got a difference: {'; '.join(faults)}.")
    return Schema(columns=tuple(_join(a, b) for a, b in both))


def _join(a: Column, b: Column) -> Column:
    """Promise what both arms can take, and describe what either has seen."""
    strict = [
        set(column.categories) for column in (a, b) if column.unseen == "refuse" and column.categories is not None
    ]
    seen = set(a.categories or ()) | set(b.categories or ())
    taken = set.intersection(*strict) if strict else seen
    if strict and not taken:
        raise SpecError(f"The arms of one service must take a text in common. In {a.name!r} there is none.")
    known = bool(strict) or (a.categories is not None and b.categories is not None)
    return replace(
        _narrower(a, b),
        nullable=a.nullable and b.nullable,
        low=min(a.low, b.low) if a.low is not None and b.low is not None else None,
        high=max(a.high, b.high) if a.high is not None and b.high is not None else None,
        categories=tuple(sorted(taken)) if known else None,
        unseen="refuse" if strict else "accept",
    )


def _narrower(a: Column, b: Column) -> Column:
    """Give the column whose numbers fit the other's dtype too."""
    for inner, outer in ((a, b), (b, a)):
        (low, high), (lowest, highest) = limits(inner.dtype), limits(outer.dtype)
        if lowest <= low and high <= highest:
            return inner
    raise SpecError(
        f"The arms of one service must take numbers in common. {a.name!r} is {a.dtype} for one and {b.dtype} for the other."
    )


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────


def to_json(signature: Signature) -> dict[str, Any]:
    """Give the signature as plain JSON values."""
    columns = [
        {key: value for key, value in asdict(column).items() if value is not None}
        for column in signature.inputs.columns
    ]
    outputs = [
        {"name": output.name, "parts": list(output.parts), "classes": list(output.classes)}
        for output in signature.outputs
    ]
    return {"inputs": columns, "task": signature.task, "outputs": outputs}


def from_json(document: Mapping[str, Any]) -> Signature:
    """Read a signature back from `to_json`'s values, or from those of a package that had one output by its nature."""
    columns = [
        Column(**{**entry, "categories": tuple(entry["categories"]) if "categories" in entry else None})
        for entry in document["inputs"]
    ]
    outputs = _outputs(document["outputs"]) if "outputs" in document else (_the_only(document["classes"]),)
    return Signature(inputs=Schema(columns=tuple(columns)), task=document["task"], outputs=outputs)


def _outputs(entries: Iterable[Mapping[str, Any]]) -> tuple[Output, ...]:
    return tuple(
        Output(name=entry["name"], parts=tuple(entry["parts"]), classes=tuple(entry["classes"])) for entry in entries
    )


def _the_only(classes: Sequence[Label]) -> Output:
    return Output(parts=("label", "scores"), classes=tuple(classes)) if classes else Output(parts=("value",))


def _short(number: float) -> str:
    return f"{number:.6g}"


def _listed(texts: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(text) for text in texts[:most])
    return f"one of {shown}" + (f" … ({len(texts)})" if len(texts) > most else "")
