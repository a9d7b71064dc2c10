"""alibi's KernelSHAP on raw columns gives exact values where all coalitions are asked for, and holds our sampling."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben import explainers
from explained import context_of, timeless
from shapley_values import brute_force

pytestmark = pytest.mark.slow
COLUMNS = ["Seniority", "Income", "Job", "Records"]


@pytest.fixture(scope="module")
def loans(credit):
    """A model of numbers and texts, both with missing values."""
    X, y = credit[0][COLUMNS], credit[1]
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    before = ColumnTransformer([("n", numbers, COLUMNS[:2]), ("t", texts, COLUMNS[2:])])
    return make_pipeline(before, LogisticRegression(max_iter=1000)).fit(X, y), X


def test_kernel_shap_is_exact_on_raw_columns_where_all_coalitions_are_asked_for(loans):
    model, X = loans
    made = explainers.choose("kernel-alibi", context_of(model, X), settings={"n_background": 40})
    for i in (0, int(X["Income"].isna().argmax())):
        one = made.explain(X.iloc[[i]])[0]
        wanted = brute_force(lambda rows: model.predict_proba(rows)[:, 1], made.background, X.iloc[[i]])
        assert dict(one.contributions) == pytest.approx(wanted, abs=1e-6)
        assert one.faithfulness_error < 1e-9
        assert (one.method, one.units, one.label) == ("kernel-shap", "probability", "good")


@pytest.mark.parametrize("units", ["probability", "log-odds"])
def test_kernel_shap_and_sampling_agree_within_their_errors(loans, units):
    model, X = loans
    package = ek.pack(model, name="loans", reference=X)
    rows = X.iloc[[1, 5, 9]]
    kernel = package.explain(rows, method="kernel-alibi", units=units)
    drawn = package.explain(rows, method="sampling", units=units, rounds=30)
    for one, other in zip(kernel, drawn, strict=True):
        assert one.units == other.units == units
        assert one.value == pytest.approx(other.value)
        for name in X.columns:
            spread = np.hypot(one.standard_errors[name], other.standard_errors[name])
            assert abs(one.contributions[name] - other.contributions[name]) < 4 * spread + 1e-9


def test_kernel_shap_draws_by_its_seed_and_leaves_the_generator_of_others(diabetes):
    X, y = diabetes
    wide = X.assign(**{f"more{i}": np.roll(X["bmi"], i) for i in range(1, 4)})  # 13 columns: coalitions are drawn
    model = RandomForestRegressor(5, random_state=0).fit(wide, y)
    made = explainers.choose("kernel-alibi", context_of(model, wide), settings={"n_background": 10})
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 -- the generator that shap draws with
    first, again, other = (timeless(made.explain(wide.head(1), seed=seed))[0] for seed in (1, 1, 2))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert dict(first.contributions) == dict(again.contributions) != dict(other.contributions)
    assert first.faithfulness_error < 1e-6


def test_it_comes_back_from_its_folder(loans, tmp_path):
    model, X = loans
    made = explainers.choose("kernel-alibi", context_of(model, X), settings={"n_background": 20})
    made.save(tmp_path)
    again = explainers.load(tmp_path, context_of(model, X))
    assert timeless(again.explain(X.head(1))) == timeless(made.explain(X.head(1)))
    assert explainers.requirements("kernel-alibi") == ("alibi", "shap", "numba")
