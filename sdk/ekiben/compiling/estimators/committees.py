"""Models that ask others and put their answers together: voting, bagging, AdaBoost, stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling import members
from ekiben.compiling.estimators.trees import are_trees, divided, leaf_sums, of_sklearn, sums, trees
from ekiben.compiling.features import picked_columns
from ekiben.compiling.forest import grow
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, joined, numeric, picked, whole

if TYPE_CHECKING:
    from ekiben.models import Array

LARGEST = {"rule": "largest"}


def _average(parts: Sequence[Flow], weights: Sequence[float] | None) -> Flow:
    return members.summed(parts, weights=weights, by=len(parts) if weights is None else float(np.sum(weights)))


# ── voting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def voting_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the members' scores, or count their votes."""
    weights, n_classes, shared = model._weights_not_none, len(model.classes_), scope.share(flow)  # noqa: SLF001
    heads = [members.only(member, shared, scope) for member in model.estimators_]
    if model.voting == "soft":
        core = _average([members.scores(head, n_classes) for head in heads], weights)
        return [Head(core=core, label=LARGEST, scores=chain(n_classes))]
    votes = [
        members.label(head, members.where(members.classes_of(member), range(n_classes)))
        for head, member in zip(heads, model.estimators_, strict=True)
    ]
    return [Head(core=members.summed(votes, weights=weights), label=LARGEST)]


def voting_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the members' values."""
    shared = scope.share(flow)
    values = [members.value(members.only(member, shared, scope)) for member in model.estimators_]
    return [Head(core=_average(values, model._weights_not_none), value=chain(1))]  # noqa: SLF001 -- without those dropped


# ── bagging ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def bagging_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the members' scores, or their votes where they have none."""
    n_classes, n = len(model.classes_), len(model.estimators_)
    if are_trees(model.estimators_):
        values = [_spread(member, n_classes) for member in model.estimators_]
        summed = leaf_sums(numeric(flow, model), model.estimators_, values, model.estimators_features_)
    else:
        bags = list(_bags(model, flow, scope))
        parts = [_scores(head, member, n_classes) for head, member in bags]
        summed = members.summed(parts)
    return [Head(core=divided(summed, n), label=LARGEST, scores=chain(n_classes))]


def _spread(member: Any, n_classes: int) -> Array:
    """Give the shares in each node of a tree that may not have met every class."""
    value = member.tree_.value[:, 0, :]
    made = np.zeros((len(value), n_classes))
    made[:, np.asarray(member.classes_, dtype=np.intp)] = value
    return made


def _scores(head: Head, member: Any, n_classes: int) -> Flow:
    known = members.classes_of(member)
    if head.scores is None:
        return members.label(head, members.where(known, range(n_classes)))
    found = members.scores(head, len(known))
    if known == list(range(n_classes)):
        return found
    padded = joined([found, Flow(doc={"op": "constant", "numbers": [0.0]}, width=1)])
    return picked(padded, [known.index(i) if i in known else len(known) for i in range(n_classes)])


def _bags(model: Any, flow: Flow, scope: Scope) -> list[tuple[Head, Any]]:
    shared = scope.share(numeric(flow, model))
    found = []
    for member, features in zip(model.estimators_, model.estimators_features_, strict=True):
        places = [int(i) for i in features]
        taken = shared if places == list(range(flow.width)) else picked_columns(shared, places, scope)
        found.append((members.only(member, taken, scope), member))
    return found


def bagging_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Average the members' values."""
    n = len(model.estimators_)
    if are_trees(model.estimators_):
        grown = [
            of_sklearn(member, member.tree_.value[:, 0, 0], features=features)
            for member, features in zip(model.estimators_, model.estimators_features_, strict=True)
        ]
        summed = sums(numeric(flow, model), grown, 1)
    else:
        summed = members.summed([members.value(head) for head, _ in _bags(model, flow, scope)])
    return [Head(core=divided(summed, n), value=chain(1))]


# ── AdaBoost ────────────────────────────────────────────────────────────────────────────────────────────────────────


def ada_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Weigh the members' votes, and let what is not voted for lose as much together."""
    classes = members.classes_of(model)
    if len(classes) < 2:
        raise NoPlan("AdaBoostClassifier knows one class")
    rows = [
        [[w if one else -1 / (len(classes) - 1) * w for one in row] for row in _where(member, classes)]
        for member, w in zip(model.estimators_, model.estimator_weights_.tolist(), strict=False)
    ]
    pred = divided(_votes(model, flow, scope, rows), float(model.estimator_weights_.sum()))
    if len(classes) > 2:
        scaled = {"op": "scale", "of": chain(pred.width), "shift": [0.0] * pred.width}
        scores = {"op": "softmax", "of": {**scaled, "scale": [float(len(classes) - 1)] * pred.width}}
        return [Head(core=pred, label=LARGEST, scores=scores, decision=chain(pred.width))]
    core = Flow(doc={"op": "linear", "of": pred.doc, "coef": [[-1.0, 1.0]], "intercept": [0.0]}, width=1)
    halves = {"op": "linear", "of": chain(1), "coef": [[-0.5], [0.5]], "intercept": [0.0, 0.0]}
    label = {"rule": "above", "at": 0.0, "strict": True}
    return [Head(core=core, label=label, scores={"op": "softmax", "of": halves}, decision=chain(1))]


def _where(member: Any, classes: Sequence[Any]) -> list[list[float]]:
    return members.where(members.classes_of(member), classes)


def _votes(model: Any, flow: Flow, scope: Scope, rows: Sequence[Sequence[Sequence[float]]]) -> Flow:
    """Add up what stands for the members' labels."""
    if are_trees(model.estimators_):
        values = [
            np.array(told)[member.tree_.value[:, 0, :].argmax(axis=1)]
            for member, told in zip(model.estimators_, rows, strict=True)
        ]
        return leaf_sums(numeric(flow, model), model.estimators_, values, whole=True)
    shared = scope.share(whole(numeric(flow, model)))
    heads = [members.only(member, shared, scope) for member in model.estimators_]
    return members.summed([members.label(head, told) for head, told in zip(heads, rows, strict=True)])


def ada_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the weighed median of the members' values."""
    found = model.estimators_
    if are_trees(found):
        grown = [of_sklearn(member, member.tree_.value[:, 0, 0], i) for i, member in enumerate(found)]
        forest = grow(grown, n_features=flow.width, n_targets=len(found), strict=False, bits=64)
        values = trees(numeric(flow, model), forest, narrow=True, whole=True)
    else:
        shared = scope.share(whole(numeric(flow, model)))
        values = joined([members.value(members.only(member, shared, scope)) for member in found])
    weights = model.estimator_weights_[: len(found)].tolist()
    return [Head(core=Flow(doc={"op": "median", "of": values.doc, "weights": weights}, width=1), value=chain(1))]


# ── stacking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def stacking(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Let the last model see what the members answer: StackingClassifier, StackingRegressor."""
    classes = getattr(model, "classes_", None)
    if isinstance(classes, list):
        raise NoPlan("StackingClassifier answers several labels")
    shared = scope.share(flow)
    seen = [
        _stacked(member, method, shared, scope, 0 if classes is None else len(classes))
        for member, method in zip(model.estimators_, model.stack_method_, strict=True)
    ]
    if model.passthrough:
        seen.append(numeric(shared, model))
    return scope.heads(model.final_estimator_, joined(seen), scope)


def _stacked(member: Any, method: str, flow: Flow, scope: Scope, n_classes: int) -> Flow:
    head = members.only(member, flow, scope)
    if method == "predict_proba":
        found = members.scores(head, n_classes)
        return picked(found, [1]) if n_classes == 2 else found
    if method == "decision_function":
        return members.decision(head, n_classes)
    return members.answer(head, members.classes_of(member) if head.value is None else None)
