"""Reference rows that are most like one row, with the same answer and with another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any, ClassVar

from ekiben.explanations.counterfactual import said
from ekiben.explanations.rule import Label


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
class Examples:
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

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, and how near its neighbours are."""
        sides = {"alike": self.alike, "unlike": self.unlike}
        told = [f"{side}: {', '.join(map(_near, rows)) or 'none'}" for side, rows in sides.items()]
        return self.output, "", said(self.answer), "; ".join(told)

    def html(self) -> str:
        """Draw a table of the rows, nearest first."""
        columns = list(dict.fromkeys(name for each in (*self.alike, *self.unlike) for name in each.row))
        rows = [_cells("≈", each, columns) for each in self.alike] + [
            _cells("≠", each, columns) for each in self.unlike
        ]
        told = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in [["", "answer", "distance", *columns], *rows])
        return (
            f"<div><b>{escape(said(self.answer))}</b>, and the reference rows nearest to it: "
            "≈ with the same answer, ≠ with another</div>"
            f'<div style="overflow-x:auto"><table style="border-collapse:collapse;color:inherit">{told}</table></div>'
        )


def _near(each: Neighbour) -> str:
    return f"{said(each.answer)} at {each.distance:.3f}"


def _cells(mark: str, each: Neighbour, columns: list[str]) -> list[str]:
    return [mark, said(each.answer), f"{each.distance:.3f}", *(said(each.row.get(name)) for name in columns)]


def _cell(text: str) -> str:
    return f'<td style="padding:2px 8px;text-align:left;white-space:nowrap">{escape(text)}</td>'
