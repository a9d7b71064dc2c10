"""Exact Shapley values of trees, from what is prepared once: tables where paths are short, sums over paths elsewhere.

Both rest on one identity. A leaf is reached where every feature on its path lies in the range that the path leaves open,
and it adds its value there. For such a product, with o 1 where the explained row is in a feature's range and r the chance
that the background is, the Shapley value of feature j is

    value * (o_j - r_j) * integral over u from 0 to 1 of the product over i != j of (o_i u + r_i (1 - u)),

which a Gauss-Legendre rule of half as many points as features integrates exactly. With r the shares of training rows along
the path it is path-dependent TreeSHAP [1]_; with r 0 or 1 for each background row, and the mean of them, it is
interventional [2]_.

References
----------
.. [1] Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for Tree Ensembles", 2018.
.. [2] Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020.
"""

from __future__ import annotations

from ekiben.explainers.shapley.prepared import Broken, Prepared, features_of

__all__ = ["Broken", "Prepared", "features_of"]
