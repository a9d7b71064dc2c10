"""Trees of scikit-learn as tables, added up in the order and the bits in which it does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.estimators.categories import CUT, Splits, bits
from ekiben.compiling.forest import Forest, Tree, constant, grow
from ekiben.compiling.steps.categories import ordinal
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, each_number, is_of, joined, numeric, picked

if TYPE_CHECKING:
    from ekiben.models import Array

MOST = np.finfo(np.float64).max  # stands for a threshold of infinity, which every number is below


def trees(flow: Flow, forest: Forest, *, narrow: bool, leaves: Array | None = None, whole: bool = False) -> Flow:
    """Put trees on a flow; `narrow` rounds its numbers to 32 bits first, and `leaves` are what the leaves' numbers name.

    `whole` says that the model looks for a missing number before its trees do, and refuses it.
    """
    width = forest.n_targets if leaves is None else leaves.shape[1]
    rounded = (
        narrow and flow.doc["op"] == "round" and flow.doc.get("only") is None
    )  # the trees round all of them anyway
    doc = {"op": "trees", "of": flow.doc["of"] if rounded else flow.doc, "forest": forest, "narrow": narrow}
    doc |= {"whole": True} if whole else {}
    return Flow(doc=doc if leaves is None else {**doc, "leaves": leaves}, width=width)


def of_sklearn(estimator: Any, value: Array, target: int = 0, features: Any = None) -> Tree:
    """Read one tree of scikit-learn; `value` of shape (n_nodes,) is what its leaves add.

    `features` are the places of those that it was grown on among all that there are.
    """
    tree = estimator.tree_
    feature = np.maximum(tree.feature, 0)
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=feature if features is None else np.asarray(features)[feature],
        threshold=np.minimum(tree.threshold, MOST),
        missing_left=np.asarray(tree.missing_go_to_left),
        value=value,
        cover=tree.weighted_n_node_samples,
        target=target,
    )


def leaf_sums(
    flow: Flow,
    estimators: Sequence[Any],
    values: Sequence[Array],
    features: Sequence[Any] | None = None,
    *,
    whole: bool = False,
) -> Flow:
    """Add up, tree by tree, rows of numbers that the leaves hold: `values` has for each tree (n_nodes, n_numbers)."""
    grown, rows, start = [], [], 0
    for i, (estimator, value) in enumerate(zip(estimators, values, strict=True)):
        leaf = estimator.tree_.children_left < 0
        number = np.zeros(len(leaf))
        number[leaf] = start + np.arange(int(leaf.sum()))
        start += int(leaf.sum())
        rows.append(value[leaf])
        grown.append(of_sklearn(estimator, number, target=i, features=None if features is None else features[i]))
    forest = grow(grown, n_features=flow.width, n_targets=len(grown), strict=False, bits=64)
    return trees(flow, forest, narrow=True, leaves=np.concatenate(rows), whole=whole)


def sums(flow: Flow, grown: list[Tree], n_targets: int, *, whole: bool = False) -> Flow:
    """Add up what the leaves of scikit-learn's trees hold, in 64 bits."""
    forest = grow(grown, n_features=flow.width, n_targets=n_targets, strict=False, bits=64)
    return trees(flow, forest, narrow=True, whole=whole)


def divided(flow: Flow, by: float) -> Flow:
    """Divide each number."""
    if by == 1:
        return flow
    doc = {"op": "scale", "of": flow.doc, "shift": [0.0] * flow.width, "scale": [float(by)] * flow.width}
    return Flow(doc=doc, width=flow.width)


def are_trees(found: Sequence[Any]) -> bool:
    """Tell whether all of them are single trees of one output, which one forest can hold."""
    names = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
    return all(
        is_of(member, "sklearn") and type(member).__name__ in names and member.n_outputs_ == 1 for member in found
    )


def forest_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the shares of the classes in the leaves: DecisionTree, ExtraTree, RandomForest, ExtraTrees."""
    grown = list(getattr(model, "estimators_", [model]))
    n_classes = np.atleast_1d(model.n_classes_).tolist()
    values = [_side_by_side(member, n_classes) for member in grown]
    summed = divided(leaf_sums(numeric(flow, model), grown, values), len(grown))
    if len(n_classes) == 1:
        return [Head(core=summed, label={"rule": "largest"}, scores=chain(summed.width))]
    shared, heads, start = scope.share(summed), [], 0
    for n in n_classes:
        core = picked(shared, range(start, start + n))
        heads.append(Head(core=core, label={"rule": "largest"}, scores=chain(n)))
        start += n
    return heads


def _side_by_side(member: Any, n_classes: Sequence[int]) -> Array:
    """Give the shares of each output's classes in each node, one output behind the other."""
    value = member.tree_.value
    return np.concatenate([value[:, i, :n] for i, n in enumerate(n_classes)], axis=1)


def forest_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the values of the leaves."""
    grown = list(getattr(model, "estimators_", [model]))
    n_outputs = grown[0].tree_.value.shape[1]
    numeric(flow, model)
    if n_outputs == 1:
        summed = sums(flow, [of_sklearn(member, member.tree_.value[:, 0, 0]) for member in grown], 1)
        return [Head(core=divided(summed, len(grown)), value=chain(1))]
    summed = leaf_sums(flow, grown, [member.tree_.value[:, :, 0] for member in grown])
    return [Head(core=core, value=chain(1)) for core in each_number(divided(summed, len(grown)), scope)]


def gradient_boosting(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves of every stage to the constant that the boosting began with."""
    numeric(flow, model)
    n_targets = model.estimators_.shape[1]
    grown = [constant(value, k) for k, value in enumerate(_beginning(model))]
    grown += [
        of_sklearn(tree, model.learning_rate * tree.tree_.value[:, 0, 0], k)
        for stage in model.estimators_
        for k, tree in enumerate(stage)
    ]
    return _linked(sums(flow, grown, n_targets, whole=True), model, classes=getattr(model, "classes_", None))


def _beginning(model: Any) -> list[float]:
    """Give the numbers that the boosting began with; they must be the same for every row."""
    if isinstance(model.init_, str):
        return [0.0] * model.estimators_.shape[1]
    if type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NoPlan(f"{type(model).__name__} began with another model")  # which saw numbers of 32 bits
    any_row = np.zeros((1, model.n_features_in_))
    if getattr(model, "classes_", None) is None:
        return [float(model.init_.predict(any_row)[0])]
    eps = np.finfo(np.float64).eps
    chances = np.clip(model.init_.predict_proba(any_row), eps, 1 - eps)
    told = chances if model.estimators_.shape[1] > 1 else chances[:, 1]
    found = np.asarray(model._loss.link.link(told), dtype=np.float64).reshape(-1)  # noqa: SLF001 -- no public word on it
    return [float(each) for each in found]


def _linked(margins: Flow, model: Any, classes: Any) -> list[Head]:
    """Turn margins into what a boosted model of scikit-learn answers."""
    link = type(model._loss.link).__name__  # noqa: SLF001 -- no public word on it
    if classes is None:
        known = {"IdentityLink": chain(1), "LogLink": chain(1, "power")}
        if link not in known:
            raise NoPlan(f"{type(model).__name__} has a link of its own")
        return [Head(core=margins, value=known[link])]
    if margins.width == 1:
        if link not in ("LogitLink", "HalfLogitLink"):
            raise NoPlan(f"{type(model).__name__} has a link of its own")
        core = margins
        doubled = {"op": "stretch", "of": chain(1), "scale": [2.0], "add": [0.0]}
        begun = chain(1) if link == "LogitLink" else doubled
        return [
            Head(
                core=core,
                label={"rule": "above", "at": 0.0, "strict": type(model).__name__.startswith("Hist")},
                scores={"op": "pair", "of": {"op": "sigmoid", "of": begun}},
                decision=chain(1),
            )
        ]
    decision = chain(margins.width)
    return [Head(core=margins, label={"rule": "largest"}, scores=chain(margins.width, "softmax"), decision=decision)]


def hist_gradient_boosting(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves of every round to the constant that the boosting began with, by the model's own thresholds in 64 bits."""
    flow = numeric(_encoded(model, flow, scope), model)
    begun = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001 -- no public word on it
    grown, splits = [constant(float(value), k) for k, value in enumerate(begun)], Splits()
    known = _known_codes(model)
    for rounds in model._predictors:  # noqa: SLF001 -- the trees themselves
        grown += [_of_hist(each, k, known, splits, flow.width) for k, each in enumerate(rounds)]
    flow, grown = splits.put(flow, grown)
    forest = grow(grown, n_features=flow.width, n_targets=len(begun), strict=False, bits=64)
    return _linked(trees(flow, forest, narrow=False), model, classes=getattr(model, "classes_", None))


def _encoded(model: Any, flow: Flow, scope: Scope) -> Flow:
    """Give the features as the trees see them: where there are categories, their codes come first."""
    if getattr(model, "_preprocessor", None) is None:
        return flow
    encoder = model._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 -- no public word on it
    places = [np.flatnonzero(chosen).tolist() for chosen in (model.is_categorical_, ~model.is_categorical_)]
    parts = [_taken(model, flow, chosen, scope) for chosen in places if chosen]
    return joined([ordinal(encoder, parts[0], scope), *(numeric(part, model) for part in parts[1:])])


def _taken(model: Any, flow: Flow, places: list[int], scope: Scope) -> Flow:
    if flow.names is not None:
        return scope.columns([flow.names[place] for place in places])
    return picked(scope.share(numeric(flow, model)), places)


def _known_codes(model: Any) -> dict[int, set[int]]:
    """Tell for each feature that has categories which codes the trees know."""
    known, places = model._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001 -- no public word on it
    chosen = np.flatnonzero(model._bin_mapper.is_categorical_).tolist()  # noqa: SLF001 -- nor on this
    return {feature: {*bits(known[places[feature]])} for feature in chosen}


def _of_hist(grown: Any, target: int, known: dict[int, set[int]], splits: Splits, width: int) -> Tree:
    nodes = grown.nodes
    leaf = nodes["is_leaf"].astype(bool)
    feature = np.where(leaf, 0, nodes["feature_idx"])
    threshold = np.where(leaf, 0.0, np.minimum(nodes["num_threshold"], MOST))
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        codes = known[int(feature[node])]
        left = {*bits(grown.raw_left_cat_bitsets[nodes["bitset_idx"][node]])}
        gap = 0 if nodes["missing_go_to_left"][node] else 1  # what is no code goes where a missing value goes
        n_codes = max(codes | left, default=0) + 1
        right = [code for code in range(n_codes) if code not in left and (code in codes or gap)]
        number = splits.number(int(feature[node]), right, n_codes, other=gap, missing=gap)
        feature[node], threshold[node] = width + number, CUT
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=feature,
        threshold=threshold,
        missing_left=nodes["missing_go_to_left"],
        value=nodes["value"],
        cover=nodes["count"],
        target=target,
    )
