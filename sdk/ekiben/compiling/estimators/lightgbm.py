"""LightGBM's trees as tables, added up in 64 bits as it does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.estimators.categories import CUT, Splits, bits, codes
from ekiben.compiling.estimators.trees import MOST, divided, trees
from ekiben.compiling.forest import Tree, constant, grow
from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, each_number, numeric, on

if TYPE_CHECKING:
    from ekiben.models import Array

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a node's decision type
NO_GAPS, ZEROS, NANS = 0, 1, 2  # and, above them, what the node takes for a missing value
ZERO = float(np.float32(1e-35))  # a number no larger than this is 0 to LightGBM when it predicts
PLAIN = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "",
)  # fmt: skip
LINKS = {
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "power"),
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "soft_plus",
}


def lightgbm(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves, tree by tree, and give what the objective makes of the sums."""
    booster = next((getattr(model, name) for name in ("booster_", "booster") if hasattr(model, name)), model)
    if any(key.startswith("pred_early_stop") and value for key, value in _settings(model, booster).items()):
        raise NoPlan("LightGBM ends a prediction early")
    head, *grown = booster.model_to_string().partition("\nend of trees")[0].split("\nTree=")
    told = _lines(head)
    n_targets = int(told["num_tree_per_iteration"])
    placed, splits = _placed(flow, booster, scope), Splits()
    placed = numeric(codes(placed, _categories(placed, booster, scope), scope), model)
    texts = [_lines(text) for text in grown]
    if any(map(_takes_zeros, texts)):
        placed = _without_zeros(placed, texts)
    found = [_tree(told, i % n_targets, splits, placed.width) for i, told in enumerate(texts)]
    placed, found = splits.put(placed, found, cut=True)
    forest = grow(found, n_features=placed.width, n_targets=n_targets, strict=False, bits=64)
    margins = decided = trees(placed, forest, narrow=False)
    if "average_output" in told:  # its decision function gives the sums all the same
        margins = divided(margins, len(found) // n_targets)
    return _answered(margins, decided.doc, told.get("objective", ""), model, scope)


def _settings(model: Any, booster: Any) -> Mapping[str, Any]:
    given = model.get_params() if hasattr(model, "get_params") else getattr(model, "stopping", {})
    return {**booster.params, **given}


def _lines(text: str) -> dict[str, str]:
    """Read what a part of the model's text says, a name and a value a line."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def _placed(flow: Flow, booster: Any, scope: Scope) -> Flow:
    """Put a frame's columns in the order of the trees, which LightGBM itself does not look at."""
    names = booster.feature_name()
    if flow.names is None or len(names) != flow.width:
        return flow
    spelt = {name.replace(" ", "_"): name for name in flow.names}
    if not all(name in spelt for name in names):
        return flow
    return scope.columns([spelt[name] for name in names])


def _categories(flow: Flow, booster: Any, scope: Scope) -> dict[str, Sequence[object]]:
    """Give the categories of the columns that had some, in the order of their codes."""
    named = [name for name in flow.names or () if scope.column(name).dtype == "category"]
    return dict(zip(named, booster.pandas_categorical or [], strict=False))


def _tree(told: Mapping[str, str], target: int, splits: Splits, width: int) -> Tree:
    if told.get("is_linear", "0") != "0":
        raise NoPlan("LightGBM's leaves are linear models")
    leaves = _floats(told["leaf_value"])
    if int(told["num_leaves"]) == 1:
        return constant(float(leaves[0]), target)
    n_nodes, n_leaves = len(leaves) - 1, len(leaves)
    left, right = (_children(told[side], n_nodes) for side in ("left_child", "right_child"))
    ends, zeros = np.full(n_leaves, -1), np.zeros(n_leaves)
    threshold, kind = _thresholds(told["threshold"]), _integers(told["decision_type"])
    feature, threshold, missing_left = _looked_at(told, threshold, kind, splits, width)
    return Tree(
        left=np.concatenate([left, ends]),
        right=np.concatenate([right, ends]),
        feature=np.concatenate([feature, zeros.astype(np.int64)]),
        threshold=np.concatenate([threshold, zeros]),
        missing_left=np.concatenate([missing_left, zeros.astype(np.int64)]),
        value=np.concatenate([np.zeros(n_nodes), leaves]),
        cover=np.concatenate([_counts(told, "internal_count", n_nodes), _counts(told, "leaf_count", n_leaves)]),
        target=target,
    )


def _thresholds(text: str) -> Array:
    """Read where nodes cut; at -ZERO just below it, as a number of that very value counts as 0 and goes right."""
    found = np.clip(_floats(text), -MOST, MOST)
    return np.where(found == -ZERO, np.nextafter(-ZERO, -np.inf), found)


def _looked_at(
    told: Mapping[str, str], threshold: Array, kind: Array, splits: Splits, width: int
) -> tuple[Array, Array, Array]:
    """Give which number each node looks at, where it cuts it, and whether a missing one goes left."""
    feature, cuts = _integers(told["split_feature"]), (kind & CATEGORICAL) > 0
    missing_left = np.where(cuts, 0, _missing_left(np.where(cuts, NANS << 2, kind), threshold))
    if not cuts.any():
        return feature, threshold, missing_left
    bounds, words = _integers(told["cat_boundaries"]), _integers(told["cat_threshold"])
    feature, threshold = feature.copy(), threshold.copy()
    for node in np.flatnonzero(cuts).tolist():
        which = int(threshold[node])
        left = bits(words[bounds[which] : bounds[which + 1]])
        n_codes = max(left, default=0) + 1
        right = sorted({*range(n_codes)} - {*left})
        feature[node] = width + splits.number(int(feature[node]), right, n_codes, other=1, missing=1)
        threshold[node] = CUT
    return feature, threshold, missing_left


def _children(text: str, n_nodes: int) -> Array:
    """Give nodes their numbers and, behind them, leaves, which LightGBM counts from -1 down."""
    found = _integers(text)
    return np.where(found < 0, n_nodes - found - 1, found)


def _missing_left(kind: Array, threshold: Array) -> Array:
    """Tell where a missing number goes: to the side that was learnt, or to that of 0 where the node knows no gaps."""
    takes, default, zero = kind >> 2 & 3, (kind & DEFAULT_LEFT) > 0, threshold >= 0
    return np.where(takes == NO_GAPS, zero, default).astype(np.int64)


def _takes_zeros(told: Mapping[str, str]) -> bool:
    """Tell whether a tree sends zeros, which stand for gaps, to another side than the threshold does."""
    if "threshold" not in told:
        return False
    kind, threshold = _integers(told["decision_type"]), _thresholds(told["threshold"])
    return bool(((kind >> 2 & 3 == ZEROS) & (((kind & DEFAULT_LEFT) > 0) != (threshold >= 0))).any())


def _without_zeros(flow: Flow, texts: Sequence[Mapping[str, str]]) -> Flow:
    """Let zeros be the gaps that they stand for; a node that knows no gaps sends these to the side of 0."""
    kinds = [_integers(told.get("decision_type", "")) for told in texts]
    if any(((kind & CATEGORICAL) > 0).any() or (kind >> 2 & 3 == NANS).any() for kind in kinds):
        raise NoPlan("LightGBM takes zeros for gaps beside categories")
    return on(flow, "gaps", marker=0.0, within=ZERO)


def _counts(told: Mapping[str, str], name: str, n: int) -> Array:
    """Give how many training rows came to each node; NaN where an older text does not tell."""
    found = _floats(told.get(name, ""))
    return found if len(found) == n else np.full(n, np.nan)


def _floats(text: str) -> Array:
    return np.array([float(each) for each in text.split()])


def _integers(text: str) -> Array:
    return np.array([int(each) for each in text.split()], dtype=np.int64)


def _answered(margins: Flow, decision: Doc, objective: str, model: Any, scope: Scope) -> list[Head]:
    """Turn sums into what the objective answers."""
    name, *settings = objective.split() or [""]
    told = dict(each.partition(":")[::2] for each in settings)
    classifies = getattr(model, "classifies", hasattr(model, "predict_proba"))
    if name == "binary" or (name == "cross_entropy" and classifies):
        chance = on(_steep(margins, told), "sigmoid")
        label = {"rule": "above", "at": 0.5, "strict": True}
        return [Head(core=chance, label=label, scores=chain(1, "pair"), decision=decision)]
    if name in ("multiclass", "multiclassova"):
        scores = on(margins, "softmax") if name == "multiclass" else on(_steep(margins, told), "sigmoid")
        return [Head(core=scores, label={"rule": "largest"}, scores=chain(scores.width), decision=decision)]
    return [Head(core=core, value=chain(1)) for core in each_number(_value(margins, name, told), scope)]


def _steep(margins: Flow, told: Mapping[str, str]) -> Flow:
    by = float(told.get("sigmoid", 1.0))
    return on(margins, "stretch", scale=[by] * margins.width, add=[0.0] * margins.width) if by != 1 else margins


def _value(margins: Flow, name: str, told: Mapping[str, str]) -> Flow:
    """Give what the link of a regression makes of the sums."""
    if name in PLAIN:
        return on(margins, "signed_square") if "sqrt" in told else margins
    if name not in LINKS:
        raise NoPlan(f"the objective {name} has a link of its own")
    return on(margins, LINKS[name])
