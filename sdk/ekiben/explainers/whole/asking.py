"""Ask a model about rows that are patched together from the cells of a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ekiben.compiling import NO_ANSWER, Coded
from ekiben.errors import EkibenError, ExplainError
from ekiben.explainers._columns import Rows, mosaic
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._outputs import described, units_of_scores
from ekiben.explainers.alternatives.space import Axis
from ekiben.models import Answers, explained, numbers
from ekiben.schema import Label
from ekiben.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 8_192  # in one call
Columns: TypeAlias = "list[list[Any]]"
Flags: TypeAlias = npt.NDArray[np.bool_]


class Table:
    """Rows of a model's contract, and what the model answers when cells come from other rows of them.

    A row to be asked about is told as the numbers of the rows that its cells come from: (n_columns,).
    """

    def __init__(self, context: Context, frame: pd.DataFrame) -> None:
        self.context, self.frame = context, frame.reset_index(drop=True)
        self.n_rows, self.names = len(frame), context.names
        self._axes: dict[int, Axis] = {}
        self._codes: dict[int, Matrix] = {}

    @cached_property
    def columns(self) -> Columns:
        """The cells as plain values, by column."""
        from ekiben.tables import as_columns

        return as_columns(self.frame)

    def axis(self, place: int) -> Axis:
        """Give one column as numbers."""
        if place not in self._axes:
            self._axes[place] = Axis.of(self.context.schema.columns[place], self.columns[place])
        return self._axes[place]

    def code(self, place: int) -> Matrix:
        """Give the numbers of one column's cells: (n_rows,); NaN where one is missing."""
        if place not in self._codes:
            self._codes[place] = self.axis(place).codes(self.columns[place])
        return self._codes[place]

    def codes(self, places: Sequence[int]) -> Matrix:
        """Give the numbers of some columns' cells: (n_rows, n_places)."""
        return np.column_stack([self.code(place) for place in places]) if places else np.empty((self.n_rows, 0))

    @cached_property
    def _coded(self) -> list[Coded]:
        return [_coded(values) for values in self.columns]

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes that there is a number for; empty where there is one number alone."""
        return self.context.classes if len(self.context.classes) > 2 else ()

    @property
    def output(self) -> str:
        """Say what the numbers are."""
        context, units = self.context, units_of_scores(self.context)
        if self.labels:
            return f"{units} of {context.output.name!r}" if context.output.name else units
        n = len(context.classes) or 1
        return described(context, units, n - 1, n)

    def alone(self) -> Rows:
        """Name every row as it is: (n_rows, n_columns)."""
        return np.repeat(np.arange(self.n_rows)[:, None], len(self.names), axis=1)

    def shown(self, rows: Rows) -> Matrix:
        """Give the numbers that are told of patched rows: one a class, of two classes the second alone."""
        made = self.numbers(self.answers(rows))
        return made[:, 1:] if len(self.context.classes) == 2 else made

    def numbers(self, answers: Answers) -> Matrix:
        """Give all numbers of answers: (n_rows, n_classes), or (n_rows, 1) for a value."""
        output = replace(self.context.output, classes=self.context.classes)
        kept = answers if "scores" in output.parts else replace(answers, scores=None)
        return np.asarray(numbers(kept, output), dtype=np.float64)

    def answers(self, rows: Rows, *, labels: bool = False) -> Answers:
        """Answer patched rows: (n, n_columns)."""
        parts = [self._answers(rows[i : i + MOST_ROWS], labels) for i in range(0, len(rows), MOST_ROWS)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _answers(self, rows: Rows, labels: bool) -> Answers:
        context = self.context
        if context.plan is not None:
            patched = [Coded(c.values, c.ids[of], c.numbers) for c, of in zip(self._coded, rows.T, strict=True)]
            with suppress(*NO_ANSWER):
                return context.plan.answers_by_column(patched, len(rows))[context.which]
        wanted = explained(context.output)
        parts = (*wanted, "label") if labels and "label" in context.output.parts and "label" not in wanted else wanted
        try:
            return context.adapter.answers(context.live, mosaic(self.frame, rows), parts)[context.which]
        except EkibenError:
            raise
        except Exception as reason:
            raise ExplainError(
                "To be explained as a whole, a model must answer rows that mix the cells of several. It does not: "
                f"{type(reason).__name__}. Explain single rows: package.explain(…, method='anchor')."
            ) from reason

    def with_values(self, column: str, values: Sequence[Any]) -> Table:
        """Give a table with a further row below for each value of one column; its other cells are the first row's."""
        import pandas as pd

        from ekiben.errors import SchemaError, SpecError
        from ekiben.explainers._columns import stack
        from ekiben.schema import Schema
        from ekiben.tables import conform, with_columns

        contract = Schema(columns=(self.context.schema[column],))
        try:
            cells = conform(pd.DataFrame({column: pd.Series(list(values), dtype=object)}), contract)
        except SchemaError as misfit:
            raise SpecError(f"The 'grid' must hold values of the column.\n{misfit}") from misfit
        more = self.frame.iloc[[0] * len(cells)].reset_index(drop=True)
        return Table(self.context, stack(self.frame, with_columns(more, {column: cells[column]})))


def with_column(rows: Rows, place: int, sources: Rows) -> Rows:
    """Take one column of some rows from others: for each source all rows, so (n_sources * n_rows, n_columns)."""
    made = np.tile(rows, (len(sources), 1))
    made[:, place] = np.repeat(sources, len(rows))
    return made


def _coded(values: Sequence[Any]) -> Coded:
    """Give the distinct values of a column, and for each row which of them it holds."""
    if {*map(type, values)} in ({float}, {int}):
        distinct, ids = np.unique(np.asarray(values), return_inverse=True)
        return Coded([None if value != value else value for value in distinct.tolist()], ids.astype(np.int64))
    places: dict[Any, int] = {}
    ids = np.array([places.setdefault(_key(value), len(places)) for value in values], dtype=np.int64)
    first = np.unique(ids, return_index=True)[1].tolist()
    return Coded([None if is_missing(values[i]) else values[i] for i in first], ids)


def _key(value: Any) -> Any:
    if is_missing(value):
        return None
    return (type(value), str(value) if isinstance(value, list) else value)


def parts(answers: Answers, n_parts: int) -> list[Answers]:
    """Split answers into equally many rows each."""
    told = {name: getattr(answers, name) for name in ("labels", "scores", "values")}
    split = {name: [None] * n_parts if each is None else np.split(each, n_parts) for name, each in told.items()}
    return [Answers(**dict(zip(split, each, strict=True))) for each in zip(*split.values(), strict=True)]


def _joined(parts: Sequence[Answers]) -> Answers:
    def joined(part: str) -> Any:
        found = [getattr(each, part) for each in parts]
        return None if found[0] is None else np.concatenate(found)

    return Answers(labels=joined("labels"), scores=joined("scores"), values=joined("values"))
