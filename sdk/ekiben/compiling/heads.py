"""Fitted estimators as the last nodes of a plan."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekiben.compiling import ensembles
from ekiben.compiling.features import features
from ekiben.compiling.native import ask_head
from ekiben.compiling.translating import Flow, Head, HeadTranslator, NoPlan, Scope, chain, is_of, numeric


def heads(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Translate a fitted estimator, or a pipeline that ends in one: for each output what it answers.

    A last step without a node is asked itself.

    Raises
    ------
    NoPlan
        If there is no node for it, or for the way it was set.
    """
    before = len(scope.shared), len(scope.native)
    try:
        return _translated(model, flow, scope)
    except NoPlan as reason:
        if hasattr(model, "steps") or hasattr(model, "best_estimator_"):
            raise
        del scope.shared[before[0] :], scope.native[before[1] :]
        return ask_head(model, flow, scope, reason)


def _translated(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    if is_of(model, "xgboost"):
        return ensembles.xgboost(model, flow, scope)
    name = type(model).__name__
    if not is_of(model, "sklearn") or name not in HEADS:
        raise NoPlan(f"{name} has no plan")
    return HEADS[name](model, flow, scope)


def _pipeline(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    for _, step in model.steps[:-1]:
        flow = features(step, flow, scope)
    return heads(model.steps[-1][1], flow, scope)


def _best(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    return heads(model.best_estimator_, flow, scope)


# ── linear ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def linear(model: Any, flow: Flow) -> Flow:
    """Give the sums of a linear model, one an output."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).reshape(-1), (len(coef),))
    doc = {"op": "linear", "of": numeric(flow, model, wide=True).doc, "coef": coef, "intercept": intercept}
    return Flow(doc=doc, width=len(coef))


def _linear_regressor(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    return [Head(core=core, value=chain(1)) for core in ensembles.each_number(linear(model, flow), scope)]


def _generalised(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    link = type(model._base_loss.link).__name__  # noqa: SLF001 -- no public word on it
    if link not in ("LogLink", "IdentityLink"):
        raise NoPlan(f"{type(model).__name__} has a link of its own")
    ops = ("power",) if link == "LogLink" else ()
    return [Head(core=linear(model, flow), value=chain(1, *ops))]


def _linear_classifier(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Take the label by the largest sum; scores by the logistic function, where the model has them."""
    margins = linear(model, flow)
    if margins.width == 1:
        scores = chain(1, "sigmoid", "pair") if hasattr(model, "predict_proba") else None
        return [Head(core=margins, label={"rule": "above", "at": 0.0, "strict": True}, scores=scores)]
    link = {"LogisticRegression": "softmax", "LogisticRegressionCV": "softmax", "LinearDiscriminantAnalysis": "softmax"}
    ops = (link[type(model).__name__],) if type(model).__name__ in link else ("sigmoid", "shares")
    scores = chain(margins.width, *ops) if hasattr(model, "predict_proba") else None
    return [Head(core=margins, label={"rule": "largest"}, scores=scores)]


LINEAR_REGRESSORS = (
    "ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso",
    "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR", "MultiTaskElasticNet",
    "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV", "PassiveAggressiveRegressor", "QuantileRegressor", "Ridge", "RidgeCV",
    "SGDRegressor", "TheilSenRegressor",
)  # fmt: skip
LINEAR_CLASSIFIERS = (
    "LinearDiscriminantAnalysis", "LinearSVC", "LogisticRegression", "LogisticRegressionCV",
    "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier",
)  # fmt: skip
FORESTS = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")

HEADS: dict[str, HeadTranslator] = {
    "Pipeline": _pipeline,
    **dict.fromkeys(("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"), _best),
    **dict.fromkeys(LINEAR_REGRESSORS, _linear_regressor),
    **dict.fromkeys(LINEAR_CLASSIFIERS, _linear_classifier),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), _generalised),
    **{f"{name}Classifier": ensembles.forest_classifier for name in FORESTS},
    **{f"{name}Regressor": ensembles.forest_regressor for name in FORESTS},
    "GradientBoostingClassifier": ensembles.gradient_boosting,
    "GradientBoostingRegressor": ensembles.gradient_boosting,
    "HistGradientBoostingClassifier": ensembles.hist_gradient_boosting,
    "HistGradientBoostingRegressor": ensembles.hist_gradient_boosting,
}
