"""Every kind of model that ekiben packs, through one body of tests; every kind that it refuses, with the words."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

import ekiben as ek
from ekiben import codecs, tables
from ekiben.compiling import TOLERANCE
from ekiben.errors import SpecError, UnsupportedModelError

RNG = np.random.default_rng(0)
N_ROWS = 160
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 70, N_ROWS),
        "income": RNG.normal(3000, 800, N_ROWS).round(2),
        "job": RNG.choice(["fixed", "freelance", "other"], N_ROWS),
        "member": RNG.random(N_ROWS) < 0.4,
    }
)
FRAME.loc[::7, "income"] = np.nan
WORTH = (FRAME["age"] + FRAME["income"].fillna(3000) / 100 + RNG.normal(0, 8, N_ROWS)).to_numpy()
TEXTS = np.where(WORTH > 74, "good", "bad")
ONES = (WORTH > 74).astype(int)
NUMBERS = FRAME[["age", "income"]].fillna(0)
UNTEXTED = FRAME[["age", "income", "member"]]
CATEGORIES = FRAME.astype({"job": "category"})
GAPS = FRAME.assign(job=FRAME["job"].where(FRAME.index % 11 != 0, None))
NULLABLE = FRAME.astype({"age": "Int64", "job": "string", "member": "boolean"})
NULLABLE.loc[::9, "age"] = pd.NA
NULLABLE.loc[::11, "job"] = pd.NA
NULLABLE.loc[::13, "member"] = pd.NA
DAYS = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 700, N_ROWS), unit="D")
BESIDE = FRAME.assign(  # columns of every other kind, beside those that the model looks at
    grade=pd.Categorical(RNG.integers(1, 4, N_ROWS), categories=[3, 1, 2], ordered=True),
    since=DAYS,
    seen=DAYS.tz_localize("Europe/Madrid"),
    day=DAYS.date,
    vector=list(RNG.normal(size=(N_ROWS, 3)).astype("float32")),
    words=[["a", "b"]] * N_ROWS,
    arrow=FRAME["age"].astype("int16[pyarrow]"),
)
GRADED = BESIDE[["age", "income", "grade"]]


def prepared():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    parts = [("n", numbers, ["age", "income"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["job"])]
    return ColumnTransformer([*parts, ("b", "passthrough", ["member"])])


def nullable():
    fill = SimpleImputer(missing_values=pd.NA, strategy="most_frequent")
    return ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
            ("t", make_pipeline(fill, OneHotEncoder(handle_unknown="ignore")), ["job"]),
            ("b", SimpleImputer(strategy="most_frequent"), ["member"]),
        ]
    )


def after(last):
    return make_pipeline(prepared(), last)


def trees(kind=XGBClassifier, **settings):
    return kind(n_estimators=5, max_depth=2, n_jobs=1, **settings)


def forest():
    return RandomForestClassifier(4, max_depth=3, random_state=0)


LOGISTIC = {"logisticregression__C": [0.1, 1.0]}
# name → how the model is made, the frame it is fitted on, its labels or values, and what explains it
KINDS = {
    "logistic": (lambda: after(LogisticRegression()), FRAME, TEXTS, "linear"),
    "logistic-of-booleans": (lambda: after(LogisticRegression()), FRAME, ONES == 1, "linear"),
    "logistic-of-floats": (lambda: after(LogisticRegression()), FRAME, ONES.astype(float), "linear"),
    "logistic-of-three": (
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        NUMBERS,
        FRAME["job"],
        "linear",
    ),
    "logistic-of-nullable": (lambda: make_pipeline(nullable(), LogisticRegression()), NULLABLE, TEXTS, "linear"),
    "logistic-of-gaps": (lambda: after(LogisticRegression()), GAPS, TEXTS, "linear"),
    "logistic-of-selected": (
        lambda: make_pipeline(prepared(), SelectKBest(k=3), LogisticRegression()),
        FRAME,
        TEXTS,
        "linear",
    ),
    "logistic-of-splines": (lambda: make_pipeline(SplineTransformer(n_knots=3), Ridge()), NUMBERS, WORTH, "linear"),
    "logistic-of-logs": (
        lambda: make_pipeline(FunctionTransformer(np.log1p), LinearRegression()),
        NUMBERS.abs(),
        WORTH,
        "linear",
    ),
    "ridge": (lambda: after(Ridge()), FRAME, WORTH, "linear"),
    "forest": (lambda: after(forest()), FRAME, TEXTS, "trees"),
    "histogram": (
        lambda: make_pipeline(
            ColumnTransformer([("n", "passthrough", ["age", "income"])]), HistGradientBoostingRegressor(max_iter=5)
        ),
        FRAME,
        WORTH,
        "trees",
    ),
    "histogram-of-categories": (lambda: HistGradientBoostingClassifier(max_iter=5), CATEGORIES, TEXTS, "trees"),
    "gradient": (lambda: after(GradientBoostingRegressor(n_estimators=5)), FRAME, WORTH, "trees"),
    "neighbours": (lambda: after(KNeighborsClassifier(5)), FRAME, TEXTS, "sampling"),
    "logistic-beside-every-kind": (lambda: after(LogisticRegression()), BESIDE, TEXTS, "linear"),
    "forest-beside-every-kind": (lambda: after(forest()), BESIDE, TEXTS, "trees"),
    "histogram-of-grades": (
        lambda: HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"),
        GRADED,
        TEXTS,
        "trees",
    ),
    "xgboost-of-grades": (lambda: trees(enable_categorical=True), GRADED, ONES, "trees"),
    "bayes": (GaussianNB, NUMBERS, TEXTS, "additive"),
    "stacked": (
        lambda: after(StackingClassifier([("a", LogisticRegression()), ("b", forest())], cv=2)),
        FRAME,
        TEXTS,
        "sampling",
    ),
    "searched": (lambda: GridSearchCV(after(LogisticRegression()), LOGISTIC, cv=2), FRAME, TEXTS, "linear"),
    "searched-at-random": (
        lambda: RandomizedSearchCV(LogisticRegression(), {"C": loguniform(0.1, 10)}, n_iter=2, cv=2, random_state=0),
        NUMBERS,
        TEXTS,
        "linear",
    ),
    "calibrated": (lambda: CalibratedClassifierCV(after(forest()), cv=2), FRAME, TEXTS, "sampling"),
    "calibrated-machine": (lambda: after(CalibratedClassifierCV(LinearSVC(), cv=2)), FRAME, TEXTS, "sampling"),
    "transformed-target": (
        lambda: TransformedTargetRegressor(after(Ridge()), func=np.log1p, inverse_func=np.expm1),
        FRAME,
        WORTH,
        "additive",
    ),
    "tuned-threshold": (lambda: TunedThresholdClassifierCV(after(LogisticRegression()), cv=2), FRAME, ONES, "additive"),
    "xgboost": (trees, UNTEXTED, ONES, "trees"),
    "xgboost-of-categories": (lambda: trees(enable_categorical=True), CATEGORIES, ONES, "trees"),
    "xgboost-of-nullable": (trees, NULLABLE[["age", "income", "member"]], ONES, "trees"),
    "xgboost-of-three": (trees, NUMBERS, FRAME["job"].astype("category").cat.codes, "trees"),
    "xgboost-of-a-matrix": (trees, NUMBERS.to_numpy(), ONES, "trees"),
    "xgboost-forest": (lambda: trees(XGBRFClassifier), NUMBERS, ONES, "trees"),
    "xgboost-in-a-pipeline": (lambda: after(trees()), FRAME, ONES, "trees"),
    "xgboost-regressor": (lambda: trees(XGBRegressor), UNTEXTED, WORTH, "trees"),
    "a-method-that-labels": (lambda: after(forest()).fit(FRAME, TEXTS).predict, FRAME, TEXTS, "sampling"),
    "a-method-that-scores": (lambda: after(forest()).fit(FRAME, TEXTS).predict_proba, FRAME, TEXTS, "sampling"),
    "a-partial": (lambda: partial(after(Ridge()).fit(FRAME, WORTH).predict), FRAME, WORTH, "additive"),
    "xgboost-early": (lambda: trees(XGBRegressor, early_stopping_rounds=1), NUMBERS, WORTH, "trees"),
}


@pytest.fixture(scope="module", params=KINDS)
def packed(request):
    make, frame, target, method = KINDS[request.param]
    model = make()
    watched = {"eval_set": [(frame, target)], "verbose": False} if request.param == "xgboost-early" else {}
    if hasattr(model, "fit"):
        model.fit(frame, target, **watched)
    return ek.pack(model, name="kind", reference=frame), model, frame, method


def named(package, frame):
    return frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame, columns=package.schema.names)


def test_it_answers_as_the_live_model_does(packed):
    package, model, frame, _ = packed
    answers = package.predict(named(package, frame), compiled=False)
    if package.signature.task == "regression":
        assert answers["value"].tolist() == model.predict(frame).astype(float).tolist()
        return
    if package.signature.task == "other":
        assert answers.to_numpy().reshape(model(frame).shape).tolist() == model(frame).tolist()
        return
    assert answers["label"].tolist() == model.predict(frame).tolist()
    scores = [f"score_{label}" for label in package.signature.classes]
    assert np.array_equal(answers[scores].to_numpy(), model.predict_proba(frame).astype(float))


def test_its_plan_answers_as_the_model_does(packed):
    package, _, frame, _ = packed
    rows = named(package, frame)
    ours, own = package.predict(rows), package.predict(rows, compiled=False)
    for name in own.columns:
        if own[name].dtype.kind == "f":
            scale = np.maximum(1.0, own[name].abs())
            assert ((ours[name] - own[name]).abs() / scale).max() <= (TOLERANCE if package.plan else 0)
        else:
            assert ours[name].tolist() == own[name].tolist()


def test_it_answers_the_same_after_it_was_saved_and_loaded(packed, tmp_path):
    package, _, frame, _ = packed
    again = ek.load(package.save(tmp_path / "package"))
    rows = named(package, frame)
    assert again.signature == package.signature
    pd.testing.assert_frame_equal(again.predict(rows), package.predict(rows), check_exact=True)


def test_json_there_and_back_changes_no_answer(packed):
    package, _, frame, _ = packed
    rows = named(package, frame)
    read = codecs.decode(codecs.encode(tables.as_rows(rows)))
    back = tables.as_frame(codecs.columns_of(read, package.schema), package.schema)
    pd.testing.assert_frame_equal(package.predict(back), package.predict(rows).reset_index(drop=True), check_exact=True)


def test_its_answers_are_values_of_json(packed):
    package, _, frame, _ = packed
    answers = tables.as_records(package.predict(named(package, frame).head(3)))
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers


def test_it_explains_on_the_raw_columns_by_numbers_that_add_up(packed):
    package, _, frame, method = packed
    rows = named(package, frame).head(4)
    explained = package.explain(rows)
    assert package.method == method
    assert len(explained) == len(rows)
    for one in explained:
        assert list(one.contributions) == list(package.schema.names)
        assert one.base_value + sum(one.contributions.values()) == pytest.approx(one.value, rel=1e-4, abs=1e-4)


def test_it_keeps_every_law(packed):
    report = ek.check(packed[0])
    assert report.ok, str(report)


def test_its_dtypes_come_back_from_values_of_json(packed):
    package, _, frame, _ = packed
    rows = named(package, frame)
    back = tables.conform(pd.DataFrame(tables.as_rows(rows), dtype=object), package.schema)
    assert back.dtypes.astype(str).to_dict() == tables.conform(rows, package.schema).dtypes.astype(str).to_dict()


# ── what is refused


class Mine(ClassifierMixin, BaseEstimator):
    """A class of a notebook, which no file can hold."""

    __module__ = "__main__"

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class Net:
    """A model of a library that no adapter knows."""


BOTH = np.column_stack([WORTH, WORTH])
REFUSED = {
    "of-the-notebook": (
        lambda: Mine().fit(NUMBERS, TEXTS),
        "numpy's ufuncs. Got __main__.Mine. Hold plain values in its place",
    ),
    "of-another-library": (Net, "No adapter for Net. Known libraries: lightgbm, sklearn, xgboost."),
    "unfitted": (LogisticRegression, "The model must be fitted. Got an unfitted LogisticRegression. Fit it first."),
    "unfitted-xgboost": (trees, "The model must be fitted. Got an unfitted XGBClassifier. Fit it first."),
    "a-class": (lambda: Mine, "What is packed must be an object that answers. Got the class Mine. Make one: Mine(…)."),
    "a-search-without-refit": (
        lambda: GridSearchCV(LinearRegression(), {"positive": [True, False]}, cv=2, refit=False).fit(NUMBERS, WORTH),
        "A search must be fitted with refit=True. Got GridSearchCV(refit=False).",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_packed_is_refused_with_the_way_out(kind):
    make, words = REFUSED[kind]
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        ek.pack(make(), name="kind", reference=NUMBERS)


def test_a_column_of_durations_is_refused_by_its_name():
    since = NUMBERS.assign(since=pd.to_timedelta(NUMBERS["age"], unit="D"))
    model = make_pipeline(ColumnTransformer([("n", "passthrough", ["age", "income"])]), LinearRegression())
    words = (
        "The column 'since' must hold numbers, booleans, texts, categories, dates or lists of one length. Got timedelta"
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        ek.pack(model.fit(since, WORTH), name="kind", reference=since)
