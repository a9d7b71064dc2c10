"""Shapley values by all coalitions: what exact methods are held against."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd


def shapley(players, worth):
    """Values of a game: `worth` takes a coalition of the players, as a tuple."""
    n = len(players)
    found = {}
    for player in players:
        others = [other for other in players if other != player]
        found[player] = sum(
            factorial(size) * factorial(n - 1 - size) / factorial(n) * (worth((*coalition, player)) - worth(coalition))
            for size in range(n)
            for coalition in combinations(others, size)
        )
    return found


def brute_force(score, reference, row):
    """What a coalition is worth is the mean score over the whole reference, with its columns from the row."""

    def worth(coalition):
        mixed = reference.copy()
        for name in coalition:
            mixed[name] = pd.Series([row[name].iloc[0]] * len(mixed), index=mixed.index, dtype=mixed[name].dtype)
        return score(mixed).mean()

    return shapley(list(reference.columns), worth)


def of_game(link, explained, other):
    """What a coalition is worth is the link of the sum of its own parts and the others' parts."""

    def worth(coalition):
        parts = other.copy()
        parts[list(coalition)] = explained[list(coalition)]
        return float(link(parts.sum()))

    return np.array(list(shapley(list(range(len(other))), worth).values()))
