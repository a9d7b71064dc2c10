"""Every estimator that has a plan answers by it as it does by itself."""

import json
import warnings
from inspect import Parameter, signature

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, RationalQuadratic, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

import ekiben as ek
from ekiben import compiling, models
from ekiben.errors import PlanError
from plan_trials import tried
from plans import assert_equal, plan_of, rows_of

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # models as small as these do not converge
    pytest.mark.xdist_group("heads"),  # the last test counts what the others found
]

LOGISTIC = LogisticRegression()
MEMBERS = [("line", LOGISTIC), ("tree", DecisionTreeClassifier(max_depth=4, random_state=0)), ("bells", GaussianNB())]

CASES = {
    "support vectors, two": (SVC(), "two"),
    "support vectors, three": (SVC(), "three"),
    "support vectors, chances of two": (SVC(probability=True, random_state=0), "two"),
    "support vectors, chances of three": (SVC(probability=True, random_state=0), "three"),
    "support vectors, pairs": (SVC(kernel="poly", decision_function_shape="ovo"), "three"),
    "support vectors, sigmoid": (SVC(kernel="sigmoid"), "three"),
    "support vectors, linear": (SVC(kernel="linear"), "three"),
    "support vectors, ties broken": (SVC(break_ties=True), "three"),
    "support vectors, nu": (NuSVC(nu=0.2), "three"),
    "support vectors, value": (SVR(kernel="poly"), "value"),
    "modified Huber, two": (SGDClassifier(loss="modified_huber", random_state=0), "two"),
    "modified Huber, three": (SGDClassifier(loss="modified_huber", random_state=0), "three"),
    "ridge, several labels": (RidgeClassifier(), "bits"),
    "network, two": (MLPClassifier((8,), max_iter=30, random_state=0), "two"),
    "network, three": (MLPClassifier((8, 4), activation="tanh", max_iter=30, random_state=0), "three"),
    "network, several labels": (MLPClassifier((8,), activation="logistic", max_iter=30, random_state=0), "bits"),
    "network, values": (MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, random_state=0), "values"),
    "neighbours, several labels": (KNeighborsClassifier(), "labels"),
    "neighbours by distance": (KNeighborsClassifier(weights="distance", p=1), "three"),
    "neighbours by a tree": (KNeighborsRegressor(weights="distance", algorithm="kd_tree"), "values"),
    "votes": (VotingClassifier([*MEMBERS, ("none", "drop")]), "three"),
    "votes, weighed": (VotingClassifier([*MEMBERS, ("none", "drop")], weights=[1, 2, 2, 9]), "three"),
    "votes, soft": (VotingClassifier(MEMBERS, voting="soft", weights=[1, 2, 2]), "three"),
    "stack, two": (StackingClassifier([("svm", LinearSVC()), *MEMBERS], passthrough=True, cv=2), "two"),
    "stack, three": (StackingClassifier([("ridge", RidgeClassifier()), *MEMBERS], cv=2), "three"),
    "stack of labels": (StackingClassifier(MEMBERS, stack_method="predict", cv=2), "three"),
    "bags of trees": (BaggingClassifier(max_features=0.5, random_state=0), "three"),
    "bags of lines": (
        BaggingClassifier(LOGISTIC, n_estimators=4, max_features=0.5, bootstrap_features=True, random_state=0),
        "three",
    ),
    "bags of votes": (BaggingClassifier(SVC(), n_estimators=3, random_state=0), "three"),
    "bags of values": (BaggingRegressor(Ridge(), max_features=0.5, random_state=0), "value"),
    "boosted lines": (AdaBoostClassifier(LOGISTIC, n_estimators=4), "three"),
    "boosted stumps": (AdaBoostClassifier(n_estimators=9, random_state=0), "two"),
    "boosted values": (AdaBoostRegressor(Ridge(), n_estimators=5, random_state=0), "value"),
    "calibrated, isotonic": (CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3), "three"),
    "calibrated, one": (CalibratedClassifierCV(GaussianNB(), method="isotonic", ensemble=False, cv=3), "two"),
    "calibrated, sigmoid": (CalibratedClassifierCV(SVC(), cv=2), "three"),
    "one against the rest": (OneVsRestClassifier(SVC()), "three"),
    "one against the rest, chances": (OneVsRestClassifier(GaussianNB()), "three"),
    "one against the rest, values": (OneVsRestClassifier(Ridge()), "three"),
    "one against the rest, two": (OneVsRestClassifier(LOGISTIC), "two"),
    "one against the rest, several labels": (OneVsRestClassifier(LOGISTIC), "bits"),
    "one against one": (OneVsOneClassifier(LinearSVC()), "three"),
    "one against one, chances": (OneVsOneClassifier(GaussianNB()), "three"),
    "one against one, two": (OneVsOneClassifier(GaussianNB()), "two"),
    "codes": (OutputCodeClassifier(GaussianNB(), code_size=3, random_state=0), "three"),
    "a model an output, labels": (MultiOutputClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)), "labels"),
    "a model an output, values": (
        MultiOutputRegressor(GradientBoostingRegressor(n_estimators=5, random_state=0)),
        "values",
    ),
    "chain of labels": (ClassifierChain(LOGISTIC, order=[1, 0]), "bits"),
    "chain of chances": (ClassifierChain(LOGISTIC, chain_method="predict_proba", order=[1, 0]), "bits"),
    "chain of values": (RegressorChain(Ridge(), order=[1, 0]), "values"),
    "self-taught": (SelfTrainingClassifier(LOGISTIC, max_iter=2), "partly"),
    "kernel ridge": (KernelRidge(kernel="rbf"), "values"),
    "kernel ridge, laplacian": (KernelRidge(kernel="laplacian"), "value"),
    "process": (
        GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(), optimizer=None, normalize_y=True),
        "value",
    ),
    "process of other kernels": (
        GaussianProcessRegressor(Matern(nu=1.5) + DotProduct() ** 2 + RationalQuadratic(), alpha=0.01, optimizer=None),
        "value",
    ),
    "process, three": (GaussianProcessClassifier(optimizer=None), "three"),
    "threshold": (FixedThresholdClassifier(LOGISTIC, threshold=0.3, pos_label="bad"), "two"),
    "threshold of the first class": (
        FixedThresholdClassifier(LOGISTIC, response_method="decision_function", threshold=-0.3, pos_label="bad"),
        "two",
    ),
    "threshold of a margin": (FixedThresholdClassifier(SVC(), threshold=0.1), "two"),
    "threshold that was found": (TunedThresholdClassifierCV(LOGISTIC, cv=2, thresholds=9, random_state=0), "two"),
    "search": (GridSearchCV(LOGISTIC, {"C": [0.1, 1]}, cv=2), "three"),
    "forest, several labels": (RandomForestClassifier(5, random_state=0), "labels"),
    "forest, values": (RandomForestRegressor(5, random_state=0), "values"),
    "boosting, exponential": (GradientBoostingClassifier(loss="exponential", n_estimators=5, random_state=0), "two"),
    "boosting, counts": (HistGradientBoostingRegressor(loss="poisson", max_iter=5), "value"),
    "components": (PLSRegression(), "values"),
    "discriminants": (LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), "three"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_estimator_answers_by_its_plan_as_it_does_itself(case, credit, tmp_path):
    estimator, target = CASES[case]
    model = credit.fit(estimator, target)
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)
    assert "native" not in plan.document


@pytest.mark.parametrize("back", ["log", "standard", "min and max", "quantiles", "several"])
def test_a_target_is_turned_back_as_the_regressor_does(back, credit, tmp_path):
    from sklearn.compose import TransformedTargetRegressor

    how = {
        "log": {"func": np.log1p, "inverse_func": np.expm1},
        "standard": {"transformer": StandardScaler()},
        "min and max": {"transformer": MinMaxScaler()},
        "quantiles": {"transformer": QuantileTransformer(n_quantiles=20)},
        "several": {"transformer": StandardScaler()},
    }[back]
    regressor = TransformedTargetRegressor(Lasso(0.01), **how)
    model = credit.fit(regressor, "values" if back == "several" else "value")
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)
    assert "native" not in plan.document


@pytest.mark.parametrize("temperature", ["two by margin", "two by chances", "three"])
def test_chances_are_cooled_as_the_calibration_does(temperature, credit, tmp_path):
    inner = LinearSVC() if temperature == "two by margin" else GaussianNB()
    try:
        estimator = CalibratedClassifierCV(inner, method="temperature", cv=3)
        model = credit.fit(estimator, "three" if temperature == "three" else "two")
    except ValueError:
        pytest.skip("this scikit-learn knows no temperature")
    assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)


def test_members_may_be_pipelines_over_the_frame(credit, tmp_path):
    members = [
        ("line", make_pipeline(credit.columns(), LOGISTIC)),
        ("tree", make_pipeline(credit.columns(MinMaxScaler()), DecisionTreeClassifier(max_depth=3, random_state=0))),
    ]
    model = VotingClassifier(members, voting="soft").fit(credit.fitted, credit.targets["three"][: len(credit.fitted)])
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)
    assert "native" not in plan.document


def test_a_frozen_estimator_answers_as_what_it_holds(credit, tmp_path):
    inner = credit.fit(LOGISTIC, "three")
    model = FrozenEstimator(inner)
    assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)


def test_features_that_several_members_stand_on_are_made_once(credit):
    model = credit.fit(VotingClassifier(MEMBERS, voting="soft"), "three")
    from plans import signature as signed

    document = compiling.translate(model, signed(model, credit.fitted))
    told = json.dumps(document, default=str)
    assert told.count('"onehot"') == 1


# ── the share ───────────────────────────────────────────────────────────────────────────────────────────────────────

# what takes no table
OTHERS = {"IsotonicRegression": "one number"}
SETTINGS = {
    "GaussianProcessClassifier": {"optimizer": None},
    "HistGradientBoostingClassifier": {"max_iter": 5},
    "HistGradientBoostingRegressor": {"max_iter": 5},
    "LabelPropagation": {"gamma": 0.1},
    "LabelSpreading": {"gamma": 0.1},
    "LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "MLPClassifier": {"hidden_layer_sizes": (8,), "max_iter": 20},
    "MLPRegressor": {"hidden_layer_sizes": (8,), "max_iter": 20},
    "NuSVC": {"nu": 0.2},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "RadiusNeighborsClassifier": {"radius": 60.0},
    "RadiusNeighborsRegressor": {"radius": 60.0},
    "TunedThresholdClassifierCV": {"cv": 2, "thresholds": 9},
    "TheilSenRegressor": {"max_subpopulation": 50, "max_iter": 20},
    "CalibratedClassifierCV": {"cv": 2},
    "StackingClassifier": {"cv": 2},
    "StackingRegressor": {"cv": 2},
}
TARGETS = {
    "CCA": "values",
    "PLSCanonical": "values",
    "ClassifierChain": "bits",
    "MultiOutputClassifier": "labels",
    "MultiOutputRegressor": "values",
    "RegressorChain": "values",
    "MultiTaskElasticNet": "values",
    "MultiTaskElasticNetCV": "values",
    "MultiTaskLasso": "values",
    "MultiTaskLassoCV": "values",
    "FixedThresholdClassifier": "two",
    "TunedThresholdClassifierCV": "two",
}
COUNTS = ("CategoricalNB", "ComplementNB", "MultinomialNB")  # of what is not negative


def _made(name, kind, kinds):
    """Make an estimator with what it must have, and with few members."""
    inner = LogisticRegression() if kind == "classifier" else Ridge()
    wanted = {"estimator": inner, "estimators": [("one", inner), ("other", inner)]}
    takes = signature(kinds.__init__).parameters
    needed = {
        key: value
        for key, value in wanted.items()
        if key in takes and (takes[key].default is Parameter.empty or name == "SelfTrainingClassifier")
    }
    few = {"n_estimators": 10} if takes.get("n_estimators") else {}
    return kinds(**{**needed, **few, **SETTINGS.get(name, {})})


ALL = [(name, kind, found) for kind in ("classifier", "regressor") for name, found in all_estimators(kind)]


@pytest.fixture(scope="module")
def compiled():
    return {}


@pytest.mark.parametrize(("name", "kind", "found"), ALL, ids=[name for name, *_ in ALL])
def test_every_estimator_of_the_library_answers_by_its_plan(name, kind, found, credit, compiled, tmp_path):
    if name in OTHERS:
        pytest.skip(f"{name} takes {OTHERS[name]}")
    target = TARGETS.get(name, "three" if kind == "classifier" else "value")
    scaler = MinMaxScaler(clip=True) if name in COUNTS else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = credit.fit(_made(name, kind, found), target, scaler=scaler)
        plan = assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)
    compiled[name] = "native" not in plan.document


def test_nine_of_ten_estimators_compile_wholly(compiled):
    if len(compiled) < len(ALL) - len(OTHERS):
        pytest.skip("not every estimator was tried")
    assert sum(compiled.values()) >= 0.9 * len(ALL), sorted(name for name, whole in compiled.items() if not whole)


# ── labels alone, of many rows at once ──────────────────────────────────────────────────────────────────────────────

TOGETHER = {
    "nine classes": (SVC(), 9),
    "nine classes, by chances": (SVC(probability=True, random_state=0), 9),
    "two classes": (SVC(), 2),
    "polynomial": (SVC(kernel="poly", degree=4, coef0=1.0), 9),
    "linear": (SVC(kernel="linear"), 9),
    "sigmoid": (SVC(kernel="sigmoid"), 9),
    "nu": (NuSVC(nu=0.05), 3),
    "neighbours": (KNeighborsClassifier(), 9),
    "one neighbour": (KNeighborsClassifier(1, algorithm="brute"), 2),
    "many neighbours": (KNeighborsClassifier(40), 9),
    "neighbours by their distance": (KNeighborsClassifier(weights="distance"), 9),
    "neighbours by their distance, in a tree": (KNeighborsClassifier(weights="distance", algorithm="kd_tree"), 9),
}
ROW_BY_ROW = {
    "ties broken": (SVC(break_ties=True), 9),
    "neighbours by another distance": (KNeighborsClassifier(p=1), 9),
    "most of all are neighbours": (KNeighborsClassifier(300), 3),
}


@pytest.fixture(scope="module")
def crowd():
    """Rows of four columns, and into how many classes they fall by their angle."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(500, 4)) * [1, 1, 0.1, 10]).add_prefix("c")
    turn = (np.arctan2(X["c0"], X["c1"]) + np.pi) / (2 * np.pi)
    return X, lambda n: np.minimum((turn * n).astype(int), n - 1), rng.normal(size=(1500, 4)) * [1, 1, 0.1, 10]


def _between(plan, rows):
    """Give rows between others of another label, as near to where the label changes as numbers are to each other."""
    low, high = rows[:-1].copy(), rows[1:].copy()
    of = plan.label_numbers(list(low.T), len(low))
    differ = of != plan.label_numbers(list(high.T), len(high))
    low, high, of = low[differ], high[differ], of[differ]
    for _ in range(60):
        middle = (low + high) / 2
        same = plan.answers_by_column(list(middle.T), len(middle))[0].labels == np.array(plan.heads[0].labels)[of]
        low[same], high[~same] = middle[same], middle[~same]
    return np.concatenate([low, high])


@pytest.mark.parametrize("case", [*TOGETHER, *ROW_BY_ROW])
def test_many_rows_get_the_labels_that_each_gets_alone_and_few_are_asked_alone(case, crowd, tmp_path, monkeypatch):
    estimator, n_classes = (TOGETHER | ROW_BY_ROW)[case]
    X, classes, asked = crowd
    plan = plan_of(clone(estimator).fit(X, classes(n_classes)), X, tmp_path / "plan")
    labels, core, alone = np.array(plan.heads[0].labels), plan.heads[0].core, []
    before = plan.answers_by_column(list(asked.T), len(asked))[0].labels
    monkeypatch.setattr(core, "_one", lambda row, one=core._one: [alone.append(row), one(row)][1])
    found = plan.label_numbers(list(asked.T), len(asked))
    np.testing.assert_array_equal(labels[found], before)
    assert len(alone) == len(asked) if case in ROW_BY_ROW else len(alone) < 10
    assert len(plan.label_numbers(list(asked[:0].T), 0)) == 0
    if "tree" in case:  # rows that are kept themselves
        own = X.to_numpy()
        found = plan.label_numbers(list(own.T), len(own))
        np.testing.assert_array_equal(labels[found], plan.answers_by_row(own.tolist())[0].labels)
    if isinstance(estimator, SVC | NuSVC):
        near = _between(plan, asked[:60])
        alone.clear()
        found = plan.label_numbers(list(near.T), len(near))
        assert len(alone) == len(near) > 10  # each may lie on either side by rounding
        np.testing.assert_array_equal(labels[found], plan.answers_by_row(near.tolist())[0].labels)


@pytest.mark.parametrize("estimator", [SVC(), KNeighborsClassifier()], ids=["vectors", "neighbours"])
def test_numbers_too_large_for_sums_of_squares_get_the_labels_that_each_gets_alone(estimator, crowd, tmp_path):
    X, classes, asked = crowd
    plan = plan_of(estimator.fit(X, classes(9)), X, tmp_path / "plan")
    large = asked[:20] * 10.0 ** np.arange(0, 200, 10)[:, None]
    with np.errstate(all="ignore"):
        try:
            wanted = plan.answers_by_row(large.tolist())[0].labels
        except PlanError:
            with pytest.raises(PlanError):
                plan.label_numbers(list(large.T), len(large))
        else:
            np.testing.assert_array_equal(
                np.array(plan.heads[0].labels)[plan.label_numbers(list(large.T), len(large))], wanted
            )


def test_neighbours_as_near_have_no_label_of_many_rows_either(crowd, tmp_path):
    X, classes, asked = crowd
    X = pd.concat([X, X], ignore_index=True)
    plan = plan_of(KNeighborsClassifier(1).fit(X, [*classes(9)[:500].tolist()] * 2), X, tmp_path / "plan")
    for ask in (plan.label_numbers, plan.answers_by_column):
        with pytest.raises(PlanError, match="nearer than the others"):
            ask(list(asked.T), len(asked))


# ── ties ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_votes_are_for_the_first_class(credit, tmp_path):
    """Three members that each name another class for nearly every row."""
    rows = len(credit.fitted)
    target = credit.targets["three"][:rows]
    members = []
    for i, name in enumerate(("high", "low", "middle")):
        members.append((f"m{i}", DummyClassifier(strategy="constant", constant=i)))
        assert name in set(target)
    model = make_pipeline(credit.columns(), VotingClassifier(members)).fit(credit.fitted, target)
    plan = assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked)
    assert plan.predictions(rows_of(credit.asked.head(1)))[0]["label"] == "high"


def test_duplicated_trees_answer_as_one(credit, tmp_path):
    model = credit.fit(RandomForestClassifier(4, max_depth=2, random_state=0), "three")
    forest = model.steps[-1][1]
    forest.estimators_ = [forest.estimators_[0]] * 4
    assert_equal(model, credit.fitted, tmp_path / "plan", asked=credit.asked, within=0)


def test_where_several_rows_are_as_near_the_model_itself_is_asked(credit):
    import pandas as pd

    from ekiben.errors import PlanError

    rows = pd.DataFrame({"x": [0.0, 2.0, 4.0, 6.0]})
    model = KNeighborsClassifier(1, algorithm="brute").fit(rows, ["a", "b", "c", "d"])
    from plans import signature as signed

    told = signed(model, rows)
    plan = compiling.Plan(compiling.translate(model, told), told.inputs, told.outputs)
    assert plan.predictions([(1.9,)])[0]["label"] == "b"
    with pytest.raises(PlanError, match="nearer than the others"):
        plan.predictions([(3.0,)])


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _own(values):
    return values


FAR = {
    "centres": lambda X, y: make_pipeline(StandardScaler(), NearestCentroid()).fit(X, y),
    "waves": lambda X, y: make_pipeline(RBFSampler(n_components=20, random_state=0), LogisticRegression()).fit(X, y),
}


@pytest.mark.parametrize("model", FAR.values(), ids=FAR)
def test_where_all_hangs_on_rounding_the_model_itself_is_asked(model, iris):
    X, y = iris
    package = ek.pack(model(X, y), name="flowers", reference=X)
    assert package.plan is not None
    far = X.head(1).copy()
    far.iloc[:, 1] = 1e15  # sums of such numbers are rounded by more than what parts the classes
    with pytest.raises(PlanError):
        package.plan.predictions(list(far.itertuples(index=False, name=None)))
    assert package.predict(far).equals(package.predict(far, compiled=False))


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingClassifier(n_estimators=5),
        GradientBoostingRegressor(n_estimators=5),
        AdaBoostClassifier(n_estimators=3),
        AdaBoostRegressor(n_estimators=3),
        AdaBoostClassifier(RandomForestClassifier(n_estimators=2, max_depth=2), n_estimators=2),
        AdaBoostClassifier(HistGradientBoostingClassifier(max_iter=2), n_estimators=2),
        AdaBoostClassifier(LogisticRegression(), n_estimators=2),
        AdaBoostClassifier(DummyClassifier(), n_estimators=2),
        AdaBoostRegressor(make_pipeline(SimpleImputer(), Ridge()), n_estimators=2),
        AdaBoostRegressor(DecisionTreeRegressor(max_depth=2), n_estimators=2),
        make_pipeline(SelectKBest(k=1), DecisionTreeRegressor(max_depth=3)),
        make_pipeline(FunctionTransformer(validate=True), DecisionTreeRegressor(max_depth=3)),
        make_pipeline(PCA(1), DummyClassifier()),
    ],
    ids=str,
)
def test_what_refuses_a_number_that_a_step_lost_is_no_more_answered_by_its_plan(estimator, tmp_path):
    X = _positive()
    _lost(estimator, X, (X["debt"] > 2).astype(int), tmp_path)


@pytest.mark.parametrize(
    "chain",
    [
        ClassifierChain(DecisionTreeClassifier(max_depth=2)),
        ClassifierChain(DummyClassifier()),
        RegressorChain(make_pipeline(SimpleImputer(), Ridge())),
        MultiOutputRegressor(make_pipeline(PCA(1), DummyRegressor())),
        make_pipeline(PCA(1), DummyRegressor()),
    ],
    ids=str,
)
def test_what_refuses_a_lost_number_for_several_outputs_is_no_more_answered_by_its_plan(chain, tmp_path):
    X = _positive()
    _lost(chain, X, np.column_stack([X["debt"] > 2, X["age"] > 3]).astype(int), tmp_path)


@pytest.mark.parametrize(
    "ensemble",
    [
        BaggingClassifier(LogisticRegression(), n_estimators=2),
        VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=2))]),
        StackingClassifier([("a", LogisticRegression())], DummyClassifier(), cv=2),
        StackingClassifier([("a", DecisionTreeClassifier(max_depth=2))], LogisticRegression(), cv=2, passthrough=True),
    ],
    ids=str,
)
def test_what_looks_for_no_lost_number_refuses_it_where_a_member_does(ensemble, tmp_path):
    X = _positive()
    _lost(ensemble, X, (X["debt"] > 2).astype(int), tmp_path)


def test_what_takes_a_number_that_a_step_lost_answers_it_by_its_plan_too(tmp_path):
    X = _positive()
    members = [("a", DecisionTreeClassifier(max_depth=2)), ("b", make_pipeline(SimpleImputer(), LogisticRegression()))]
    model = make_pipeline(FunctionTransformer(np.log), StackingClassifier(members, cv=2)).fit(X, X["debt"] > 2)
    plan = plan_of(model, X, tmp_path)
    gone = [*rows_of(X.head(9)), (-1.0, 2.0)]
    labels = model.predict(pd.DataFrame(gone, columns=X.columns)).tolist()
    assert plan.answers_by_column(list(zip(*gone, strict=True)), len(gone))[0].labels.tolist() == labels
    assert plan.answers_by_row(gone)[0].labels.tolist() == labels


def _positive():
    return pd.DataFrame(np.random.default_rng(0).uniform(0.1, 5, size=(80, 2)), columns=["debt", "age"])


def _lost(estimator, X, target, folder):
    """See that a plan leaves what the model refuses: one row, a column of it, and one among others."""
    model = make_pipeline(FunctionTransformer(np.log), clone(estimator)).fit(X, target)
    gone = X.head(9).copy()
    gone.loc[8, "debt"] = -1.0
    with pytest.raises(ValueError, match="NaN"):
        model.predict(gone)
    tried(model, X, folder, more=[{"debt": -1.0}, {"age": -3.0}, {"age": 0.0}])
    plan = plan_of(model, X, folder)
    for rows in (rows_of(gone), rows_of(gone.tail(1))):
        with pytest.raises(PlanError):
            plan.answers_by_column(list(zip(*rows, strict=True)), len(rows))


def test_a_target_beyond_all_numbers_is_not_turned_back(tmp_path):
    X = pd.DataFrame({"age": np.arange(1.0, 61.0)})
    model = TransformedTargetRegressor(PoissonRegressor(), transformer=QuantileTransformer(n_quantiles=20))
    model.fit(X, X["age"] ** 2)
    with pytest.raises(ValueError, match="infinity"):
        model.predict(X.assign(age=1e300))
    tried(model, X, tmp_path, more=[{"age": 1e300}])


def test_what_has_no_node_says_why(credit):
    from sklearn.compose import TransformedTargetRegressor

    from plans import signature as signed

    cases = [
        (DummyClassifier(strategy="uniform"), "two", "draws by chance"),
        (GradientBoostingRegressor(init=Ridge(), n_estimators=2), "value", "began with another model"),
        (TransformedTargetRegressor(Ridge(), func=_own, inverse_func=_own), "value", "a function of its own"),
        (SVC(kernel=lambda a, b: a @ b.T), "two", "a kernel of its own"),
        (GaussianProcessRegressor(Matern(nu=1.7), optimizer=None), "value", "of this nu"),
        (KNeighborsClassifier(metric="chebyshev"), "two", "another metric"),
        (KNeighborsClassifier(weights=lambda far: 1 / far), "two", "by a function"),
    ]
    for estimator, target, why in cases:
        pipeline = credit.fit(estimator, target)
        numbers, last = pipeline[:-1].transform(credit.fitted), pipeline[-1]
        import pandas as pd

        last.fit(numbers, credit.targets[target][: len(numbers)])
        bare = pd.DataFrame(numbers, columns=[f"n{i}" for i in range(numbers.shape[1])])
        last.fit(bare, credit.targets[target][: len(numbers)])
        with pytest.raises(compiling.NoPlan, match=why):
            compiling.translate(last, signed(last, bare))


def test_a_class_that_somebody_built_on_the_library_has_no_plan(credit):
    class Mine(LogisticRegression):
        def predict(self, X):
            return super().predict(X)[::-1]

    from ekiben.compiling.heads import HEADS
    from ekiben.compiling.translating import is_of

    assert "Mine" not in HEADS
    assert not is_of(Mine(), "sklearn")
    assert models.find(Mine()).library == "sklearn"


def test_a_plan_of_every_family_survives_its_file(credit, tmp_path):
    model = credit.fit(StackingClassifier([("svm", LinearSVC()), *MEMBERS], cv=2), "three")
    plan = plan_of(model, credit.fitted, tmp_path / "plan")
    assert json.loads((tmp_path / "plan" / "plan.json").read_text())["format"] == 1
    assert plan.predictions(rows_of(credit.asked.head(2)))
