"""Fitted estimators as the last nodes of a plan: which function translates which, in one table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ekiben.compiling.estimators import (
    bayes,
    committees,
    dummies,
    kernels,
    lightgbm,
    linear,
    neighbours,
    neural,
    several,
    trees,
    wrapped,
    xgboost,
)
from ekiben.compiling.features import features
from ekiben.compiling.native import ask_head
from ekiben.compiling.translating import Flow, Head, HeadTranslator, NoPlan, Scope, is_of, told
from ekiben.models.lightgbm import Boosted


def heads(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    """Translate a fitted estimator, or a pipeline that ends in one: for each output what it answers.

    A last step without a node is asked itself.

    Raises
    ------
    NoPlan
        If there is no node for it, or for the way it was set.
    """
    told(flow)
    before = len(scope.shared), len(scope.native)
    try:
        return _translated(model, flow, scope)
    except NoPlan as reason:
        if hasattr(model, "steps") or hasattr(model, "best_estimator_"):
            raise
        del scope.shared[before[0] :], scope.native[before[1] :]
        return ask_head(model, flow, scope, reason)


def _translated(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    if isinstance(model, Boosted):
        return lightgbm.lightgbm(model, flow, scope)
    for library, translator in LIBRARIES.items():
        if is_of(model, library):
            return translator(model, flow, scope)
    name = type(model).__name__
    if not is_of(model, "sklearn") or name not in HEADS:
        raise NoPlan(f"{name} has no plan")
    return HEADS[name](model, flow, scope)


def _pipeline(model: Any, flow: Flow, scope: Scope) -> list[Head]:
    for _, step in model.steps[:-1]:
        flow = features(step, flow, scope)
    return heads(model.steps[-1][1], flow, scope)


def _named(names: Iterable[str], translator: HeadTranslator) -> dict[str, HeadTranslator]:
    return dict.fromkeys(names, translator)


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
SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")

LIBRARIES: dict[str, HeadTranslator] = {"lightgbm": lightgbm.lightgbm, "xgboost": xgboost.xgboost}
HEADS: dict[str, HeadTranslator] = {
    "Pipeline": _pipeline,
    # linear
    **_named(LINEAR_REGRESSORS, linear.regressor),
    **_named(LINEAR_CLASSIFIERS, linear.classifier),
    **_named(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), linear.generalised),
    **_named(("CCA", "PLSCanonical", "PLSRegression"), linear.least_squares),
    # trees
    **_named([f"{name}Classifier" for name in FORESTS], trees.forest_classifier),
    **_named([f"{name}Regressor" for name in FORESTS], trees.forest_regressor),
    **_named(("GradientBoostingClassifier", "GradientBoostingRegressor"), trees.gradient_boosting),
    **_named(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), trees.hist_gradient_boosting),
    # classes as distributions
    "BernoulliNB": bayes.bernoulli,
    "CategoricalNB": bayes.categorical,
    "ComplementNB": bayes.complement,
    "GaussianNB": bayes.gaussian,
    "MultinomialNB": bayes.multinomial,
    "NearestCentroid": bayes.nearest_centroid,
    "QuadraticDiscriminantAnalysis": bayes.quadratic,
    # kept rows
    **_named(("SVC", "NuSVC"), kernels.support_classifier),
    **_named(("SVR", "NuSVR"), kernels.support_regressor),
    "KernelRidge": kernels.ridge,
    **_named(("LabelPropagation", "LabelSpreading"), kernels.label_propagation),
    "GaussianProcessClassifier": kernels.gaussian_classifier,
    "GaussianProcessRegressor": kernels.gaussian_regressor,
    **_named(("KNeighborsClassifier", "RadiusNeighborsClassifier"), neighbours.classifier),
    **_named(("KNeighborsRegressor", "RadiusNeighborsRegressor"), neighbours.regressor),
    # networks, and models without any
    "MLPClassifier": neural.classifier,
    "MLPRegressor": neural.regressor,
    "DummyClassifier": dummies.classifier,
    "DummyRegressor": dummies.regressor,
    # several models
    "AdaBoostClassifier": committees.ada_classifier,
    "AdaBoostRegressor": committees.ada_regressor,
    "BaggingClassifier": committees.bagging_classifier,
    "BaggingRegressor": committees.bagging_regressor,
    "StackingClassifier": committees.stacking,
    "StackingRegressor": committees.stacking,
    "VotingClassifier": committees.voting_classifier,
    "VotingRegressor": committees.voting_regressor,
    "OneVsOneClassifier": several.one_vs_one,
    "OneVsRestClassifier": several.one_vs_rest,
    "OutputCodeClassifier": several.output_code,
    "_ConstantPredictor": several.one_class,
    **_named(("MultiOutputClassifier", "MultiOutputRegressor"), several.each_output),
    **_named(("ClassifierChain", "RegressorChain"), several.chained),
    # one model in another
    **_named(SEARCHES, wrapped.around("best_estimator_")),
    "FrozenEstimator": wrapped.around("estimator"),
    **_named(("RANSACRegressor", "SelfTrainingClassifier"), wrapped.around("estimator_")),
    "CalibratedClassifierCV": wrapped.calibrated,
    "FixedThresholdClassifier": wrapped.fixed_threshold,
    "IsotonicRegression": wrapped.isotonic,
    "TransformedTargetRegressor": wrapped.transformed_target,
    "TunedThresholdClassifierCV": wrapped.tuned_threshold,
}
