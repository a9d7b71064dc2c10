"""Friedman's H statistic: what two columns do together beyond what each does alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ekiben.explainers._context import Matrix
from ekiben.explainers.whole.asking import Table
from ekiben.overviews import Interaction, Interactions
from ekiben.progress import Progress

TINY = 1e-12  # of the variance of the answers: a joint effect below it is none


def interactions(table: Table, places: Sequence[int], say: Progress) -> Interactions:
    """Measure each pair of columns on the rows of a table: every row lends its cells to every other."""
    own = table.shown(table.alone())
    scale = float(((own - own.mean(axis=0)) ** 2).mean())
    alone = {place: _dependence(table, (place,)) for place in places}
    pairs = []
    for first, second in combinations(sorted(places), 2):
        say(f"asking about {table.names[first]} with {table.names[second]}")
        joint = _dependence(table, (first, second))
        beyond = float(((joint - alone[first] - alone[second]) ** 2).sum(axis=1).mean())
        whole = float((joint**2).sum(axis=1).mean())
        h = min(np.sqrt(beyond / whole), 1e6) if whole > TINY * scale else 0.0
        names = (table.names[first], table.names[second])
        pairs.append(Interaction(columns=names, h=float(h), strength=float(np.sqrt(beyond))))
    ordered = sorted(pairs, key=lambda pair: (-pair.strength, pair.columns))
    return Interactions(output=table.output, pairs=tuple(ordered), n_rows=table.n_rows)


def _dependence(table: Table, places: Sequence[int]) -> Matrix:
    """Give the partial dependence at the cells of each row, centred: (n_rows, n_numbers)."""
    n = table.n_rows
    rows = np.tile(table.alone(), (n, 1))  # every row, n times
    rows[:, list(places)] = np.repeat(np.arange(n), n)[:, None]
    found = table.shown(rows).reshape(n, n, -1).mean(axis=1)
    return np.asarray(found - found.mean(axis=0))
