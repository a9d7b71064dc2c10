"""Anchors: a rule on raw columns under which the model keeps to its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ekiben.errors import ExplainError
from ekiben.explainers._alibi import anchor_tabular
from ekiben.explainers._columns import Rows, mosaic, stack
from ekiben.explainers._context import Context
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._outputs import picked
from ekiben.explainers._predicates import Predicate, Table, cut_points, rule_of
from ekiben.explainers._store import read_frame, write_frame
from ekiben.explanations import Explanation, Rule

MOST_BACKGROUND = 5_000
N_FRESH = 1_000
FEWEST_TOGETHER = 50  # fewer rows than this would be drawn over and over
BATCH_SIZE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Anchors [1]_, searched for by alibi and measured afresh.

    alibi never sees a value, only the numbers of the rows that values are taken from: so texts, booleans, missing values
    and categories nobody has seen reach the model as they were. Precision is measured on fresh rows, not taken from the
    search; coverage is measured on the reference rows that the explainer keeps.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "Anchors: High-Precision Model-Agnostic Explanations", 2018.
    """

    method: ClassVar[str] = "anchor"
    requirements: ClassVar[tuple[str, ...]] = ("alibi",)

    context: Context
    background: pd.DataFrame
    threshold: float

    @classmethod
    def fit(cls, context: Context, *, threshold: float = 0.95) -> Anchors:
        """Keep reference rows to draw from; `threshold` [0, 1] is the precision to search for."""
        _refuse_regressors(context)
        reference = context.reference_rows(cls.method)
        drawn = np.random.default_rng(0).permutation(len(reference))[:MOST_BACKGROUND]
        kept = reference.iloc[np.sort(drawn)].reset_index(drop=True)
        return cls(context=context, background=kept, threshold=threshold)

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Find a rule for each row."""
        rows = self.context.rows(frame).reset_index(drop=True)
        cuts = cut_points(self.background, self.context.schema)
        return [self._explain(rows.iloc[[i]], cuts, seed) for i in range(len(rows))]

    def _explain(self, row: pd.DataFrame, cuts: dict[str, npt.NDArray[np.float64]], seed: int) -> Rule:
        started = perf_counter()
        table = Table.of(stack(self.background, row), cuts)
        draws = Draws(table, self._labels, np.random.default_rng([seed, 0]))
        rule = rule_of(_search(draws, self.context.names, self.threshold))
        fresh = Draws(table, self._labels, np.random.default_rng([seed, 1]))
        precision = float((self._labels(mosaic(table.frame, fresh.rows(rule, N_FRESH))) == draws.instance_label).mean())
        return Rule(
            method="anchor",
            label=self.context.classes[draws.instance_label],
            conditions=tuple(table.said(predicate) for predicate in rule),
            precision=precision,
            coverage=float(table.holds(rule)[:-1].mean()),
            n_samples=N_FRESH,
            faithfulness_error=1 - precision,
            elapsed_ms=(perf_counter() - started) * 1e3,
        )

    def _labels(self, frame: pd.DataFrame) -> Rows:
        return picked(self.context.scores(frame))

    def save(self, folder: Path) -> None:
        """Write the reference rows to draw from."""
        write_header(folder, self.method, threshold=self.threshold)
        write_frame(self.background, folder / "background.json")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Anchors:
        """Read what `save` wrote; no reference is needed."""
        background = read_frame(folder / "background.json")
        return cls(context=context, background=background, threshold=read_header(folder)["threshold"])


def _refuse_regressors(context: Context) -> None:
    if not context.classes:
        raise ExplainError(
            "The method 'anchor' explains a class. Got a regressor, which has none. "
            "Explain it with one of 'linear', 'trees', 'sampling'."
        )


class Draws:
    """A sampler for alibi's search: it draws the numbers of rows, with a generator of its own.

    alibi's own sampler seeds and uses NumPy's global generator, which is neither safe under threads nor ours to seed.
    """

    def __init__(self, table: Table, labels: Callable[[pd.DataFrame], Rows], rng: np.random.Generator) -> None:
        self.table, self.labels, self.rng = table, labels, rng
        self.instance_label = int(labels(table.frame.iloc[[-1]])[0])
        self.n_covered = 1

    def rows(self, predicates: Sequence[Predicate], n_samples: int) -> Rows:
        """Draw whole rows, then the columns of the rule: together from rows under the rule, or each alone if few are."""
        n_columns = self.table.codes.shape[1]
        drawn = np.repeat(self.rng.integers(self.table.n_background, size=n_samples)[:, None], n_columns, axis=1)
        together = self.table.holds(predicates)[:-1].sum() >= FEWEST_TOGETHER
        for part in [rule_of(predicates)] if together else [[one] for one in rule_of(predicates)]:
            source = self.rng.choice(self._under(part), n_samples)
            drawn[:, [one.column for one in part]] = source[:, None]
        return drawn

    def _under(self, predicates: Sequence[Predicate]) -> Rows:
        """List the background rows under some predicates; where there is none, the explained row."""
        found = np.flatnonzero(self.table.holds(predicates)[:-1])
        return found if len(found) else np.array([self.table.n_background])

    def __call__(self, anchor: tuple[int, tuple[int, ...]], num_samples: int, compute_labels: bool = True) -> list[Any]:
        """Answer alibi: samples that agree and disagree, agreement, which predicates hold, coverage, order."""
        order, chosen = anchor
        predicates = [self.table.predicates[i] for i in chosen]
        drawn = self.rows(predicates, num_samples)
        holding = self.table.holding(drawn)
        if not compute_labels:
            return [holding]
        agree = self.labels(mosaic(self.table.frame, drawn)) == self.instance_label
        coverage = float(self.table.holds(predicates)[:-1].mean()) if chosen else -1.0
        examples = drawn[agree][: self.n_covered], drawn[~agree][: self.n_covered]
        return [*examples, agree.astype(int), holding, coverage, order]

    def set_instance_label(self, X: Any) -> None:
        """Do nothing: the label is known."""

    def set_n_covered(self, n_covered: int) -> None:
        """Keep this many examples a rule."""
        self.n_covered = n_covered

    def build_lookups(self, X: Any) -> list[dict[int, Any]]:  # noqa: ARG002 -- alibi's protocol
        """Give no lookups: the predicates lie in the table."""
        return [{}, {}, {}]


def _search(draws: Draws, names: list[str], threshold: float) -> list[Predicate]:
    """Let alibi search, and take the predicates of the best rule it found."""
    found = _searcher()(lambda rows: np.zeros(len(rows), dtype=int), names, dtype=np.int64).fit(draws)
    instance = np.full(len(names), draws.table.n_background)
    answer = found.explain(instance, threshold=threshold, batch_size=BATCH_SIZE, n_covered_ex=1, binary_cache_size=500)
    return [draws.table.predicates[int(number)] for number in answer.anchor]


@cache
def _searcher() -> Any:
    """Make alibi's class take our sampler, and name predicates by their numbers."""

    class Searcher(anchor_tabular()):  # type: ignore[misc]
        def fit(self, draws: Draws) -> Any:
            self.samplers, self._fitted = [draws], True
            return self

        def add_names_to_exp(self, explanation: dict[str, Any]) -> None:
            explanation["names"] = [str(number) for number in explanation["feature"]]

    return Searcher
