"""Whether the model keeps to its answer: asked about many patched rows at once, by its plan where it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ekiben.compiling import NO_ANSWER, Choosing, Coded, Plan
from ekiben.explainers._columns import Rows, mosaic, patched
from ekiben.explainers._context import Context
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.rules.predicates import Background, Codes, Table
from ekiben.models import explained

if TYPE_CHECKING:
    import pandas as pd

ROWS_OF_PLAN = 4_096  # in one go: more do not fit the processor's cache
ROWS_OF_MODEL = 20_000
N_MOSAICS = 256
TOLERANCE = 1e-9  # of the span of the sums


class Asker(Protocol):
    """A model that is asked about one row, and about rows patched from it and the background."""

    @property
    def label(self) -> Any:
        """Its answer to the row."""

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows, (n_columns, n_rows) of row numbers, which get the same label."""


def asker(
    context: Context,
    table: Table,
    frame: Callable[[], pd.DataFrame],
    tolerance: float | None = None,
    says: Callable[[], Says | None] = lambda: None,
) -> Asker:
    """Take the plan where there is one, and the model itself where it is needed; `frame` has the row below the background.

    A value is the same answer where it is within the `tolerance`, which is None for classes. `says` is what the columns of
    the background say to a model that adds that up.
    """
    if tolerance is not None:
        return Near(context, table, tolerance)
    if (known := says()) is not None and (own := known.own(table)) is not None:
        return Added(known, own, context.classes)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What each column of the background says to a model that adds that up and chooses its label by the sums.

    Parameters
    ----------
    choosing
        The sums, and how they choose a label.
    ground
        A row to stand on.
    base
        What it adds up to: shape (n_sums,).
    parts
        What each value adds to that, in place of the ground's own: shape (n_columns, n_sums, n_background).
    span
        How far apart sums lie.
    """

    choosing: Choosing
    ground: tuple[Any, ...]
    base: npt.NDArray[np.float64]
    parts: npt.NDArray[np.float64]
    span: float

    @classmethod
    def of(cls, plan: Plan | None, background: Background) -> Says | None:
        """Ask what each value says alone, and prove on rows that mix others that this adds up; None where it does not."""
        choosing = None if plan is None else plan.choosing
        if choosing is None:
            return None
        columns = background.columns
        ground = tuple(known.values[known.ids[0]] for known in columns)
        drawn = np.random.default_rng(0).integers(background.n_rows, size=(len(columns), N_MOSAICS))
        mixed = [Coded(known.values, known.ids[of], known.numbers) for known, of in zip(columns, drawn, strict=True)]
        try:
            base = choosing.sums(patched(ground, 1), 1)[0]
            alone = [
                choosing.sums(patched(ground, len(known.values), {i: known.values}), len(known.values))
                for i, known in enumerate(columns)
            ]
            sums = choosing.sums(mixed, N_MOSAICS)
        except NO_ANSWER:
            return None
        parts = np.stack([(each - base).T[:, known.ids] for each, known in zip(alone, columns, strict=True)])
        made = cls(choosing=choosing, ground=ground, base=base, parts=parts, span=float(np.ptp(sums)))
        return made if made.fits(_added(base, parts, drawn), sums.T) else None

    def fits(self, added: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]) -> bool:
        """Tell whether what was added up is the model's own sums."""
        return bool(np.abs(added - sums).max() <= TOLERANCE * self.span)

    def own(self, table: Table) -> npt.NDArray[np.float64] | None:
        """Ask what each value of the explained row says: (n_columns, n_sums); None where that does not add up."""
        n = len(table.row)
        alone = {
            i: [value if at in (i, n) else self.ground[i] for at in range(n + 1)] for i, value in enumerate(table.row)
        }
        try:
            found = self.choosing.sums(patched(self.ground, n + 1, alone), n + 1)
        except NO_ANSWER:
            return None
        own: npt.NDArray[np.float64] = found[:n] - self.base
        return own if self.fits(self.base + own.sum(axis=0), found[n]) else None


class Added:
    """Adds up what the columns say, instead of asking the model about each row."""

    def __init__(self, says: Says, own: npt.NDArray[np.float64], classes: tuple[Any, ...]) -> None:
        self._says, self._parts = says, np.concatenate([says.parts, own[:, :, None]], axis=2)
        n_columns, _, behind = says.parts.shape
        self._number = int(self._numbers(np.full((n_columns, 1), behind))[0])
        self.label = classes[self._number]

    def agree(self, rows: Codes) -> npt.NDArray[np.bool_]:
        """Say of patched rows which get the same label."""
        return np.asarray(self._numbers(rows) == self._number)

    def _numbers(self, rows: Codes) -> npt.NDArray[Any]:
        return self._says.choosing.numbers(_added(self._says.base, self._parts, rows).T)


def _added(base: npt.NDArray[np.float64], parts: npt.NDArray[np.float64], rows: Rows) -> npt.NDArray[np.float64]:
    """Add up what the columns of patched rows say: shape (n_sums, n_rows)."""
    total = np.repeat(base[:, None], rows.shape[1], axis=1)
    for part, of in zip(parts, rows, strict=True):
        total += part.take(of, axis=1)
    return total


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
