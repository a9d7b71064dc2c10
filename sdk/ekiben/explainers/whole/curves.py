"""What a model answers as a column takes other values: partial dependence, and single rows of it."""

from __future__ import annotations

import numpy as np

from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Matrix
from ekiben.explainers.whole.asking import Table, with_column
from ekiben.explainers.whole.grids import Grid
from ekiben.overviews import Curve, Surface
from ekiben.progress import Progress


def partial_dependence(table: Table, grid: Grid, among: Rows, *, n_lines: int, seed: int) -> Curve:
    """Set a column of some rows to each value of a grid [1]_; some rows are told one by one [2]_.

    References
    ----------
    .. [1] Friedman, "Greedy Function Approximation", 2001.
    .. [2] Goldstein and others, "Peeking Inside the Black Box", 2015.
    """
    n_rows = len(among)
    found = table.shown(with_column(table.alone()[among], grid.place, grid.rows))
    answers = found.reshape(len(grid.rows), n_rows, -1)
    drawn = np.sort(np.random.default_rng(seed).permutation(n_rows)[:n_lines])
    lines = answers[:, drawn].transpose(2, 1, 0)  # (n_numbers, n_lines, n_grid)
    return Curve(
        column=table.names[grid.place],
        method="partial-dependence",
        output=table.output,
        labels=table.labels,
        grid=grid.values,
        is_ordered=grid.is_ordered,
        averages=tuple(map(tuple, answers.mean(axis=1).T.tolist())),
        shares=grid.shares,
        lines=tuple(tuple(map(tuple, each)) for each in lines.tolist()) if n_lines else (),
        n_rows=n_rows,
    )


def surface(table: Table, first: Grid, second: Grid, number: int, say: Progress) -> Surface:
    """Set two columns of every row to each pair of values; `number` says which of the numbers is told."""
    averages = []
    for at, row in enumerate(first.rows):
        say(f"row {at + 1} of {len(first.rows)} of the map")
        rows = table.alone()
        rows[:, first.place] = row
        averages.append(_means(table, with_column(rows, second.place, second.rows), len(second.rows))[:, number])
    label = f" {table.labels[number]!r}" if table.labels else ""
    return Surface(
        columns=(table.names[first.place], table.names[second.place]),
        output=f"{table.output}{' of' if label else ''}{label}",
        grids=(first.values, second.values),
        averages=tuple(tuple(row.tolist()) for row in averages),
        n_rows=table.n_rows,
    )


def _means(table: Table, rows: Rows, n_values: int) -> Matrix:
    return np.asarray(table.shown(rows).reshape(n_values, table.n_rows, -1).mean(axis=1))
