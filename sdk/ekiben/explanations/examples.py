"""Reference rows that are most like one row, with the same answer and with another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ekiben.drawing import UP
from ekiben.explanations.counterfactual import said
from ekiben.explanations.reasons import Subject
from ekiben.explanations.rule import Label
from ekiben.explanations.showing import Shown

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure

SHOWN_COLUMNS = 8  # of a row, in a picture; a page shows all


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One reference row: its values as JSON has them, what the model answers to it, and its distance, from 0 to 1."""

    row: Mapping[str, Any]
    answer: Label
    score: float | None
    distance: float

    def without(self, columns: Collection[str]) -> Neighbour:
        """Give the same without some columns of its row."""
        return replace(self, row={name: value for name, value in self.row.items() if name not in columns})


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples(Shown):
    """The reference rows nearest to one row: `alike` with the same answer, `unlike` with another one.

    Of a value, another answer is one that lies further off than the `tolerance`. `left_out` names the columns that are not
    shown. `faithfulness_error` is the share of the shown rows to which the model gives another answer now.

    Examples
    --------
    >>> near = Neighbour(row={"Income": 85}, answer="good", score=0.7, distance=0.02)
    >>> one = Examples(
    ...     method="examples",
    ...     output="the label",
    ...     answer="bad",
    ...     score=0.6,
    ...     tolerance=None,
    ...     alike=(),
    ...     unlike=(near,),
    ...     left_out=(),
    ...     faithfulness_error=0.0,
    ...     elapsed_ms=1.0,
    ... )
    >>> one.line()[3]
    "alike: none; unlike: 'good' at 0.020"
    """

    kind: ClassVar[str] = "examples"

    method: str
    output: str
    answer: Label
    score: float | None
    tolerance: float | None
    alike: tuple[Neighbour, ...]
    unlike: tuple[Neighbour, ...]
    left_out: tuple[str, ...]
    faithfulness_error: float
    elapsed_ms: float
    subject: Subject = field(default_factory=Subject, compare=False, repr=False)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Examples:
        """Read the values of its fields back from JSON."""
        sides = {side: tuple(Neighbour(**each) for each in values[side]) for side in ("alike", "unlike")}
        return cls(**{**values, **sides, "left_out": tuple(values["left_out"])})

    def without(self, columns: Collection[str]) -> Examples:
        """Give the same without some columns of its rows."""
        hidden = tuple(dict.fromkeys((*self.left_out, *columns)))
        alike, unlike = (tuple(each.without(hidden) for each in side) for side in (self.alike, self.unlike))
        return replace(self, alike=alike, unlike=unlike, left_out=hidden)

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: `answer`, and of both sides the nearest answer and its distance."""
        told: dict[str, Any] = {"answer": self.answer}
        for side, rows in (("alike", self.alike), ("unlike", self.unlike)):
            told[f"{side}_answer"] = rows[0].answer if rows else None
            told[f"{side}_distance"] = rows[0].distance if rows else None
        return told

    def __str__(self) -> str:
        what, _, answer, near = self.line()
        return f"{what} {answer}, {near}"

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, and how near its neighbours are."""
        sides = {"alike": self.alike, "unlike": self.unlike}
        told = [f"{side}: {', '.join(map(_near, rows)) or 'none'}" for side, rows in sides.items()]
        return self.output, "", said(self.answer), "; ".join(told)

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw a table of the rows, nearest first, with what differs from this row marked; `ax` as in every `plot`."""
        from ekiben.plots.cards import Cell, table

        values, told = self.subject.values, self.subject.told
        columns = list(dict.fromkeys(name for each in (*self.alike, *self.unlike) for name in each.row))
        shown, n_more = columns[:SHOWN_COLUMNS], len(columns[SHOWN_COLUMNS:])
        rows = [[Cell(text="this row", bold=True), Cell(text=said(self.answer), bold=True), Cell()]] if values else []
        rows = [[*row, *(Cell(text=said(told(name, values.get(name))), bold=True) for name in shown)] for row in rows]
        for side, found in (("same answer", self.alike), ("another answer", self.unlike)):
            for each in found:
                differs = {name for name in shown if values and each.row.get(name) != values.get(name)}
                cells = [Cell(text=said(told(n, each.row.get(n))), mark=UP if n in differs else "") for n in shown]
                rows.append([Cell(text=side), Cell(text=said(each.answer)), Cell(text=f"{each.distance:.3f}"), *cells])
        heads = ["", "answer", "distance", *(self.subject.label(name) for name in shown)]
        note = f"{n_more} more columns are not shown." if n_more else ""
        return table(heads, rows, title=f"{said(self.answer)}, and the reference rows nearest to it", note=note, ax=ax)


def _near(each: Neighbour) -> str:
    return f"{said(each.answer)} at {each.distance:.3f}"
