import math
import warnings

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from plan_trials import tried

N_ROWS = 24
numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32) | st.integers(-5, 5).map(float)
gaps = numbers | st.just(math.nan)
words = st.sampled_from(["a", "b", "c", "d", ""])
lacking = words | st.just(np.nan)


@st.composite
def frames(draw):
    def column(values):
        return draw(st.lists(values, min_size=N_ROWS, max_size=N_ROWS))

    return pd.DataFrame({"x": column(gaps), "y": column(numbers), "s": column(words), "t": column(lacking)})


imputers = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent"]),
    add_indicator=st.booleans(),
    keep_empty_features=st.just(True),
)
scalers = st.sampled_from(
    [
        StandardScaler(),
        MinMaxScaler(clip=True),
        RobustScaler(),
        KBinsDiscretizer(3, encode="ordinal", strategy="uniform"),
        PolynomialFeatures(2),
        QuantileTransformer(n_quantiles=5),
        make_pipeline(StandardScaler(), PowerTransformer()),
        make_pipeline(StandardScaler(), PCA(1)),
        make_pipeline(FunctionTransformer(np.cbrt), StandardScaler()),
        "passthrough",
    ]
)
encoders = st.sampled_from(
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2),
        OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        TargetEncoder(),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    ]
)
heads = st.sampled_from([LogisticRegression(), DecisionTreeClassifier(random_state=0)])


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(X=frames(), imputer=imputers, scaler=scalers, encoder=encoders, head=heads)
def test_a_plan_answers_every_row_as_its_model_does(tmp_path_factory, X, imputer, scaler, encoder, head):
    X.loc[0, ["x", "t"]] = [0.0, "a"]  # a contract needs one value of each column
    y = np.arange(N_ROWS) % 2
    steps = make_column_transformer((make_pipeline(imputer, scaler), ["x", "y"]), (encoder, ["s", "t"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(steps, head).fit(X, y)
    assert "native" not in tried(model, X, tmp_path_factory.mktemp("plan"), atol=1e-9)
