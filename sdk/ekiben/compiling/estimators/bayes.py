"""Models of how each class is distributed: naive Bayes, quadratic discriminants, nearest centroids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, doubles, joined, numeric, picked

LARGEST = {"rule": "largest"}


def _naive(core: Flow) -> list[Head]:
    return [Head(core=core, label=LARGEST, scores=chain(core.width, "posterior"))]


def gaussian(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take each number to be normal within a class."""
    begun = [-0.5 * np.sum(np.log(2.0 * np.pi * var)) for var in model.var_]
    doc = {"op": "bells", "of": doubles(flow, model).doc, "mean": model.theta_, "spread": model.var_}
    doc |= {"prior": np.log(model.class_prior_), "begun": np.array(begun)}
    return _naive(Flow(doc=doc, width=len(begun)))


def multinomial(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Weigh the numbers by the log chances of the features."""
    intercept = np.asarray(model.class_log_prior_, dtype=np.float64)
    return _weighed(model, flow, model.feature_log_prob_, intercept)


def complement(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Weigh the numbers by what is known of the other classes."""
    only_one = len(model.classes_) == 1
    intercept = model.class_log_prior_ if only_one else np.zeros(len(model.classes_))
    return _weighed(model, flow, model.feature_log_prob_, intercept)


def bernoulli(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Weigh whether each number is above a limit."""
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    seen = numeric(flow, model)
    if model.binarize is not None:
        seen = Flow(doc={"op": "exceeds", "of": flow.doc, "threshold": float(model.binarize)}, width=flow.width)
    return _weighed(model, seen, model.feature_log_prob_ - absent, model.class_log_prior_ + absent.sum(axis=1))


def _weighed(model: Any, flow: Flow, coef: Any, intercept: Any) -> list[Head]:
    doc = {"op": "linear", "of": numeric(flow, model, wide=True).doc, "coef": coef, "intercept": np.asarray(intercept)}
    return _naive(Flow(doc=doc, width=len(coef)))


def categorical(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Add up what is known of each whole number."""
    tables = [np.asarray(table) for table in model.feature_log_prob_]
    doc = {"op": "occurrences", "of": numeric(flow, model).doc, "tables": tables}
    return _naive(Flow(doc={**doc, "add": model.class_log_prior_.tolist()}, width=len(model.classes_)))


def quadratic(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Measure how far a row is from each class along the class's own axes."""
    axes = [rotation * scale**-0.5 for rotation, scale in zip(model.rotations_, model.scalings_, strict=True)]
    add = np.array([np.sum(np.log(scale)) for scale in model.scalings_])
    doc = {"op": "ellipsoids", "of": doubles(flow, model).doc, "means": model.means_, "axes": axes}
    core = Flow(doc={**doc, "add": add, "prior": np.log(model.priors_)}, width=len(add))
    return [Head(core=core, label=LARGEST, scores=chain(core.width, "softmax"), decision=_two_or_more(core.width))]


def _two_or_more(width: int) -> dict[str, Any]:
    """Decide between two classes by how much more the second has."""
    if width != 2:
        return chain(width)
    return {"op": "linear", "of": chain(2), "coef": [[-1.0, 1.0]], "intercept": [0.0]}


def nearest_centroid(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Measure how far a row is from the centre of each class."""
    if model.metric not in ("euclidean", "manhattan"):
        raise NoPlan("NearestCentroid measures by another metric")
    n_classes, shared = len(model.classes_), scope.share(doubles(flow, model))
    even = bool(np.isclose(model.class_prior_, 1 / n_classes).all())
    plain = _centres(model, shared, np.ones(flow.width), np.zeros(n_classes), squared=False)
    if not hasattr(model, "predict_proba"):
        if not even:
            raise NoPlan("NearestCentroid weighs the priors of another metric")
        return [Head(core=plain, label=LARGEST)]
    spread = np.asarray(model.within_class_std_dev_)
    scaled = _centres(model, shared, np.where(spread != 0, spread, 1.0), 2.0 * np.log(model.class_prior_), squared=True)
    core = joined([plain, scaled])
    told = Flow(doc=chain(core.width), width=core.width)
    far, score = picked(told, range(n_classes)), picked(told, range(n_classes, 2 * n_classes))
    scores = {"op": "softmax", "of": score.doc}
    decision = score.doc if n_classes > 2 else {**_two_or_more(2), "of": score.doc}
    return [Head(core=core, label={**LARGEST, "of": (far if even else score).doc}, scores=scores, decision=decision)]


def _centres(model: Any, flow: Flow, scale: Any, add: Any, *, squared: bool) -> Flow:
    doc = {"op": "centres", "of": flow.doc, "centres": model.centroids_, "scale": scale, "add": add}
    return Flow(doc={**doc, "straight": model.metric == "manhattan", "squared": squared}, width=len(add))
