"""The report on a whole model that a package keeps: bounded by counts of rows, so that the same model gives the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Context
from ekiben.explainers.whole.asking import Table
from ekiben.explainers.whole.curves import partial_dependence
from ekiben.explainers.whole.grids import grid, has_grid
from ekiben.explainers.whole.importance import importance
from ekiben.explainers.whole.interactions import interactions
from ekiben.explainers.whole.surrogates import LEAST_ROWS, surrogate
from ekiben.overviews import Overview

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many rows a report may ask about, and for what."""

    shuffled: int  # for all columns together
    most_rows: int  # of the reference, at a time
    n_repeats: int
    n_curves: int
    curve_rows: int
    curve_values: int
    pairs_of: int  # columns
    pair_rows: int
    surrogate_rows: int


BY_PLAN = Budget(
    shuffled=12_000,
    most_rows=250,
    n_repeats=4,
    n_curves=6,
    curve_rows=60,
    curve_values=12,
    pairs_of=4,
    pair_rows=24,
    surrogate_rows=600,
)
BY_MODEL = Budget(
    shuffled=2_000,
    most_rows=100,
    n_repeats=2,
    n_curves=4,
    curve_rows=25,
    curve_values=8,
    pairs_of=3,
    pair_rows=10,
    surrogate_rows=300,
)
FEWEST_ROWS = 16
DEPTH = 3


def report(context: Context, name: str) -> Overview:
    """Look at a whole model: by its plan closely, and where the model itself must be asked, less so."""
    quick = context.plan is not None and not context.plan.native
    budget = BY_PLAN if quick else BY_MODEL
    reference, n_columns = context.reference_rows("overview"), len(context.names)
    n_shuffled = min(budget.most_rows, max(FEWEST_ROWS, budget.shuffled // (budget.n_repeats * n_columns)))
    leaning = importance(
        _table(context, reference, n_shuffled), None, None, n_repeats=budget.n_repeats, seed=0, say=_unsaid
    )
    places = [context.names.index(column) for column in leaning.strongest(budget.n_curves)]
    whole = Table(context, reference)
    among = _drawn(len(reference), budget.curve_rows)
    curves = [
        partial_dependence(whole, grid(whole, place, budget.curve_values), among, n_lines=0, seed=0)
        for place in places
        if has_grid(whole, place)
    ]
    pairs = (
        interactions(_table(context, reference, budget.pair_rows), places[: budget.pairs_of], _unsaid)
        if len(places) > 1
        else None
    )
    imitated = _table(context, reference, budget.surrogate_rows)
    small = imitated.n_rows < LEAST_ROWS
    return Overview(
        name=name,
        importance=leaning,
        curves=tuple(curves),
        interactions=pairs,
        surrogate=None if small else surrogate(imitated, "tree", depth=DEPTH, n_columns=n_columns, seed=0),
    )


def _unsaid(_words: str) -> None:
    """Tell nobody: each step is short."""


def _drawn(n_rows: int, most: int) -> Rows:
    return np.sort(np.random.default_rng(0).permutation(n_rows)[:most])


def _table(context: Context, reference: pd.DataFrame, most: int) -> Table:
    return Table(context, reference.iloc[_drawn(len(reference), most)])
