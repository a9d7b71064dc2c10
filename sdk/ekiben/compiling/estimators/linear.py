"""Sums of weighed numbers, and what is made of them: linear models, discriminants, partial least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope, chain, doubles, each_number, numeric

SOFTMAX = ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis")


def linear(model: Any, flow: Flow) -> Flow:
    """Give the sums of a linear model, one an output."""
    if _dense(model.coef_).dtype == np.float32:  # sums of these are rounded by more than a plan may be apart
        raise NoPlan(f"{type(model).__name__} computes in 32 bits")
    coef = np.atleast_2d(np.asarray(_dense(model.coef_), dtype=np.float64))
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).reshape(-1), (len(coef),))
    doc = {"op": "linear", "of": numeric(flow, model, wide=True).doc, "coef": coef, "intercept": intercept}
    return Flow(doc=doc, width=len(coef))


def _dense(coef: Any) -> Any:
    return coef.toarray() if hasattr(coef, "toarray") else coef


def regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with the sums themselves."""
    return [Head(core=core, value=chain(1)) for core in each_number(linear(model, flow), scope)]


def generalised(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Answer with what the link makes of the sum."""
    link = type(model._base_loss.link).__name__  # noqa: SLF001 -- no public word on it
    if link not in ("LogLink", "IdentityLink"):
        raise NoPlan(f"{type(model).__name__} has a link of its own")
    ops = ("power",) if link == "LogLink" else ()
    return [Head(core=linear(model, flow), value=chain(1, *ops))]


def least_squares(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the means away first: PLSRegression, PLSCanonical, CCA."""
    shift = np.asarray(model._x_mean, dtype=np.float64).tolist()  # noqa: SLF001 -- the means themselves
    doc = {"op": "scale", "of": doubles(flow, model).doc, "shift": shift, "scale": [1.0] * flow.width}
    return regressor(model, Flow(doc=doc, width=flow.width), scope)


def classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the label by the largest sum; scores by the logistic function, where the model has them."""
    margins = linear(model, flow)
    binarizer = getattr(model, "_label_binarizer", None)
    if getattr(binarizer, "y_type_", "").startswith("multilabel"):
        above = {"rule": "above", "at": 0.0, "strict": True}
        return [Head(core=core, label=above, decision=chain(1)) for core in each_number(margins, scope)]
    label = {"rule": "above", "at": 0.0, "strict": True} if margins.width == 1 else {"rule": "largest"}
    scores = _scores(model, margins.width) if hasattr(model, "predict_proba") else None
    return [Head(core=margins, label=label, scores=scores, decision=chain(margins.width))]


def _scores(model: Any, width: int) -> Doc:
    if getattr(model, "loss", None) == "modified_huber":
        halved = {"op": "stretch", "of": _within_one(width), "scale": [0.5] * width, "add": [0.5] * width}
        return {"op": "pair" if width == 1 else "shares", "of": halved}
    if width == 1:
        return chain(1, "sigmoid", "pair")
    ops = ("softmax",) if type(model).__name__ in SOFTMAX else ("sigmoid", "shares")
    return chain(width, *ops)


def _within_one(width: int) -> Doc:
    ones, zeros = [1.0] * width, [0.0] * width
    return {"op": "stretch", "of": chain(width), "scale": ones, "add": zeros, "low": -1.0, "high": 1.0}
