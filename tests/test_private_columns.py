"""What the contract calls private is in no file of a package or a service: its rows hold values that nobody has."""

import html
import json
import re
import struct
from datetime import date
from pathlib import Path

import bentoml
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben import proving, tables
from ekiben.errors import SpecError
from ekiben.packing.inventing import invented

N_ROWS = 300


@pytest.fixture(scope="module")
def loans():
    """A number and a free text that are private, beside what is not."""
    draws = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "income": draws.lognormal(8, 0.5, N_ROWS),
            "holder": [f"Holder {word} Of {i}" for i, word in enumerate(draws.bytes(4 * N_ROWS).hex(" ", 4).split())],
            "years": draws.integers(0, 30, N_ROWS),
            "job": draws.choice(["fixed", "freelance"], N_ROWS),
        }
    )
    return X, X["income"] / 100 + X["years"] > 45


@pytest.fixture(scope="module")
def model(loans):
    X, y = loans
    parts = make_column_transformer((StandardScaler(), ["income", "years"]), (OneHotEncoder(), ["job"]))
    return make_pipeline(parts, LogisticRegression()).fit(X, y)


def packed(model, loans, **settings):
    contract = ek.contract(loans[0]).edit("income", private=True).edit("holder", private=True)
    return ek.pack(model, name="loans", reference=loans[0], target=loans[1], contract=contract, **settings)


def in_clear(folder, X):
    """Name the files that hold a value of a private column, as text or as a double."""
    numbers = X["income"]
    wanted = {*X["holder"].str.encode("utf-8"), *(repr(each).encode() for each in numbers)}
    doubles = re.compile(b"|".join(re.escape(struct.pack("<d", each)) for each in numbers))
    texts = re.compile(b"|".join(map(re.escape, wanted)))
    read = {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    return sorted(name for name, content in read.items() if texts.search(content) or doubles.search(content))


def test_no_file_of_a_package_a_service_or_a_store_holds_a_private_value_and_the_examples_replay(
    model, loans, tmp_path
):
    open_package = ek.pack(model, name="loans", reference=loans[0], target=loans[1])
    assert in_clear(open_package.folder, loans[0]) == [
        "examples.json",
        "package.json",
        "profile.json",
        "sample.json",
    ]
    package = packed(model, loans)
    folder = ek.scaffold(tmp_path / "services" / "loans", arms={"champion": package})
    contract = json.loads((folder / "contract.json").read_text())
    stored = bentoml.models.get(contract["pins"]["champion"]["tag"]).path
    for each in (package.folder, folder, stored):
        assert in_clear(each, loans[0]) == []
    assert [*Path(stored).rglob("sample.json")]
    assert contract["example"]["row"]["job"] in ("fixed", "freelance")
    replayed = proving.replay(package.folder)
    assert (replayed.ok, replayed.n_rows) == (True, 6), replayed
    assert not any("in clear" in each for each in package.manifest["findings"])
    assert package.method == "linear"


def test_rows_keep_what_is_not_private_and_the_reach_of_what_is(model, loans):
    kept, whole = packed(model, loans).sample, loans[0]
    pd.testing.assert_frame_equal(kept[["years", "job"]], whole[["years", "job"]])
    assert whole["income"].min() <= kept["income"].min() <= kept["income"].max() <= whole["income"].max()
    assert all(re.fullmatch(r"[A-Z][a-z]{5} [a-z0-9]{8} [A-Z][a-z] \d+", each) for each in kept["holder"])


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([1234.5, 9876.5], (1300.0, 9800.0)),
        ([0.0012, 0.9], (0.01, 0.9)),
        ([18, 68], (18, 68)),
        ([7.5, 7.5], (7.5, 7.5)),
    ],
)
def test_the_ends_of_a_private_number_are_told_roughly_and_lie_within_what_there_is(values, ends):
    X = pd.DataFrame({"x": values * 20, "z": range(40)})
    contract = ek.contract(X).edit("x", private=True)
    package = ek.pack(
        LogisticRegression().fit(X, [0, 1] * 20), name="ends", reference=X, contract=contract, overview=False
    )
    told = package.schema["x"]
    assert (told.low, told.high) == pytest.approx(ends)
    assert ek.contract(X)["x"].low == min(values)


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ("sampling", "background.json"),
        ("anchor", "background.json"),
        ("additive", "explainer.json"),
        ("counterfactual", "reference.json"),
        ("examples", "reference.json"),
    ],
)
def test_a_method_that_keeps_rows_says_so_on_the_card(model, loans, method, file):
    package = packed(model, loans, explainer=method, overview=False)
    assert in_clear(package.folder, loans[0]) == [file]
    (told,) = [each for each in package.manifest["findings"] if "in clear" in each]
    assert told == f"Private columns are in clear in the rows that {method!r} explains by: income, holder."
    assert told in html.unescape(package._repr_html_())


def test_examples_of_one_s_own_are_kept_and_the_card_says_so(model, loans):
    package = packed(model, loans, examples=loans[0].head(2))
    assert package.examples[0]["row"]["income"] == loans[0]["income"][0]
    told = "Private columns are in clear in the examples that were given: income, holder."
    assert told in package.manifest["findings"]


def _years_of(frame):
    """Take a text apart that only real rows have."""
    return pd.DataFrame({"n": [int(str(each).partition("id-")[2], 16) for each in frame["code"]]})


def test_a_model_that_takes_no_invented_values_is_refused_with_what_to_do():
    X = pd.DataFrame({"code": [f"id-{i:x}" for i in range(300)], "n": range(300)})
    model = make_pipeline(FunctionTransformer(_years_of), LogisticRegression()).fit(X, [0, 1] * 150)
    contract = ek.contract(X).edit("code", private=True)
    with pytest.raises(SpecError, match="hold values that were made up"):
        ek.pack(model, name="codes", reference=X, contract=contract)
    assert ek.pack(model, name="codes", reference=X, contract=contract, examples=X.head(2)).examples


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(np.arange(40) * 1e20),
        pd.Series(np.arange(40, dtype="uint64") + 2**63),
        pd.Series(np.linspace(-1, 1, 40) * 1.7e308),
        pd.Series(np.linspace(-1.5, 1e308, 40)),
    ],
    ids=["whole", "unsigned", "wide", "large"],
)
def test_numbers_beyond_64_bits_and_a_column_of_any_name_are_invented(values):
    X = pd.DataFrame({"self": values})
    contract = ek.contract(X).edit("self", private=True)
    made = tables.conform(invented(tables.conform(X, contract), contract), contract)["self"]
    assert made.between(values.min(), values.max()).all()
    assert made.nunique() > 20


def test_every_kind_of_column_is_invented_and_fits_the_contract_still():
    draws, n = np.random.default_rng(0), 40
    X = pd.DataFrame(
        {
            "number": np.where(np.arange(n) % 5, draws.normal(size=n), np.nan),
            "single": draws.normal(size=n).astype("float32"),
            "whole": draws.integers(0, 9, n).astype(float),
            "integer": draws.integers(0, 99, n),
            "gaps": pd.array([None, *range(n - 1)], dtype="Int64"),
            "flag": draws.random(n) > 0.5,
            "free": [f"AB-{i} Zoë" for i in range(n)],
            "listed": pd.Categorical(draws.choice(["x", "y"], n)),
            "day": pd.date_range("2020", periods=n),
            "moment": pd.date_range("2020-01-01 03:04:05.123456", periods=n, freq="37min", tz="Europe/Berlin"),
            "object": [date(2020, 1, 1 + i % 28) for i in range(n)],
            "list": [draws.normal(size=3).tolist() for _ in range(n)],
        }
    )
    contract = ek.contract(X)
    for name in X:
        contract = contract.edit(name, private=True)
    rows = tables.conform(X, contract)
    made = invented(rows, contract)
    pd.testing.assert_frame_equal(made.isna(), rows.isna())
    assert made.dtypes.equals(rows.dtypes)
    assert {name for name in X if made[name].equals(rows[name])} == set()
    pd.testing.assert_frame_equal(tables.conform(made, contract), made)
    pd.testing.assert_frame_equal(invented(rows, contract), made)
