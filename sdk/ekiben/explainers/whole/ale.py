"""Accumulated local effects: what a column adds among rows like those that there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.errors import SpecError
from ekiben.explainers._columns import Rows
from ekiben.explainers._context import Matrix
from ekiben.explainers.whole.asking import Table
from ekiben.explainers.whole.grids import at_quantiles, grid
from ekiben.overviews import Curve

MOST_OTHERS = 50  # columns by which categories are found alike


def accumulated_effects(table: Table, place: int, n_values: int) -> Curve:
    """Add up the local effects of a column, centred on their mean over the rows [1]_.

    Each row is asked at the two ends of the interval that it lies in, so that no row is moved far. Categories without an
    order of their own are put in a row by how alike their rows are in the other columns. Rows that miss the value are
    left out.

    Raises
    ------
    SpecError
        If all do.

    References
    ----------
    .. [1] Apley, Zhu, "Visualizing the Effects of Predictor Variables in Black Box Supervised Learning Models", 2020.
    """
    if np.isnan(table.code(place)).all():
        raise SpecError(
            f"An 'ale' needs rows that hold a value of {table.names[place]!r}. Got only missing ones. "
            "Ask for the partial dependence, or give other rows."
        )
    return _of_numbers(table, place, n_values) if table.axis(place).is_ordered else _of_choices(table, place, n_values)


def _of_numbers(table: Table, place: int, n_values: int) -> Curve:
    codes = table.code(place)
    there = np.flatnonzero(~np.isnan(codes))
    edges = at_quantiles(codes[there], np.linspace(0, 1, n_values), n_values)
    sources = np.array([there[np.argmax(codes[there] == edge)] for edge in edges], dtype=np.int64)
    if len(edges) < 2:
        return _curve(table, place, sources, np.zeros((len(edges), _n_numbers(table))), np.ones(len(edges)), len(there))
    bins = np.clip(np.searchsorted(edges, codes[there], side="left"), 1, len(edges) - 1)
    steps = _moved(table, place, there, sources[bins]) - _moved(table, place, there, sources[bins - 1])
    counts = np.bincount(bins, minlength=len(edges))[1:]
    means = np.array([steps[bins == k + 1].mean(axis=0) for k in range(len(counts))])
    effects = np.vstack([np.zeros(means.shape[1]), means.cumsum(axis=0)])
    centre = counts / len(there) @ ((effects[1:] + effects[:-1]) / 2)
    nearest = np.bincount(np.searchsorted((edges[1:] + edges[:-1]) / 2, codes[there]), minlength=len(edges))
    return _curve(table, place, sources, effects - centre, nearest, len(there))


def _of_choices(table: Table, place: int, n_values: int) -> Curve:
    found = grid(table, place, n_values)
    there = np.array([row for row, gap in zip(found.rows, found.is_gap, strict=True) if not gap], dtype=np.int64)
    codes = table.code(place)
    order = _order(table, place, codes[there])
    sources = there[order]
    groups = [np.flatnonzero(codes == codes[source]) for source in sources]
    counts = np.array([len(group) for group in groups])
    steps = [
        (_moved(table, place, both, _all(both, to)) - _moved(table, place, both, _all(both, at))).mean(axis=0)
        for at, to, both in zip(sources, sources[1:], map(_both, groups, groups[1:]), strict=False)
    ]
    effects = np.vstack([np.zeros(_n_numbers(table)), *steps]).cumsum(axis=0)
    n_rows = int(counts.sum())
    return _curve(table, place, sources, effects - counts / n_rows @ effects, counts, n_rows)


def _both(one: Rows, other: Rows) -> Rows:
    return np.concatenate([one, other])


def _all(rows: Rows, source: int) -> Rows:
    return np.full(len(rows), source)


def _n_numbers(table: Table) -> int:
    return len(table.labels) or 1


def _moved(table: Table, place: int, rows: Rows, sources: Rows) -> Matrix:
    """Answer rows with a column that comes from others."""
    patched = np.repeat(rows[:, None], len(table.names), axis=1)
    patched[:, place] = sources
    return table.shown(patched)


def _curve(table: Table, place: int, sources: Rows, effects: Matrix, counts: Any, n_rows: int) -> Curve:
    axis = table.axis(place)
    return Curve(
        column=table.names[place],
        method="ale",
        output=f"effect on the {table.output}",
        labels=table.labels,
        grid=tuple(table.columns[place][row] for row in sources),
        is_ordered=axis.is_ordered,
        averages=tuple(map(tuple, effects.T.tolist())),
        shares=tuple((np.asarray(counts) / max(n_rows, 1)).tolist()),
        lines=(),
        n_rows=n_rows,
    )


# ── which categories stand side by side ────────────────────────────────────────────────────────────────────────────


def _order(table: Table, place: int, codes: Matrix) -> Rows:
    """Order categories: by their own order where it means something, else along the line on which alike ones are near."""
    column = table.context.schema.columns[place]
    if column.ordered or column.kind == "boolean" or len(codes) < 3:
        return np.arange(len(codes))
    line = _on_a_line(_apart(table, place, codes))
    return np.argsort(line if line[0] <= line[-1] else -line, kind="stable")


def _apart(table: Table, place: int, codes: Matrix) -> Matrix:
    """Add up over the other columns how far the values of two categories lie apart: (n_categories, n_categories)."""
    groups = [table.code(place) == code for code in codes]
    others = [i for i in range(len(table.names)) if i != place][:MOST_OTHERS]
    return np.sum([_distances(table, i, groups) for i in others], axis=0) if others else np.zeros((len(codes),) * 2)


def _distances(table: Table, other: int, groups: list[Any]) -> Matrix:
    """Compare distributions: of numbers by the largest distance of their steps (Kolmogorov and Smirnov), else by half the sum."""
    values = table.code(other)
    known = np.unique(values[~np.isnan(values)])
    if table.axis(other).is_ordered and len(known) > 50:
        known = np.unique(np.quantile(known, np.linspace(0, 1, 50), method="inverted_cdf"))
    if not len(known):
        return np.zeros((len(groups),) * 2)
    shares = np.array([_distribution(values[group], known, table.axis(other).is_ordered) for group in groups])
    differences = np.abs(shares[:, None] - shares[None])
    return np.asarray(differences.max(axis=2) if table.axis(other).is_ordered else differences.sum(axis=2) / 2)


def _distribution(values: Matrix, known: Matrix, is_ordered: bool) -> Matrix:
    there = np.sort(values[~np.isnan(values)])
    if not len(there):
        return np.zeros(len(known))
    if is_ordered:
        return np.asarray(np.searchsorted(there, known, side="right") / len(there))
    return np.array([(there == value).mean() for value in known])


def _on_a_line(distances: Matrix) -> Matrix:
    """Put points on the line that keeps their distances best: classical scaling [1]_.

    References
    ----------
    .. [1] Torgerson, "Multidimensional Scaling", 1952.

    >>> _on_a_line(np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])).round(3).tolist() in (
    ...     [-1.333, -0.333, 1.667],
    ...     [1.333, 0.333, -1.667],
    ... )
    True
    """
    n = len(distances)
    centring = np.eye(n) - 1 / n
    powers, vectors = np.linalg.eigh(-centring @ distances**2 @ centring / 2)
    return np.asarray(vectors[:, -1] * np.sqrt(max(powers[-1], 0.0))).round(9)
