"""Shapley values of any model, by sampling orders of its raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import ClassVar

import numpy as np
import pandas as pd

from ekiben.errors import ExplainError
from ekiben.explainers._columns import Rows, mosaic, stack
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._outputs import explains, picked, units_of_scores
from ekiben.explainers._store import read_frame, write_frame
from ekiben.explanations import Attribution, Explanation

MOST_ROWS = 20_000  # in one call of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Permutation sampling [1]_ with antithetic orders, against background rows of the reference.

    From each background row columns are switched to the explained row one at a time, in random orders and in their
    reverses; what a switch adds is that column's. Each background row starts equally many orders, and `base_value` is
    their mean score, so that contributions add up exactly. A standard error tells how far a contribution may lie from
    that of the whole reference.

    References
    ----------
    .. [1] Strumbelj, Kononenko, "Explaining prediction models and individual predictions with feature
       contributions", 2014.
    """

    method: ClassVar[str] = "sampling"

    context: Context
    background: pd.DataFrame
    scores: Matrix
    n_pairs: int

    @classmethod
    def fit(cls, context: Context, *, n_background: int = 32, n_pairs: int = 2) -> Sampling:
        """Draw background rows; each will start `n_pairs` random orders and their reverses."""
        reference = context.reference_rows(cls.method)
        drawn = np.random.default_rng(0).permutation(len(reference))[:n_background]
        return cls._with(context, reference.iloc[np.sort(drawn)].reset_index(drop=True), n_pairs)

    @classmethod
    def _with(cls, context: Context, background: pd.DataFrame, n_pairs: int) -> Sampling:
        return cls(context=context, background=background, scores=context.scores(background), n_pairs=n_pairs)

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Explain each row: the score of its class (the second of two), or the value."""
        rows = self.context.rows(frame).reset_index(drop=True)
        values = self.context.scores(rows)
        outputs = np.ones(len(values), dtype=np.int64) if values.shape[1] == 2 else picked(values)
        return [
            self._explain(rows.iloc[[i]], float(values[i, output]), int(output), seed)
            for i, output in enumerate(outputs)
        ]

    def _explain(self, row: pd.DataFrame, value: float, output: int, seed: int) -> Attribution:
        started = perf_counter()
        orders = self._orders(np.random.default_rng(seed))
        base = self.scores[:, output]
        steps = self._walk(orders, stack(self.background, row), output)
        ends = np.full((*orders.shape[:2], 1), value)
        starts = np.broadcast_to(base[:, None, None], ends.shape)
        gains = np.diff(np.concatenate([starts, steps, ends], axis=2), axis=2)
        added = np.empty_like(gains)
        np.put_along_axis(added, orders, gains, axis=2)
        each = added.mean(axis=1)  # (n_background, n_columns)
        return Attribution.of(
            method="permutation-sampling",
            **explains(self.context, units_of_scores(self.context), output, self.scores.shape[1]),
            base_value=float(base.mean()),
            value=value,
            contributions=self._named(each.mean(axis=0)),
            standard_errors=self._named(each.std(axis=0, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None,
            elapsed_ms=(perf_counter() - started) * 1e3,
        )

    def _named(self, values: Matrix) -> dict[str, float]:
        return dict(zip(self.context.names, values.tolist(), strict=True))

    def _orders(self, rng: np.random.Generator) -> Rows:
        """Draw orders of the columns, and their reverses: (n_background, 2 n_pairs, n_columns)."""
        n_columns = len(self.context.names)
        straight = np.broadcast_to(np.arange(n_columns), (len(self.background), self.n_pairs, n_columns))
        orders = rng.permuted(straight, axis=2)
        return np.concatenate([orders, orders[..., ::-1]], axis=1)

    def _walk(self, orders: Rows, frame: pd.DataFrame, output: int) -> Matrix:
        """Score what lies between the background and the row: (n_background, 2 n_pairs, n_columns - 1)."""
        n_columns = orders.shape[2]
        if n_columns == 1:
            return np.empty((*orders.shape[:2], 0))
        try:
            found = [self.context.scores(mosaic(frame, part))[:, output] for part in _patches(orders)]
        except Exception as reason:
            raise ExplainError(
                "To sample, the model must answer rows that mix columns of two rows. It does not: "
                f"{type(reason).__name__}. Name another method: explainer='anchor'."
            ) from reason
        return np.asarray(np.concatenate(found).reshape(*orders.shape[:2], n_columns - 1))

    def save(self, folder: Path) -> None:
        """Write the background rows."""
        write_header(folder, self.method, n_pairs=self.n_pairs)
        write_frame(self.background, folder / "background.json")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Sampling:
        """Read what `save` wrote; no reference is needed."""
        return cls._with(context, read_frame(folder / "background.json"), read_header(folder)["n_pairs"])


def _patches(orders: Rows) -> Iterator[Rows]:
    """Say for each step from which row each cell comes; the explained row lies below the background."""
    n_background, n_orders, n_columns = orders.shape
    ranks = np.argsort(orders, axis=2).reshape(-1, 1, n_columns)
    starts = np.repeat(np.arange(n_background), n_orders)[:, None, None]
    switched = np.arange(1, n_columns)[None, :, None]
    size = max(1, MOST_ROWS // (n_columns - 1))
    for first in range(0, len(ranks), size):
        part = slice(first, first + size)
        yield np.where(ranks[part] < switched, n_background, starts[part]).reshape(-1, n_columns)
