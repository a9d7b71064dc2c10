"""How far a share that was counted may lie from the true one."""

from __future__ import annotations

from functools import cache
from math import inf, log, sqrt

Z = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations


def wilson(n_met: int, n: int) -> tuple[float, float]:
    """Give the 95 % interval of a share [1]_.

    References
    ----------
    .. [1] Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    >>> [round(bound, 3) for bound in wilson(95, 100)], wilson(0, 0)
    ([0.888, 0.978], (0.0, 1.0))
    """
    if not n:
        return 0.0, 1.0
    share, spread = n_met / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / n + spread / (4 * n))
    low = 0.0 if n_met == 0 else max(0.0, middle - half)
    return low, 1.0 if n_met == n else min(1.0, middle + half)


def divergence(p: float, q: float) -> float:
    """Give the Kullback-Leibler divergence of two coins, in nats.

    >>> divergence(0.5, 0.5), divergence(0.5, 1.0), round(divergence(1.0, 0.95), 4)
    (0.0, inf, 0.0513)
    """
    if q in (0.0, 1.0):
        return 0.0 if p == q else inf
    first = p * log(p / q) if p else 0.0
    return first + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)


@cache
def fewest_met(n: int, share: float, *, level: float) -> int:
    """Give the least count of n draws that does not show that their share is below `share`.

    That is the upper bound of KL-LUCB [1]_: with the true share at `share`, fewer come up with a chance below exp(-level).

    References
    ----------
    .. [1] Kaufmann, Kalyanakrishnan, "Information Complexity in Bandit Subset Selection", 2013.

    >>> fewest_met(100, 0.95, level=3.0)
    89
    """
    return next(met for met in range(n + 1) if met >= share * n or n * divergence(met / n, share) <= level)
