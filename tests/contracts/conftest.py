"""What the tables of models share: a clean interpreter that answers with their packages."""

import json

import numpy as np
import pytest

import ekiben as ek

# It knows ekiben and the folder of the packages: no test, no notebook, no model.
CLEAN = """
import json, sys, tempfile
from pathlib import Path

import ekiben as ek

told = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    package = ek.load(folder)
    rows = package.sample
    with tempfile.TemporaryDirectory() as again:
        package.adapter.save(package.model, Path(again))
        same = {path.name: path.read_bytes() for path in Path(again).iterdir()} == {
            path.name: path.read_bytes() for path in (folder / "model").iterdir()
        }
    told[folder.name] = {
        "answers": package.predict(rows, compiled=False).to_dict("list"),
        "one by one": [package.predict(rows.iloc[[i]], compiled=False).to_dict("list") for i in range(5)],
        "backwards": package.predict(rows.iloc[::-1], compiled=False).to_dict("list"),
        "compiled": package.predict(rows).to_dict("list"),
        "the same bytes": same,
        "method": package.method,
        "explained": [one.value for one in package.explain(rows.head(2))],
    }
strangers = [name for name in sys.modules if name.partition(".")[0] in ("tests", "test_every_xgboost", "test_every_lightgbm")]
json.dump({"told": told, "strangers": strangers}, sys.stdout)
"""


@pytest.fixture(scope="session")
def ask_in_a_clean_interpreter(run_apart):
    """Give a function: a folder of packages → what each of them answers there."""

    def ask(folder):
        said = run_apart(CLEAN, folder)
        answer = json.loads(said[said.index("{") :])
        assert answer["strangers"] == []
        return answer["told"]

    return ask


@pytest.fixture(scope="session")
def pack_all():
    """Give a function: a table of models → their packages in a folder, and what each live model answered before."""

    def pack(table, folder):
        live = {}
        for name, (make, rows, ask, _) in table.items():
            model = make()
            ek.pack(model, name="penguins", reference=rows).save(folder / name)
            live[name] = {column: np.asarray(values) for column, values in ask(model, rows).items()}
        return live

    return pack


@pytest.fixture(scope="session")
def equal():
    """Give a function that holds told answers against the live ones, bit for bit."""

    def same(told, live, rows=slice(None)):
        assert set(told) == set(live)
        for column, values in live.items():
            assert np.array_equal(np.asarray(told[column]), values[rows], equal_nan=values.dtype.kind == "f"), column

    return same
