"""Examples: the reference rows most like a row, with the same answer and with another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ekiben.errors import SpecError
from ekiben.explainers._context import Context
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._settings import is_finite
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.alternatives.reference import Reference
from ekiben.explainers.alternatives.space import Flags, points
from ekiben.explainers.alternatives.wanted import Answered
from ekiben.explanations import Examples, Explanation, Neighbour
from ekiben.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 50  # of each side
TOLERANCE = 0.1  # of the range of a value, by default
EQUAL = 1e-6  # of scores, when a shown row is asked again


@dataclass(frozen=True, kw_only=True)
class NearRows:
    """The nearest reference rows by Gower's distance on the raw columns [1]_, with the same answer and with another one.

    Of a value, the same answer is one within the `tolerance`: by default a tenth of the range of the reference's answers.

    References
    ----------
    .. [1] Gower, "A General Coefficient of Similarity and Some of Its Properties", 1971.
    """

    method: ClassVar[str] = "examples"

    context: Context
    reference: Reference
    n: int = 3
    tolerance: float | None = None
    hidden: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, context: Context, *, n: int = 3, tolerance: float | None = None, hidden: Sequence[str] = ()
    ) -> NearRows:
        """Keep the reference rows; `adjusted` says what the settings are."""
        bare = cls(context=context, reference=Reference.fit(cls.method, context))
        return bare.adjusted(n=n, tolerance=tolerance, hidden=hidden)

    def adjusted(
        self, *, n: int | None = None, tolerance: float | None = None, hidden: Sequence[str] | None = None
    ) -> NearRows:
        """Give the same with other settings; what is left out stays.

        Parameters
        ----------
        n
            How many rows of each side are given, at most 50.
        tolerance
            How far a value may lie from the row's own and still be the same answer.
        hidden
            Columns that are never shown, beside the private ones; they still count in the distance.

        Raises
        ------
        SpecError
            If a setting cannot be one.
        """
        if n is not None and (type(n) is not int or not 1 <= n <= MOST_ROWS):
            raise SpecError(f"The 'n' of examples must be from 1 to {MOST_ROWS}. Got {n!r}.")
        if tolerance is not None and not (is_finite(tolerance) and tolerance >= 0):
            raise SpecError(f"The 'tolerance' of examples must be a number from 0. Got {tolerance!r}.")
        is_list = isinstance(hidden, Sequence) and not isinstance(hidden, str)
        unknown = [name for name in hidden if name not in self.context.names] if hidden is not None and is_list else []
        if unknown or not (hidden is None or is_list):
            raise SpecError(f"The 'hidden' must be a list of columns of the contract. Got {unknown or hidden!r}.")
        return replace(
            self,
            n=self.n if n is None else n,
            tolerance=self.tolerance if tolerance is None else float(tolerance),
            hidden=self.hidden if hidden is None else tuple(hidden),
        )

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Find the rows nearest to each row."""
        from ekiben.tables import as_columns

        return self.explain_columns(as_columns(self.context.rows(frame)), len(frame), seed=seed)

    def explain_columns(self, columns: Sequence[Sequence[Any]], n_rows: int, *, seed: int = 0) -> list[Explanation]:  # noqa: ARG002 -- draws nothing
        """Find the rows nearest to rows that come as columns of plain values."""
        plain = [[None if is_missing(value) else value for value in column] for column in columns]
        return [self._explain([[column[i]] for column in plain]) for i in range(n_rows)]

    def _explain(self, row: list[list[Any]]) -> Examples:
        started = perf_counter()
        asking, space = Asking(self.context), self.reference.space
        own, known = asking.alone(row, 1), self.reference.answered
        answer, score = self._told(own, 0)
        distances = space.gower(space.points, points(space.axes, row)[0])
        alike = self._alike(known, answer)
        order = np.argsort(distances, kind="stable")
        sides = [order[alike[order] == side][: self.n] for side in (True, False)]
        near = [tuple(self._neighbour(i, distances[i]) for i in side.tolist()) for side in sides]
        return Examples(
            method=self.method,
            output=asking.output,
            answer=answer,
            score=score,
            tolerance=None if self.context.classes else self._tolerance,
            alike=near[0],
            unlike=near[1],
            left_out=self._left_out,
            faithfulness_error=self._error(asking, np.concatenate(sides)),
            elapsed_ms=(perf_counter() - started) * 1e3,
        )

    @property
    def _left_out(self) -> tuple[str, ...]:
        """What is never shown: the columns that are to be hidden, and those that the contract calls private."""
        private = (each.name for each in self.context.schema.columns if each.private)
        return tuple(dict.fromkeys((*self.hidden, *private)))

    @property
    def _tolerance(self) -> float:
        return (
            self.tolerance if self.tolerance is not None else TOLERANCE * float(np.ptp(self.reference.answered.numbers))
        )

    def _told(self, answered: Answered, i: int) -> tuple[Any, float | None]:
        return answered.told(i, self.context.classes, scored="scores" in self.context.output.parts)

    def _alike(self, known: Answered, answer: Any) -> Flags:
        if known.labels is not None:
            return np.asarray(known.labels == answer, dtype=bool)
        return np.asarray(np.abs(known.numbers[:, 0] - answer) <= self._tolerance)

    def _neighbour(self, i: int, distance: float) -> Neighbour:
        answer, score = self._told(self.reference.answered, i)
        near = Neighbour(row=self.reference.row(i), answer=answer, score=score, distance=float(distance))
        return near.without(self._left_out)

    def _error(self, asking: Asking, shown: npt.NDArray[np.int64]) -> float:
        """Ask for the shown rows again, each alone, and give the share that is answered otherwise."""
        if not len(shown):
            return 0.0
        again = asking.alone(
            [[column[i] for i in shown.tolist()] for column in self.reference.columns.values()], len(shown)
        )
        before = self.reference.answered
        other = (np.abs(again.numbers - before.numbers[shown]) > EQUAL * np.maximum(1, np.abs(again.numbers))).any(
            axis=1
        )
        if again.labels is not None and before.labels is not None:
            other |= np.asarray(again.labels != before.labels[shown], dtype=bool)
        return float(other.mean())

    def save(self, folder: Path) -> None:
        """Write the reference rows."""
        write_header(folder, self.method, n=self.n, tolerance=self.tolerance, hidden=list(self.hidden))
        self.reference.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> NearRows:
        """Read what `save` wrote; no reference is needed."""
        header: Mapping[str, Any] = read_header(folder)
        bare = cls(context=context, reference=Reference.load(folder, context))
        return bare.adjusted(**{key: header[key] for key in ("n", "tolerance", "hidden")})
