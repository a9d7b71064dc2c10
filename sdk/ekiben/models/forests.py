"""Whether a text is one that LightGBM's reader survives: it ends the process, or reads beyond its memory, at others."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ekiben.errors import IntegrityError

if TYPE_CHECKING:
    from ekiben.models import Array

BY_NODE = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
BY_LEAF = ("leaf_value",)
MAYBE = {"leaf_weight": 0, "leaf_count": 0, "internal_value": -1, "internal_weight": -1, "internal_count": -1}
Values = dict[str, str]


def check_text(text: str) -> None:
    """See that every tree is whole, and that its nodes lead forward to leaves and columns that there are.

    Raises
    ------
    IntegrityError
        If they do not.

    Examples
    --------
    >>> check_text("tree")
    Traceback (most recent call last):
    ekiben.errors.IntegrityError: A text of LightGBM must hold whole trees. Got others: 'max_feature_idx'.
    """
    import numpy as np

    try:
        head = _values(text.partition("\nTree=")[0])
        n_columns = int(head["max_feature_idx"]) + 1
        trees = _trees(text, [int(size) for size in head["tree_sizes"].split()])
        _hold(_n_outputs(head) > 0 and len(trees) % _n_outputs(head) == 0, "num_class")
        _hold(len(head["feature_names"].split(" ")) == len(head["feature_infos"].split(" ")) == n_columns, "columns")
        with np.errstate(all="ignore"):
            for tree in trees:
                _check(_values(tree), n_columns)
    except (KeyError, ValueError, IndexError, OverflowError) as reason:
        raise IntegrityError(f"A text of LightGBM must hold whole trees. Got others: {reason}.") from None


def _hold(right: bool, what: str) -> None:
    if not right:
        raise ValueError(what)


def _n_outputs(head: Values) -> int:
    """Tell how many numbers a row is given; the reader makes room by one of these and writes by another."""
    told = [word.removeprefix("num_class:") for word in head.get("objective", "").split() if "num_class:" in word]
    counts = {int(count) for count in (head["num_class"], head["num_tree_per_iteration"], *told)}
    _hold(len(counts) == 1, "num_class")
    return counts.pop()


def _values(lines: str) -> Values:
    return dict(line.partition("=")[::2] for line in lines.splitlines() if "=" in line)


def _trees(text: str, sizes: list[int]) -> list[str]:
    """Cut the text as the reader does: by the sizes, in bytes, that the head tells."""
    data = text.encode()
    start = data.index(b"\nTree=0\n") + 1
    _hold(all(size > 0 for size in sizes), "tree_sizes")
    ends = list(accumulate(sizes, initial=start))
    cut = [data[here:there].decode() for here, there in pairwise(ends)]
    _hold(all(tree.startswith(f"Tree={i}\n") and tree.endswith("\n") for i, tree in enumerate(cut)), "tree_sizes")
    _hold(data[ends[-1] :].startswith(b"end of trees"), "tree_sizes")
    return cut


def _check(tree: Values, n_columns: int) -> None:
    n_leaves, n_sets = int(tree["num_leaves"]), int(tree["num_cat"])
    _hold(n_leaves > 0 and n_sets >= 0, "num_leaves")
    for name in BY_LEAF:
        _numbers(tree, name, n_leaves)
    if n_leaves > 1:
        _check_nodes(tree, n_leaves, n_columns)
        _check_sets(tree, n_leaves, n_sets)
        for name, fewer in MAYBE.items():
            _numbers(tree, name, n_leaves + fewer if tree.get(name) else 0)
    if int(tree.get("is_linear", 0)):
        _check_lines(tree, n_leaves, n_columns)


def _check_nodes(tree: Values, n_leaves: int, n_columns: int) -> None:
    import numpy as np

    nodes = {name: _numbers(tree, name, n_leaves - 1) for name in BY_NODE}
    here = np.arange(n_leaves - 1)
    for side in ("left_child", "right_child"):
        child = nodes[side]
        _hold(bool(((child >= -n_leaves) & (child < n_leaves - 1)).all()), side)
        _hold(bool((child[child >= 0] > here[child >= 0]).all()), side)  # no way back
    columns = nodes["split_feature"]
    _hold(bool(((columns >= 0) & (columns < n_columns)).all()), "split_feature")


def _check_sets(tree: Values, n_leaves: int, n_sets: int) -> None:
    """See that the sets of categories that nodes name are there."""
    import numpy as np

    named = _numbers(tree, "threshold", n_leaves - 1)[
        _numbers(tree, "decision_type", n_leaves - 1).astype(int) % 2 == 1
    ]
    _hold(bool(((named >= 0) & (named < n_sets)).all()), "threshold")
    if n_sets:
        bounds = _numbers(tree, "cat_boundaries", n_sets + 1)
        _hold(bounds[0] == 0 and bool((np.diff(bounds) >= 0).all()), "cat_boundaries")
        _numbers(tree, "cat_threshold", int(bounds[-1]))


def _check_lines(tree: Values, n_leaves: int, n_columns: int) -> None:
    counts = _numbers(tree, "num_features", n_leaves)
    _hold(bool((counts >= 0).all()), "num_features")
    _numbers(tree, "leaf_const", n_leaves)
    columns = _numbers(tree, "leaf_features", int(counts.sum()))
    _numbers(tree, "leaf_coeff", int(counts.sum()))
    _hold(bool(((columns >= 0) & (columns < n_columns)).all()), "leaf_features")


def _numbers(tree: Values, name: str, n_wanted: int) -> Array:
    import numpy as np

    found = np.array(tree.get(name, "").split(), dtype=np.float64)
    _hold(len(found) == n_wanted, name)
    return found
