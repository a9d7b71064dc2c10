"""Trees of scikit-learn and XGBoost as tables, added up in the order and the bits in which their library does it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.forest import Forest, Tree, constant, grow
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, numeric

if TYPE_CHECKING:
    from ekiben.models import Array


def trees(flow: Flow, forest: Forest, *, narrow: bool, leaves: Array | None = None) -> Flow:
    """Put trees on a flow; `narrow` rounds its numbers to 32 bits first, and `leaves` are what the leaves' numbers name."""
    width = forest.n_targets if leaves is None else leaves.shape[1]
    doc = {"op": "trees", "of": flow.doc, "forest": forest, "narrow": narrow}
    return Flow(doc=doc if leaves is None else {**doc, "leaves": leaves}, width=width)


# ── scikit-learn ────────────────────────────────────────────────────────────────────────────────────────────────────


def of_sklearn(estimator: Any, value: Array, target: int = 0) -> Tree:
    """Read one tree of scikit-learn; `value` of shape (n_nodes,) is what its leaves add."""
    tree = estimator.tree_
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=np.maximum(tree.feature, 0),
        threshold=tree.threshold,
        missing_left=np.asarray(tree.missing_go_to_left),
        value=value,
        target=target,
    )


def leaf_sums(flow: Flow, estimators: Sequence[Any], values: Sequence[Array]) -> Flow:
    """Add up, tree by tree, rows of numbers that the leaves hold: `values` has for each tree (n_nodes, n_numbers)."""
    grown, rows, start = [], [], 0
    for i, (estimator, value) in enumerate(zip(estimators, values, strict=True)):
        leaf = estimator.tree_.children_left < 0
        number = np.zeros(len(leaf))
        number[leaf] = start + np.arange(int(leaf.sum()))
        start += int(leaf.sum())
        rows.append(value[leaf])
        grown.append(of_sklearn(estimator, number, target=i))
    forest = grow(grown, n_features=flow.width, n_targets=len(grown), strict=False, bits=64)
    return trees(flow, forest, narrow=True, leaves=np.concatenate(rows))


def sums(flow: Flow, grown: list[Tree], n_targets: int) -> Flow:
    """Add up what the leaves of scikit-learn's trees hold, in 64 bits."""
    return trees(flow, grow(grown, n_features=flow.width, n_targets=n_targets, strict=False, bits=64), narrow=True)


def _divided(flow: Flow, by: int) -> Flow:
    return (
        flow
        if by == 1
        else Flow(
            doc={"op": "scale", "of": flow.doc, "shift": [0.0] * flow.width, "scale": [float(by)] * flow.width},
            width=flow.width,
        )
    )


def forest_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the shares of the classes in the leaves: DecisionTree, ExtraTree, RandomForest, ExtraTrees."""
    members = list(getattr(model, "estimators_", [model]))
    n_classes = np.atleast_1d(model.n_classes_).tolist()
    values = [_side_by_side(member, n_classes) for member in members]
    summed = _divided(leaf_sums(numeric(flow, model), members, values), len(members))
    if len(n_classes) == 1:
        return [Head(core=summed, label={"rule": "largest"}, scores=chain(summed.width))]
    shared, heads, start = scope.share(summed), [], 0
    for n in n_classes:
        core = Flow(doc={"op": "select", "of": shared.doc, "keep": list(range(start, start + n))}, width=n)
        heads.append(Head(core=core, label={"rule": "largest"}, scores=chain(n)))
        start += n
    return heads


def _side_by_side(member: Any, n_classes: Sequence[int]) -> Array:
    """Give the shares of each output's classes in each node, one output behind the other."""
    value = member.tree_.value
    return np.concatenate([value[:, i, :n] for i, n in enumerate(n_classes)], axis=1)


def forest_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the values of the leaves."""
    members = list(getattr(model, "estimators_", [model]))
    n_outputs = members[0].tree_.value.shape[1]
    numeric(flow, model)
    if n_outputs == 1:
        summed = sums(flow, [of_sklearn(member, member.tree_.value[:, 0, 0]) for member in members], 1)
        return [Head(core=_divided(summed, len(members)), value=chain(1))]
    summed = leaf_sums(flow, members, [member.tree_.value[:, :, 0] for member in members])
    shared = scope.share(_divided(summed, len(members)))
    return [
        Head(core=Flow(doc={"op": "select", "of": shared.doc, "keep": [i]}, width=1), value=chain(1))
        for i in range(n_outputs)
    ]


def gradient_boosting(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves of every stage to the constant that the boosting began with."""
    numeric(flow, model)
    n_targets = model.estimators_.shape[1]
    grown = [constant(float(value), k) for k, value in enumerate(_beginning(model))]
    grown += [
        of_sklearn(tree, model.learning_rate * tree.tree_.value[:, 0, 0], k)
        for stage in model.estimators_
        for k, tree in enumerate(stage)
    ]
    return _linked(sums(flow, grown, n_targets), model, classes=getattr(model, "classes_", None))


def _beginning(model: Any) -> list[float]:
    """Give the numbers that the boosting began with; they must be the same for every row."""
    if isinstance(model.init_, str):
        return [0.0] * model.estimators_.shape[1]
    if type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NoPlan(f"{type(model).__name__} began with another model")
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
            )
        ]
    return [Head(core=margins, label={"rule": "largest"}, scores=chain(margins.width, "softmax"))]


def hist_gradient_boosting(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves of every round to the constant that the boosting began with, by the model's own thresholds in 64 bits."""
    numeric(flow, model)
    if getattr(model, "_preprocessor", None) is not None or model.is_categorical_ is not None:
        raise NoPlan(f"{type(model).__name__} splits by categories")
    begun = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001 -- no public word on it
    grown = [constant(float(value), k) for k, value in enumerate(begun)]
    for rounds in model._predictors:  # noqa: SLF001 -- the trees themselves
        grown += [_of_hist(each.nodes, k) for k, each in enumerate(rounds)]
    forest = grow(grown, n_features=flow.width, n_targets=len(begun), strict=False, bits=64)
    return _linked(trees(flow, forest, narrow=False), model, classes=getattr(model, "classes_", None))


def _of_hist(nodes: Any, target: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    most = np.finfo(np.float64).max  # a threshold of infinity is one that every number is below
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, 0, nodes["feature_idx"]),
        threshold=np.where(leaf, 0.0, np.minimum(nodes["num_threshold"], most)),
        missing_left=nodes["missing_go_to_left"],
        value=nodes["value"],
        target=target,
    )


# ── XGBoost ─────────────────────────────────────────────────────────────────────────────────────────────────────────

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
POWERS = ("count:poisson", "reg:gamma", "reg:tweedie", "reg:squaredlogerror")


def xgboost(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add the leaves in 32 bits, from the base score on and in the order of the trees, as XGBoost does."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    told = json.loads(booster.save_raw("json"))["learner"]
    grown, n_targets = _grown(told, booster)
    forest = grow(grown, n_features=flow.width, n_targets=n_targets, strict=True, bits=32)
    filled = _unmarked(numeric(flow, model), model)
    return _answered(trees(filled, forest, narrow=True), told, model, scope)


def _unmarked(flow: Flow, model: Any) -> Flow:
    """Let the number that stands for a gap be one."""
    marker = getattr(model, "missing", None)
    if marker is None or marker != marker:
        return flow
    raise NoPlan("a number stands for a missing value")


def _grown(told: Any, booster: Any) -> tuple[list[Tree], int]:
    gradient, shape = told["gradient_booster"], told["learner_model_param"]
    if gradient["name"] not in ("gbtree", "dart"):
        raise NoPlan("gblinear has no trees")
    weights = gradient.get("weight_drop")
    inner = (gradient["gbtree"] if gradient["name"] == "dart" else gradient)["model"]
    n_targets = max(int(shape["num_class"]), int(shape["num_target"]), 1)
    best = booster.attr("best_iteration")
    per_round = max(int(inner["gbtree_model_param"]["num_parallel_tree"]), 1) * n_targets
    kept = inner["trees"] if best is None else inner["trees"][: (int(best) + 1) * per_round]
    base = _base(told, n_targets)
    grown = [constant(float(value), k) for k, value in enumerate(base)]
    for i, tree in enumerate(kept):
        weight = None if weights is None else np.float32(weights[i])
        grown.append(_of_xgboost(tree, int(inner["tree_info"][i]), weight))
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


def _of_xgboost(tree: Any, target: int, weight: Any) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise NoPlan("a leaf holds numbers for every target")
    if any(tree.get("split_type", ())):
        raise NoPlan("XGBoost splits by categories")
    left = np.array(tree["left_children"], dtype=np.int64)
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    value = condition if weight is None else condition * weight
    return Tree(
        left=left,
        right=np.array(tree["right_children"], dtype=np.int64),
        feature=np.array(tree["split_indices"], dtype=np.int64),
        threshold=condition,
        missing_left=np.array(tree["default_left"], dtype=np.int64),
        value=value,
        target=target,
    )


def _answered(margins: Flow, told: Any, model: Any, scope: Scope) -> list[Head]:
    """Turn margins into what the objective answers, rounded to 32 bits wherever XGBoost rounds."""
    name, classifies = told["objective"]["name"], type(model).__name__.endswith("Classifier")
    if name == "multi:softprob" and (classifies or type(model).__name__ == "Booster"):
        core = Flow(doc={"op": "round", "of": {"op": "softmax", "of": margins.doc}}, width=margins.width)
        return [Head(core=core, label={"rule": "largest"}, scores=chain(core.width))]
    if name in SIGMOIDS and (classifies or (type(model).__name__ == "Booster" and name == "binary:logistic")):
        chances = Flow(doc={"op": "round", "of": {"op": "sigmoid", "of": margins.doc}}, width=margins.width)
        return [
            Head(core=core, label={"rule": "above", "at": 0.5, "strict": True}, scores=chain(1, "pair", "round"))
            for core in each_number(chances, scope)
        ]
    links: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(PLAIN, ()),
        **dict.fromkeys(POWERS[:-1], ("power", "round")),
        "reg:squaredlogerror": (),
        "reg:logistic": ("sigmoid", "round"),
    }
    if classifies or name not in links:
        raise NoPlan(f"the objective {name} has a link of its own")
    return [Head(core=core, value=chain(1, *links[name])) for core in each_number(margins, scope)]


def each_number(flow: Flow, scope: Scope) -> Iterator[Flow]:
    """Give each number of a flow as an output of its own."""
    if flow.width == 1:
        yield flow
        return
    shared = scope.share(flow)
    for i in range(flow.width):
        yield Flow(doc={"op": "select", "of": shared.doc, "keep": [i]}, width=1)
