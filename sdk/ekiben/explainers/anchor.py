"""Anchors: a rule on raw columns under which the model keeps to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ekiben.errors import ExplainError
from ekiben.explainers._columns import stack
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._intervals import wilson
from ekiben.explainers._settings import is_finite
from ekiben.explainers._store import read_columns, read_frame, write_frame
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.rules.asking import Asker, Says, asker
from ekiben.explainers.rules.predicates import Background, Rule, Table
from ekiben.explainers.rules.searching import Draws, Search
from ekiben.explanations import Explanation
from ekiben.explanations import Rule as Told
from ekiben.tables import as_columns, as_frame

if TYPE_CHECKING:
    import pandas as pd

MOST_BACKGROUND = 5_000
MOST_ROWS = 40_000  # to ask the model about in one search
N_FRESH = 2_000
MOST_MEASURED = 3  # rules, the widest first, until one reaches the threshold on fresh rows
KEPT = "background.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Anchors [1]_: of the rules that hold for a row, the widest one found whose precision reaches `threshold`.

    Rows under a rule are whole rows of the reference, with the columns of the rule drawn from rows under it; so texts,
    booleans, missing values and categories nobody has seen reach the model as they were. Precision is measured on fresh
    rows, not taken from the search, and coverage on the reference rows that the explainer keeps; both with their Wilson
    intervals. A model with a plan is asked by it, and nothing else is loaded.

    Of a value, the same answer is one within the `tolerance` of the row's.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "Anchors: High-Precision Model-Agnostic Explanations", 2018.
    """

    method: ClassVar[str] = "anchor"
    by_plan: ClassVar[bool] = True
    requirements: ClassVar[tuple[str, ...]] = ()

    context: Context
    background: Background
    frame: Callable[[], pd.DataFrame]
    threshold: float
    tolerance: float | None = None
    says: Callable[[], Says | None] = field(init=False)

    def __post_init__(self) -> None:
        """Ask at most once what the columns of the background say."""
        object.__setattr__(self, "says", cache(partial(Says.of, self.context.plan, self.background)))

    @classmethod
    def fit(cls, context: Context, *, threshold: float = 0.95, tolerance: float | None = None) -> Anchors:
        """Keep reference rows to draw from; `threshold` (0, 1] is the precision to search for.

        `tolerance` is how far a value may lie from the row's, in its own units: by default half of the distance between the
        quartiles of what the model answers to the reference.
        """
        _refuse_other_shares(threshold)
        _refuse_other_tolerances(tolerance, context)
        reference = context.reference_rows(cls.method)
        drawn = np.random.default_rng(0).permutation(len(reference))[:MOST_BACKGROUND]
        kept = reference.iloc[np.sort(drawn)].reset_index(drop=True)
        columns = as_columns(kept)
        if not context.classes and tolerance is None:
            tolerance = _half_spread(Asking(context).many(columns, len(kept)).numbers[:, 0])
        return cls(
            context=context,
            background=Background.of(columns, context.schema),
            frame=lambda: kept,
            threshold=threshold,
            tolerance=tolerance,
        )

    @property
    def quick(self) -> bool:
        """Whether the plan alone can answer."""
        return self.context.plan is not None

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Find a rule for each row."""
        return [self._explain(row, framed, seed) for row, framed in self._rows(frame)]

    def explain_columns(
        self, columns: Sequence[Sequence[Any]], n_rows: int, *, seed: int = 0
    ) -> list[Explanation] | None:
        """Find a rule for each row of columns of plain values; a frame is made only where the model itself is asked."""
        rows = list(zip(*columns, strict=True))[:n_rows]
        return [self._explain(row, partial(self._framed, row), seed) for row in rows]

    def remeasured(self, frame: pd.DataFrame, *, seed: int = 0, n_samples: int = 4_000) -> list[Remeasured]:
        """Find a rule for each row as `explain` does, and measure it on other fresh rows."""
        found = []
        for row, framed in self._rows(frame):
            told, case = self._told(row, framed, seed)
            draws = Draws(case.table, np.random.default_rng([seed, MOST_MEASURED + 1]))
            n_met = int(case.asked.agree(draws.rows(case.rule, n_samples)).sum())
            found.append(Remeasured(told, case.table.meets(case.rule), n_met / n_samples, n_samples))
        return found

    def _rows(self, frame: pd.DataFrame) -> Iterator[tuple[Sequence[Any], Callable[[], pd.DataFrame]]]:
        """Give each row as plain values, and as a frame that is made when it is needed."""
        rows = self.context.rows(frame).reset_index(drop=True)
        for i, row in enumerate(zip(*as_columns(rows), strict=True)):
            yield row, partial(_one, rows, i)

    def _framed(self, row: Sequence[Any]) -> pd.DataFrame:
        columns = {name: [value] for name, value in zip(self.context.names, row, strict=True)}
        return as_frame(columns, self.context.schema)

    def _explain(self, row: Sequence[Any], framed: Callable[[], pd.DataFrame], seed: int) -> Told:
        return self._told(row, framed, seed)[0]

    def _told(self, row: Sequence[Any], framed: Callable[[], pd.DataFrame], seed: int) -> tuple[Told, _Case]:
        started = perf_counter()
        table = Table.of(self.background, row)
        asked = asker(self.context, table, lambda: stack(self.frame(), framed()), self.tolerance, self.says)
        rule, n_met = self._measured(table, asked, seed)
        covered = int(table.holds(rule).sum())
        precision = n_met / N_FRESH
        told = Told(
            method=self.method,
            label=asked.label,
            tolerance=self.tolerance,
            conditions=tuple(table.said(predicate) for predicate in rule),
            threshold=self.threshold,
            reached=precision >= self.threshold,
            precision=precision,
            precision_interval=wilson(n_met, N_FRESH),
            coverage=covered / table.n_background,
            coverage_interval=wilson(covered, table.n_background),
            n_samples=N_FRESH,
            faithfulness_error=1 - precision,
            elapsed_ms=(perf_counter() - started) * 1e3,
        )
        return told, _Case(table, asked, rule)

    def _measured(self, table: Table, asked: Asker, seed: int) -> tuple[Rule, int]:
        """Take the first rule that reaches the threshold on fresh rows, or the one that came nearest; count those rows."""
        measured: list[tuple[Rule, int]] = []
        for i, rule in enumerate(self._rules(table, asked, seed)[:MOST_MEASURED]):
            fresh = Draws(table, np.random.default_rng([seed, 1 + i])).rows(rule, N_FRESH)
            measured.append((rule, int(asked.agree(fresh).sum())))
            if measured[-1][1] >= self.threshold * N_FRESH:
                return measured[-1]
        return max(measured, key=lambda each: each[1])

    def _rules(self, table: Table, asked: Asker, seed: int) -> list[Rule]:
        """Search for rules, the one to prefer first."""
        draws = Draws(table, np.random.default_rng([seed, 0]))
        search = Search(table, draws, asked.agree, threshold=self.threshold, most_rows=MOST_ROWS)
        return [each.rule for each in search.found()]

    def save(self, folder: Path) -> None:
        """Write the reference rows to draw from."""
        write_header(folder, self.method, threshold=self.threshold, tolerance=self.tolerance)
        write_frame(self.frame(), folder / KEPT)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Anchors:
        """Read what `save` wrote; no reference is needed."""
        background = Background.of(read_columns(folder / KEPT), context.schema)
        frame = cache(partial(read_frame, folder / KEPT))
        header = read_header(folder)
        told = {"threshold": header["threshold"], "tolerance": header.get("tolerance")}
        return cls(context=context, background=background, frame=frame, **told)


class Remeasured(NamedTuple):
    """A rule, whether it holds for the row that it explains, and its precision on other fresh rows."""

    rule: Told
    holds: bool
    precision: float
    n_samples: int


class _Case(NamedTuple):
    table: Table
    asked: Asker
    rule: Rule


def _one(rows: pd.DataFrame, i: int) -> pd.DataFrame:
    return rows.iloc[[i]]


def _refuse_other_shares(threshold: float) -> None:
    if not (is_finite(threshold) and 0 < threshold <= 1):
        raise ExplainError(f"The 'threshold' of an anchor must be above 0 and at most 1. Got {threshold!r}.")


def _refuse_other_tolerances(tolerance: float | None, context: Context) -> None:
    if tolerance is None:
        return
    if context.classes:
        raise ExplainError("The 'tolerance' of an anchor is for a model that answers with a value. Got a classifier.")
    if not (is_finite(tolerance) and tolerance >= 0):
        raise ExplainError(f"The 'tolerance' of an anchor must be a number from 0. Got {tolerance!r}.")


def _half_spread(answers: Matrix) -> float:
    """Give half of the distance between the quartiles; where half of the answers are one, a tenth of their range."""
    low, high = np.quantile(answers, (0.25, 0.75))
    return float(high - low) / 2 or float(np.ptp(answers)) / 10
