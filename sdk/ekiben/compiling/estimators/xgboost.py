"""XGBoost's trees as tables, added up in 32 bits as it does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.estimators.categories import CUT, Splits, codes
from ekiben.compiling.estimators.trees import trees
from ekiben.compiling.forest import Tree, constant, grow
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, each_number, numeric, on

if TYPE_CHECKING:
    from ekiben.models import Array

SIGMOIDS = ("binary:logistic", "reg:logistic")
PLAIN = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "binary:logitraw",
    "rank:ndcg",
    "rank:map",
    "rank:pairwise",
    "reg:linear",
)
POWERS = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox", "reg:squaredlogerror")


def xgboost(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves in 32 bits, from the base score on and in the order of the trees, as XGBoost does."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    told = json.loads(booster.save_raw("json"))["learner"]
    filled = _unmarked(numeric(codes(flow, _categories(told, booster), scope), model), model)
    if told["gradient_booster"]["name"] == "gblinear":
        return _answered(_linear(filled, told), told, model, scope)
    splits = Splits()
    grown, n_targets = _grown(told, booster, splits, alone=booster is model)
    if splits.numbers:
        filled = on(filled, "round")  # before a number is a code
    filled, grown = splits.put(filled, grown)
    forest = grow(grown, n_features=filled.width, n_targets=n_targets, strict=True, bits=32)
    return _answered(trees(filled, forest, narrow=True), told, model, scope)


def _unmarked(flow: Flow, model: Any) -> Flow:
    """Let the number that stands for a gap be one, as 32 bits hold it; in a sparse matrix a zero is one."""
    marker = getattr(model, "missing", None)
    if flow.sparse:
        flow = on(flow, "gaps", marker=0.0)
    if marker is None or marker != marker:
        return flow
    if float(np.float32(marker)) != float(marker):
        raise NoPlan("a number that 32 bits cannot hold stands for a missing value")
    return on(flow, "gaps", marker=float(marker), narrow=True)


def _linear(flow: Flow, told: Any) -> Flow:
    """Give the weighed sums of a linear booster: the last row of its weights is what it adds."""
    n_targets = _n_targets(told)
    weights = np.array(told["gradient_booster"]["model"]["weights"], dtype=np.float32).reshape(-1, n_targets)
    intercept = weights[-1] + _base(told, n_targets)[0]  # every target begins with the first one's
    doc = {"op": "linear32", "of": flow.doc, "coef": weights[:-1].T.astype(np.float64)}
    return Flow(doc={**doc, "intercept": intercept.astype(np.float64)}, width=n_targets)


def _n_targets(told: Any) -> int:
    shape = told["learner_model_param"]
    return max(int(shape["num_class"]), int(shape["num_target"]), 1)


def _grown(told: Any, booster: Any, splits: Splits, *, alone: bool) -> tuple[list[Tree], int]:
    """Give the trees, and for how many targets they are.

    Of dart each tree has a weight. A wrapper asks in place, where XGBoost adds the base to each tree first and takes it away
    again: in 32 bits something of the leaf is lost.
    """
    gradient, n_targets = told["gradient_booster"], _n_targets(told)
    weights = gradient.get("weight_drop")
    inner = (gradient["gbtree"] if gradient["name"] == "dart" else gradient)["model"]
    best = booster.attr("best_iteration")
    per_round = max(int(inner["gbtree_model_param"]["num_parallel_tree"]), 1) * n_targets
    kept = inner["trees"] if best is None else inner["trees"][: (int(best) + 1) * per_round]
    base = _base(told, n_targets)
    grown = [constant(float(value), k) for k, value in enumerate(base)]
    for i, tree in enumerate(kept):
        target = int(inner["tree_info"][i])
        made = _of_xgboost(tree, target, splits)
        if weights is not None:
            leaves = made.value if alone else (base[target] + made.value) - base[target]
            made = replace(made, value=leaves * np.float32(weights[i]))
        grown.append(made)
    return grown, n_targets


def _base(told: Any, n_targets: int) -> Array:
    """Give the margin that every row begins with, in 32 bits."""
    said = str(told["learner_model_param"]["base_score"]).strip("[]")
    base = np.array([float(each) for each in said.split(",")], dtype=np.float32)
    name = told["objective"]["name"]
    if name in SIGMOIDS:
        base = -np.log(np.float32(1) / base - np.float32(1))
    elif name in POWERS and name != "reg:squaredlogerror":
        base = np.log(base)
    return np.broadcast_to(base.astype(np.float32), (n_targets,))


def _categories(told: Any, booster: Any) -> dict[str, Sequence[object]]:
    """Read the categories that the model was fitted on, in the order of their codes; those that are numbers have no offsets."""
    gradient = told["gradient_booster"]
    kept = gradient.get("gbtree", gradient).get("model", {}).get("cats", {}).get("enc", [])
    found: dict[str, Sequence[object]] = {}
    for name, each in zip(booster.feature_names or [], kept, strict=False):
        offsets, held = each.get("offsets", []), each["values"]
        if offsets:
            cut = pairwise(offsets)
            found[name] = [bytes(byte & 0xFF for byte in held[start:end]).decode() for start, end in cut]
    return found


def _of_xgboost(tree: Any, target: int, splits: Splits) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise NoPlan("a leaf holds numbers for every target")
    feature, condition_of, missing_left = _looked_at(tree, splits)
    left = np.array(tree["left_children"], dtype=np.int64)
    return Tree(
        left=left,
        right=np.array(tree["right_children"], dtype=np.int64),
        feature=feature,
        threshold=condition_of,
        missing_left=missing_left,
        value=np.array(tree["split_conditions"], dtype=np.float32),
        cover=np.array(tree["sum_hessian"], dtype=np.float64),
        target=target,
    )


def _looked_at(tree: Any, splits: Splits) -> tuple[Array, Array, Array]:
    """Give which number each node looks at, where it cuts it, and whether a missing one goes left.

    The categories that a node names go right, and all others left.
    """
    feature = np.array(tree["split_indices"], dtype=np.int64)
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    missing_left = np.array(tree["default_left"], dtype=np.int64)
    width = int(tree["tree_param"]["num_feature"])
    starts, sizes = tree.get("categories_segments", ()), tree.get("categories_sizes", ())
    for node, start, size in zip(tree.get("categories_nodes", ()), starts, sizes, strict=True):
        right = tree["categories"][start : start + size]
        n_codes, missing = max(right, default=0) + 1, 1 - int(missing_left[node])
        feature[node] = width + splits.number(int(feature[node]), right, n_codes, other=0, missing=missing)
        condition[node] = CUT
    return feature, condition, missing_left


def _answered(margins: Flow, told: Any, model: Any, scope: Scope) -> list[Head]:
    """Turn margins into what the objective answers, rounded to 32 bits wherever XGBoost rounds."""
    name, kind = told["objective"]["name"], type(model).__name__
    classifies, alone = kind.endswith("Classifier"), kind == "Booster"
    if name == "multi:softprob" and (classifies or alone):
        core = on(on(margins, "softmax"), "round")
        return [Head(core=core, label={"rule": "largest"}, scores=chain(core.width))]
    if name == "multi:softmax" and (classifies or alone):
        scores = chain(margins.width, "softmax", "round") if classifies else None
        return [Head(core=margins, label={"rule": "largest"}, scores=scores)]
    if name == "binary:hinge" and (classifies or alone):
        return [Head(core=margins, label={"rule": "above", "at": 0.0, "strict": True})]
    if name == "binary:logitraw" and classifies:  # which takes margins for chances
        return [Head(core=margins, label={"rule": "above", "at": 0.5, "strict": True})]
    if name in SIGMOIDS and (classifies or (alone and name == "binary:logistic")):
        chances = on(on(margins, "sigmoid"), "round")
        return [
            Head(core=core, label={"rule": "above", "at": 0.5, "strict": True}, scores=chain(1, "pair", "round"))
            for core in each_number(chances, scope)
        ]
    if classifies or name not in LINKS:
        raise NoPlan(f"the objective {name} has a link of its own")
    return [Head(core=core, value=chain(1, *LINKS[name])) for core in each_number(margins, scope)]


LINKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PLAIN, ()),
    **dict.fromkeys(POWERS[:-1], ("power", "round")),
    "reg:squaredlogerror": (),
    **dict.fromkeys(SIGMOIDS, ("sigmoid", "round")),
}
