"""Shapley values of any model, by sampling orders of its raw columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ekiben.compiling import Coded
from ekiben.errors import ExplainError
from ekiben.explainers._columns import Rows, mosaic, stack
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers._outputs import picked, units_of_scores
from ekiben.explainers._scales import Columns, Scale
from ekiben.explainers._settings import at_least
from ekiben.explainers._store import read_frame, write_frame
from ekiben.explanations import Attribution, Explanation, Units
from ekiben.tables import as_columns

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20_000  # in one call of the model
MOST_CELLS = 4_000_000  # and so many in them: of wide rows fewer are asked about at once
MOST_BLOCKS = 16  # of background rows that are kept
MOST_ROUNDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Permutation sampling [1]_ with antithetic orders, against background rows of the reference.

    From each background row columns are switched to the explained row one at a time, in random orders and in their
    reverses; what a switch adds is that column's. Each background row starts equally many orders, and `base_value` is
    their mean score, so that contributions add up exactly. A standard error tells how far a contribution may lie from
    that of the whole reference. A model with a plan is asked by it.

    A round takes one block of background rows, and the next round the next block; when all had their turn, the first
    comes again with other orders. So more rounds make smaller errors, and as many rounds give the same numbers again.

    References
    ----------
    .. [1] Strumbelj, Kononenko, "Explaining prediction models and individual predictions with feature
       contributions", 2014.
    """

    method: ClassVar[str] = "sampling"

    context: Context
    background: pd.DataFrame
    columns: Columns
    scores: Matrix
    scale: Scale
    n_pairs: int
    n_block: int

    @classmethod
    def fit(cls, context: Context, *, n_background: int = 32, n_pairs: int = 2, units: Units | None = None) -> Sampling:
        """Draw blocks of `n_background` rows; in a round each row starts `n_pairs` random orders and their reverses.

        `units` is the scale: by default the model's own, a probability or the target; else `log-odds`, or `margin`.
        """
        at_least("n_background", n_background, 1)
        at_least("n_pairs", n_pairs, 1)
        reference = context.reference_rows(cls.method)
        drawn = np.random.default_rng(0).permutation(len(reference))[: n_background * MOST_BLOCKS]
        n_block = min(n_background, len(drawn))
        whole = drawn[: len(drawn) // n_block * n_block].reshape(-1, n_block)
        rows = reference.iloc[np.sort(whole, axis=1).ravel()].reset_index(drop=True)
        return cls._with(Scale.of(context, units, reference), rows, n_pairs, n_block)

    @classmethod
    def _with(cls, scale: Scale, background: pd.DataFrame, n_pairs: int, n_block: int) -> Sampling:
        return cls(
            context=scale.context,
            background=background,
            columns=as_columns(background),
            scores=scale.of_frame(background),
            scale=scale,
            n_pairs=n_pairs,
            n_block=n_block,
        )

    @property
    def units(self) -> Units:
        """The scale of what it gives."""
        return self.scale.units

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Explain each row by one round: the score of its class (the second of two), or the value."""
        return self.explain_rounds(frame, seed=seed, n_rounds=1)[0]

    def explain_rounds(
        self, frame: pd.DataFrame, *, seed: int = 0, seconds: float | None = None, n_rounds: int | None = None
    ) -> tuple[list[Explanation], int]:
        """Explain each row by as many rounds as are asked for, or as fit into some seconds; one at least.

        Returns
        -------
        The explanations, and how many rounds were drawn for each.
        """
        began = perf_counter()
        most = n_rounds or (1 if seconds is None else MOST_ROUNDS)
        rows = self.context.rows(frame).reset_index(drop=True)
        values = self.scale.of_frame(rows)
        outputs = np.ones(len(values), dtype=np.int64) if values.shape[1] == 2 else picked(values)
        walks = [_Walk(self, rows.iloc[[i]], float(values[i, output]), int(output)) for i, output in enumerate(outputs)]
        longest, drawn = 0.0, 0
        while drawn < most:
            started = perf_counter()
            if drawn and seconds is not None and started - began + 1.2 * longest > seconds:
                break
            for walk in walks:
                walk.draw(drawn, seed)
            drawn += 1
            longest = max(longest, perf_counter() - started)
        return [walk.attribution() for walk in walks], drawn

    def save(self, folder: Path) -> None:
        """Write the background rows."""
        scale = {"units": self.scale.units, "by": self.scale.by}
        write_header(folder, self.method, n_pairs=self.n_pairs, n_block=self.n_block, **scale)
        write_frame(self.background, folder / "background.json")

    @classmethod
    def load(cls, folder: Path, context: Context) -> Sampling:
        """Read what `save` wrote; no reference is needed."""
        background, header = read_frame(folder / "background.json"), read_header(folder)
        units = header.get("units", units_of_scores(context))
        scale = Scale(context=context, units=units, by=header.get("by", "scores"))
        return cls._with(scale, background, header["n_pairs"], header.get("n_block", len(background)))


class _Walk:
    """What the rounds have found for one row."""

    def __init__(self, of: Sampling, row: pd.DataFrame, value: float, output: int) -> None:
        self._of, self._row, self._value, self._output = of, row, value, output
        self._plain = [column[0] for column in as_columns(row)]
        self._seconds = 0.0
        n_rows, n_columns = len(of.background), len(of.context.names)
        self._sums, self._times = np.zeros((n_rows, n_columns)), np.zeros(n_rows)

    def draw(self, number: int, seed: int) -> None:
        """Add a round, which depends on its number and the seed alone."""
        started, of = perf_counter(), self._of
        first = number * of.n_block % len(of.background)
        block = slice(first, first + of.n_block)
        orders = self._orders(np.random.default_rng([seed, number] if number else seed))
        steps = self._scored(orders, block)
        ends = np.full((*orders.shape[:2], 1), self._value)
        starts = np.broadcast_to(of.scores[block, self._output][:, None, None], ends.shape)
        gains = np.diff(np.concatenate([starts, steps, ends], axis=2), axis=2)
        added = np.empty_like(gains)
        np.put_along_axis(added, orders, gains, axis=2)
        self._sums[block] += added.mean(axis=1)
        self._times[block] += 1
        self._seconds += perf_counter() - started

    def attribution(self) -> Attribution:
        """Tell what all rounds found together."""
        of, output = self._of, self._output
        seen = self._times > 0
        weights = self._times[seen] / self._times.sum()  # as often as a row began a round
        each = self._sums[seen] / self._times[seen, None]  # (n_background, n_columns)
        return Attribution.of(
            method="permutation-sampling",
            **of.scale.explains(output, of.scores.shape[1]),
            base_value=float((weights * of.scores[seen, output]).sum()),
            value=self._value,
            contributions=self._named((weights[:, None] * each).sum(axis=0)),  # not `@`: BLAS adds by its threads
            standard_errors=self._named(each.std(axis=0, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None,
            elapsed_ms=self._seconds * 1e3,
        )

    def _named(self, values: Matrix) -> dict[str, float]:
        return dict(zip(self._of.context.names, values.tolist(), strict=True))

    def _orders(self, rng: np.random.Generator) -> Rows:
        """Draw orders of the columns, and their reverses: (n_block, 2 n_pairs, n_columns)."""
        of, n_columns = self._of, len(self._of.context.names)
        straight = np.broadcast_to(np.arange(n_columns), (of.n_block, of.n_pairs, n_columns))
        orders = rng.permuted(straight, axis=2)
        return np.concatenate([orders, orders[..., ::-1]], axis=1)

    def _scored(self, orders: Rows, block: slice) -> Matrix:
        """Score what lies between the background and the row: (n_block, 2 n_pairs, n_columns - 1)."""
        n_columns = orders.shape[2]
        if n_columns == 1:
            return np.empty((*orders.shape[:2], 0))
        try:
            found = [each[:, self._output] for each in self._asked(orders, block)]
        except ExplainError:
            raise
        except Exception as reason:
            raise ExplainError(
                "To sample, the model must answer rows that mix columns of two rows. It does not: "
                f"{type(reason).__name__}. Name another method: explainer='anchor'."
            ) from reason
        return np.asarray(np.concatenate(found).reshape(*orders.shape[:2], n_columns - 1))

    def _asked(self, orders: Rows, block: slice) -> Iterator[Matrix]:
        """Ask the plan about patched rows, and the model itself where it has no answer."""
        of, frame = self._of, None
        known = [[*column[block], own] for column, own in zip(of.columns, self._plain, strict=True)]
        for part in _patches(orders):
            patched = [Coded(values, part[:, i]) for i, values in enumerate(known)]
            found = of.scale.of_columns(patched, len(part))
            if found is None:
                if frame is None:
                    frame = stack(of.background.iloc[block].reset_index(drop=True), self._row)
                found = of.scale.of_model(mosaic(frame, part))
            yield found


def _patches(orders: Rows) -> Iterator[Rows]:
    """Say for each step from which row each cell comes; the explained row lies below the background."""
    n_background, n_orders, n_columns = orders.shape
    ranks = np.argsort(orders, axis=2).reshape(-1, 1, n_columns)
    starts = np.repeat(np.arange(n_background), n_orders)[:, None, None]
    switched = np.arange(1, n_columns)[None, :, None]
    size = max(1, min(MOST_ROWS, MOST_CELLS // n_columns) // (n_columns - 1))
    for first in range(0, len(ranks), size):
        part = slice(first, first + size)
        yield np.where(ranks[part] < switched, n_background, starts[part]).reshape(-1, n_columns)
