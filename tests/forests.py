"""Random forests of a test's own making."""

import numpy as np

from ekiben.compiling.forest import Tree, constant, grow


def tree_of(rng, n_splits, n_features, target):
    """Grow a tree by splitting some leaf at random."""
    left, right, feature = [-1], [-1], [0]
    threshold, missing, value = [0.0], [0], [float(rng.normal())]
    for _ in range(n_splits):
        leaf = int(rng.choice([i for i, each in enumerate(left) if each < 0]))
        left[leaf], right[leaf] = len(left), len(left) + 1
        feature[leaf], threshold[leaf] = int(rng.integers(n_features)), float(rng.normal())
        missing[leaf] = int(rng.integers(2))
        for _ in range(2):
            left.append(-1), right.append(-1), feature.append(0)
            threshold.append(0.0), missing.append(0), value.append(float(rng.normal()))
    cover = rng.integers(1, 9, size=len(left)).astype(float)
    for node in reversed(range(len(left))):  # children lie behind their parent
        if left[node] >= 0:
            cover[node] = cover[left[node]] + cover[right[node]]
    return Tree(
        left=np.array(left),
        right=np.array(right),
        feature=np.array(feature),
        threshold=np.array(threshold),
        missing_left=np.array(missing),
        value=np.array(value),
        cover=cover,
        target=target,
    )


def forest_of(seed=0, *, n_trees=3, n_splits=4, n_features=5, bits=64, strict=False):
    rng = np.random.default_rng(seed)
    trees = [constant(0.5, 1), *(tree_of(rng, n_splits, n_features, i % 2) for i in range(n_trees))]
    return grow(trees, n_features=n_features, n_targets=2, strict=strict, bits=bits)
