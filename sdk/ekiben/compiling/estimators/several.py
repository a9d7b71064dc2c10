"""Models that ask one model a class, a pair of classes, or an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ekiben.compiling import members
from ekiben.compiling.estimators.dummies import constant
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, joined, numeric, picked, whole

LARGEST = {"rule": "largest"}


def one_class(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer as the stand-in for a class that every row was of, or none."""
    y = float(np.ravel(model.y_)[0])
    told = chain(1)
    return [Head(core=constant([y], flow), label=_above(0.5), scores={"op": "pair", "of": told}, decision=told)]


def _above(at: float, **more: Any) -> dict[str, Any]:
    return {"rule": "above", "at": at, "strict": True, **more}


def _binary(member: Any, head: Head) -> Flow:
    """Give what one class is told from the rest by: a decision, a chance, or a value."""
    if head.value is not None:
        return members.value(head)
    return members.decision(head, 2) if hasattr(member, "decision_function") else _chance(head)


def _chance(head: Head) -> Flow:
    return picked(members.scores(head, 2), [1])


def _limit(member: Any, head: Head) -> float:
    return 0.0 if hasattr(member, "decision_function") and head.value is None else 0.5


def one_vs_rest(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the class whose model is surest; of several labels, those whose model is sure enough."""
    shared = scope.share(flow)
    asked = [(member, members.only(member, shared, scope)) for member in model.estimators_]
    if model.multilabel_:
        limit = _limit(*asked[0])
        return [_yes_or_no(model, member, head, limit) for member, head in asked]
    sure = joined([_binary(*each) for each in asked])
    n, scored = len(asked), hasattr(model, "predict_proba")
    core = scope.share(joined([sure, *[_chance(head) for _, head in asked if scored]]))
    told = Flow(doc=chain(core.width), width=core.width)
    seen, chances = picked(told, range(n)), picked(told, range(n, core.width)) if scored else None
    label = {**LARGEST, "of": seen.doc} if n > 1 else _above(_limit(*asked[0]), of=seen.doc)
    decision = seen.doc if hasattr(model, "decision_function") else None
    scores = None
    if chances is not None:
        scores = {"op": "pair", "of": chances.doc} if n == 1 else {"op": "shares", "of": chances.doc, "strict": True}
    return [Head(core=core, label=label, scores=scores, decision=decision)]


def _yes_or_no(model: Any, member: Any, head: Head, limit: float) -> Head:
    """Answer whether a row has one of several labels."""
    scored = hasattr(model, "predict_proba")
    core = joined([_binary(member, head), *([_chance(head)] if scored else [])])
    seen = {"op": "select", "of": chain(core.width), "keep": [0]}
    chance = {"op": "select", "of": chain(core.width), "keep": [1]}
    return Head(core=core, label=_above(limit, of=seen), scores={"op": "pair", "of": chance} if scored else None)


def one_vs_one(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Let the model of each pair of classes vote, and between equal votes their confidence."""
    if model.pairwise_indices_ is not None:
        raise NoPlan("OneVsOneClassifier takes a matrix of pairs")
    n_classes, shared = len(model.classes_), scope.share(numeric(flow, model))
    asked = [(member, members.only(member, shared, scope)) for member in model.estimators_]
    votes = [_vote(head) for _, head in asked]
    said = joined([*votes, *[_binary(*each) for each in asked]])
    doc = {"op": "confidence", "of": said.doc, "n_classes": n_classes}
    core = Flow(doc=doc, width=n_classes)
    if n_classes > 2:
        return [Head(core=core, label=LARGEST, decision=chain(n_classes))]
    second = {"op": "select", "of": chain(2), "keep": [1]}
    return [Head(core=core, label=_above(_limit(*asked[0]), of=second), decision=second)]


def _vote(head: Head) -> Flow:
    """Give 0 or 1; a regressor's value votes only where it is one of them, which it hardly is."""
    if head.value is not None:
        raise NoPlan("OneVsOneClassifier asks regressors")
    return members.label(head, [[0.0], [1.0]])


def output_code(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the class whose code is nearest to what the models say."""
    shared = scope.share(flow)
    said = joined([_binary(member, members.only(member, shared, scope)) for member in model.estimators_])
    n_classes = len(model.classes_)
    doc = {"op": "centres", "of": said.doc, "centres": np.asarray(model.code_book_, dtype=np.float64)}
    more = {"scale": [1.0] * said.width, "add": [0.0] * n_classes, "straight": False, "squared": False}
    return [Head(core=Flow(doc={**doc, **more}, width=n_classes), label=LARGEST)]


# ── several outputs ─────────────────────────────────────────────────────────────────────────────────────────────────


def each_output(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer each output by its own model."""
    shared = scope.share(flow)
    return [members.only(member, shared, scope) for member in model.estimators_]


def chained(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer each output by its own model, which sees what was answered before it: ClassifierChain, RegressorChain."""
    shared, seen, heads = scope.share(whole(numeric(flow, model))), list[Flow](), list[Head]()
    method = getattr(model, "chain_method_", "predict")
    for i, member in enumerate(model.estimators_):
        head = members.only(member, joined([shared, *seen]), scope)
        heads.append(_as_fitted(model, i, member, head))
        seen.append(scope.share(_passed_on(member, head, method)))
    return [heads[place] for place in np.argsort(model.order_)]


def _as_fitted(model: Any, i: int, member: Any, head: Head) -> Head:
    """See that an output's labels are those that the chain tells of it."""
    fitted = getattr(model, "classes_", None)
    if fitted is not None and members.classes_of(member) != np.asarray(fitted[int(model.order_[i])]).tolist():
        raise NoPlan("ClassifierChain names the labels of its outputs in another order")
    return head


def _passed_on(member: Any, head: Head, method: str) -> Flow:
    if method == "predict_proba":
        return _chance(head)
    if method == "decision_function":
        return members.decision(head, 2)
    classes: Sequence[Any] | None = None if head.value is not None else members.classes_of(member)
    return members.answer(head, classes)
