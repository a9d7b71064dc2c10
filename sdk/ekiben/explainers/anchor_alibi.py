"""Anchors as alibi searches for them, measured as ours are: a reference to hold the method `anchor` against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ekiben.explainers._alibi import anchor_tabular
from ekiben.explainers.anchor import Anchors
from ekiben.explainers.rules.asking import Asker
from ekiben.explainers.rules.predicates import Rule, Table, rule_of
from ekiben.explainers.rules.searching import Draws

BATCH_SIZE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AlibiAnchors(Anchors):
    """Anchors, searched for by alibi.

    alibi never sees a value, only the numbers of the rows that values are taken from.
    """

    method: ClassVar[str] = "anchor-alibi"
    requirements: ClassVar[tuple[str, ...]] = ("alibi",)

    @property
    def quick(self) -> bool:
        """Never: alibi is needed too."""
        return False

    def _rules(self, table: Table, asked: Asker, seed: int) -> list[Rule]:
        """Let alibi search, and take the predicates of the best rule it found."""
        sampler = Sampler(table, asked, np.random.default_rng([seed, 0]))
        names = list(self.context.names)
        found = _searcher()(lambda rows: np.zeros(len(rows), dtype=int), names, dtype=np.int64).fit(sampler)
        instance = np.full(len(names), table.n_background)
        answer = found.explain(
            instance, threshold=self.threshold, batch_size=BATCH_SIZE, n_covered_ex=1, binary_cache_size=500
        )
        return [rule_of([table.predicates[int(number)] for number in answer.anchor])]


class Sampler:
    """A sampler for alibi's search: it draws the numbers of rows, with a generator of its own.

    alibi's own sampler seeds and uses NumPy's global generator, which is neither safe under threads nor ours to seed.
    """

    def __init__(self, table: Table, asked: Asker, rng: np.random.Generator) -> None:
        self.table, self.asked, self.draws = table, asked, Draws(table, rng)
        self.columns = np.array([one.column for one in table.predicates], dtype=np.intp)
        self.instance_label, self.n_covered = 1, 1

    def __call__(self, anchor: tuple[int, tuple[int, ...]], num_samples: int, compute_labels: bool = True) -> list[Any]:
        """Answer alibi: samples that agree and disagree, agreement, which predicates hold, coverage, order."""
        order, chosen = anchor
        predicates = [self.table.predicates[i] for i in chosen]
        drawn = self.draws.rows(predicates, num_samples)
        holding = self.table.held[np.arange(len(self.columns))[:, None], drawn[self.columns]].T.astype(np.int64)
        if not compute_labels:
            return [holding]
        agree = self.asked.agree(drawn)
        coverage = float(self.table.holds(predicates).mean()) if chosen else -1.0
        examples = drawn.T[agree][: self.n_covered], drawn.T[~agree][: self.n_covered]
        return [*examples, agree.astype(int), holding, coverage, order]

    def set_instance_label(self, X: Any) -> None:
        """Do nothing: the label is known."""

    def set_n_covered(self, n_covered: int) -> None:
        """Keep this many examples a rule."""
        self.n_covered = n_covered

    def build_lookups(self, X: Any) -> list[dict[int, Any]]:  # noqa: ARG002 -- alibi's protocol
        """Give no lookups: the predicates lie in the table."""
        return [{}, {}, {}]


@cache
def _searcher() -> Any:
    """Make alibi's class take our sampler, and name predicates by their numbers."""

    class Searcher(anchor_tabular()):  # type: ignore[misc]
        def fit(self, sampler: Sampler) -> Any:
            self.samplers, self._fitted = [sampler], True
            return self

        def add_names_to_exp(self, explanation: dict[str, Any]) -> None:
            explanation["names"] = [str(number) for number in explanation["feature"]]

    return Searcher
