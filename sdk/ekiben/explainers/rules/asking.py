"""Whether the model keeps to its answer: asked about many patched rows at once, by its plan where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ekiben.compiling import NO_ANSWER, Plan
from ekiben.explainers._columns import mosaic
from ekiben.explainers._context import Context
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.rules.predicates import Codes, Table
from ekiben.models import explained

if TYPE_CHECKING:
    import pandas as pd

ROWS_OF_PLAN = 4_096  # in one go: more do not fit the processor's cache
ROWS_OF_MODEL = 20_000


class Asker(Protocol):
    """A model that is asked about one row, and about rows patched from it and the background."""

    @property
    def label(self) -> Any:
        """Its answer to the row."""

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows, (n_columns, n_rows) of row numbers, which get the same label."""


def asker(context: Context, table: Table, frame: Callable[[], pd.DataFrame], tolerance: float | None = None) -> Asker:
    """Take the plan where there is one, and the model itself where it is needed; `frame` has the row below the background.

    A value is the same answer where it is within the `tolerance`, which is None for classes.
    """
    if tolerance is not None:
        return Near(context, table, tolerance)
    model = Model(context, table, frame)
    return model if context.plan is None else Planned(context.plan, context, table, model)


class Model:
    """Asks the model itself."""

    def __init__(self, context: Context, table: Table, frame: Callable[[], pd.DataFrame]) -> None:
        self._context, self._table, self._make = context, table, frame
        self._frame: pd.DataFrame | None = None
        self._label: Any = None

    @property
    def label(self) -> Any:
        """Its answer to the row."""
        if self._label is None:
            self._label = self._labels(_own(self._table)).tolist()[0]
        return self._label

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows which get the same label."""
        own = self.label
        parts = range(0, rows.shape[1], ROWS_OF_MODEL)
        return np.concatenate([np.asarray(self._labels(rows[:, i : i + ROWS_OF_MODEL]) == own) for i in parts])

    def _labels(self, rows: Codes) -> npt.NDArray[Any]:
        if self._frame is None:
            self._frame = self._make()
        output, context = self._context.output, self._context
        parts = ("label",) if "label" in output.parts else explained(output)
        found = context.adapter.answers(context.live, mosaic(self._frame, rows.T), parts)[context.which]
        if found.labels is not None:
            return np.asarray(found.labels)
        assert found.scores is not None
        return np.asarray(np.array(context.classes, dtype=object)[found.scores.argmax(axis=1)])


class Planned:
    """Asks the plan; for rows that it has no answer to the model."""

    def __init__(self, plan: Plan, context: Context, table: Table, model: Model) -> None:
        self._plan, self._table, self._model = plan, table, model
        numbers = self._numbers(_own(table))
        self.label = model.label if numbers is None else context.classes[int(numbers[0])]
        self._number = context.classes.index(self.label)

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows which get the same label."""
        parts = [rows[:, i : i + ROWS_OF_PLAN] for i in range(0, rows.shape[1], ROWS_OF_PLAN)]
        return np.concatenate([self._agree(part) for part in parts])

    def _agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        numbers = self._numbers(rows)
        return self._model.agree(rows) if numbers is None else np.asarray(numbers == self._number)

    def _numbers(self, rows: Codes) -> npt.NDArray[Any] | None:
        """Choose the labels' numbers by the plan; None where it has no answer."""
        try:
            return np.asarray(self._plan.label_numbers(self._table.patched(rows), rows.shape[1]))
        except NO_ANSWER:
            return None


class Near:
    """Asks for values, by the plan where there is one: those within a tolerance of the row's own are the same answer."""

    def __init__(self, context: Context, table: Table, tolerance: float) -> None:
        self._ask, self._table, self._tolerance = Asking(context), table, tolerance
        self.label = float(self._values(_own(table))[0])

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows which get a value near the row's."""
        return np.asarray(np.abs(self._values(rows) - self.label) <= self._tolerance)

    def _values(self, rows: Codes) -> npt.NDArray[np.float64]:
        return self._ask.many(self._table.patched(rows), rows.shape[1]).numbers[:, 0]


def _own(table: Table) -> Codes:
    """Name the explained row alone."""
    return np.full((len(table.columns), 1), table.n_background)
