"""What goes over the wire has one shape, and the OpenAPI document tells it."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import ekiben as ek
from ekiben import explanations, openapi, protocol, schema
from ekiben.dialects import Request
from ekiben.errors import Fault
from ekiben.openapi import bodies, words
from ekiben.schema import Column, Output, Schema, Signature
from ekiben.values import misfit
from planes import plane_of

FAULTS = [
    Fault(message="all", column="age", row=3, expected="an integer", got="a text"),
    Fault(message="row 0", row=0),
    Fault(message="bare"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.message)
def test_a_fault_comes_back_from_the_body_of_a_refusal(fault):
    document = json.loads(json.dumps(protocol.error("invalid_request", "No.", [fault])))
    assert protocol.fault_of(document["error"]["fields"][0]) == fault


def test_what_is_unknown_of_a_fault_is_left_out():
    assert protocol.error("x", "No.", FAULTS[1:])["error"]["fields"] == [
        {"row": 0, "message": "row 0"},
        {"message": "bare"},
    ]


@pytest.mark.parametrize("classes", [("bad", "good"), (0, 1), (False, True), (0.0, 1.0), ("a", "b", "c")])
def test_a_prediction_comes_back_as_the_row_it_was(classes):
    signature = Signature(
        inputs=Schema(columns=()), task="classification", outputs=(Output(parts=("label", "scores"), classes=classes),)
    )
    row = {"label": classes[1], **{f"score_{label}": 1 / len(classes) for label in classes}}
    (body,) = json.loads(json.dumps(protocol.predictions([row], signature)))
    assert protocol.flat(body) == row
    assert sum(body["scores"].values()) == pytest.approx(1)


def test_a_value_comes_back_as_the_row_it_was():
    signature = Signature(inputs=Schema(columns=()), task="regression", outputs=(Output(parts=("value",)),))
    assert [protocol.flat(each) for each in protocol.predictions([{"value": 1.5}], signature)] == [{"value": 1.5}]


# ── the document


def described(plane):
    return openapi.own(plane.spec, plane.contract, version="1.0", description="Answers.")


@pytest.fixture
def plane(champion, challenger):
    return plane_of({"champion": champion, "challenger": challenger})


@pytest.fixture
def flats():
    rows = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], 'a "name" {of} /its own': [1, 2, 2, 3]})
    package = ek.pack(LinearRegression().fit(rows, [20, 30, 40, 60]), name="flat", reference=rows)
    return plane_of({"only": package}, unit=None)


def validator(document, name):
    return OAS30Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_document_is_openapi(plane, flats):
    for each in (plane, flats):
        document = described(each)
        json.dumps(document, allow_nan=False)
        OpenAPIV30SpecValidator(document).validate()


def test_the_examples_in_the_document_fit_it(plane, flats):
    for each in (plane, flats):
        document = described(each)
        asked = document["paths"]["/predict"]["post"]
        validator(document, "PredictRequest").validate(asked["requestBody"]["content"]["application/json"]["example"])
        answered = asked["responses"]["200"]["content"]["application/json"]["example"]
        validator(document, "PredictResponse").validate(answered)


def test_real_answers_and_refusals_fit_the_document(plane, flats):
    for each in (plane, flats):
        document = described(each)
        row = each.contract.row
        for act, name in ((each.predict, "PredictResponse"), (each.explain, "ExplainResponse")):
            answer = act(Request(body=json.dumps({"rows": [row]}).encode()))
            assert answer.status == 200
            validator(document, name).validate(json.loads(answer.body))
            refusal = act(Request(body=json.dumps({"rows": [{**row, next(iter(row)): []}]}).encode()))
            assert refusal.status == 400
            validator(document, "Error").validate(json.loads(refusal.body))


@pytest.mark.parametrize("method", ["counterfactual", "examples"])
def test_each_kind_of_explanation_fits_the_document(champion, people, method):
    served = plane_of({"only": champion}, unit=None)
    (one,) = champion.explain(people[0].head(1), method=method)
    check = validator(described(served), "Explanation")
    check.validate(json.loads(json.dumps(explanations.to_json(one), allow_nan=False)))
    assert set(explanations.to_json(one)) <= set(
        described(served)["components"]["schemas"]["Explanation"]["properties"]
    )


def test_what_the_contract_refuses_the_document_refuses(plane):
    check = validator(described(plane), "PredictRequest")
    row = dict(plane.contract.row)
    assert check.is_valid({"rows": [row]})
    assert check.is_valid({"rows": [{**row, "income": None}], "customer_id": "c"})
    for wrong in ({**row, "age": "old"}, {**row, "age": 1.5}, {**row, "member": None}, {"age": 1}, {**row, "more": 1}):
        assert not check.is_valid({"rows": [wrong]}), wrong
    assert not check.is_valid({"rows": []})
    assert not check.is_valid({"rows": [row], "customer_id": 1.5})
    assert not check.is_valid({"rows": [row] * (plane.spec.limits.max_rows + 1)})


def property_of(column):
    contract = Schema(columns=(column,))
    return bodies.row_of(replace_inputs(contract))["properties"][column.name]


def replace_inputs(inputs):
    from ekiben.pinning import Contract

    signature = Signature(inputs=inputs, task="regression", outputs=(Output(parts=("value",)),))
    return Contract(signature=signature, pins={}, row={}, answer={"value": 1.0})


def test_a_column_is_told_with_its_limits_its_categories_and_whether_it_may_be_missing():
    small = Column(name="x", kind="integer", dtype="uint8", nullable=False)
    assert property_of(small) == {"description": "integer", "type": "integer", "minimum": 0, "maximum": 255}
    closed = Column(name="x", kind="text", dtype="category", nullable=True, categories=("a", "b"), unseen="refuse")
    told = property_of(closed)
    assert (told["type"], told["enum"], told["nullable"]) == ("string", ["a", "b", None], True)
    assert "enum" not in property_of(replace(closed, unseen="accept"))
    assert property_of(Column(name="x", kind="boolean", dtype="bool", nullable=False))["type"] == "boolean"


def test_every_refusal_of_a_verb_is_told(plane):
    answers = {
        path: set(item["post"]["responses"]) for path, item in described(plane)["paths"].items() if "post" in item
    }
    assert answers["/explain"] == {"200", *map(str, words.REFUSALS)}
    assert answers["/explain"] == answers["/predict"]
    assert schema.from_json(plane.schema()).classes == ("bad", "good")


def test_a_declared_limit_is_told_and_what_was_seen_is_none():
    age = Column(name="age", kind="integer", dtype="uint8", nullable=False, low=30, high=41, minimum=18)
    assert (property_of(age)["minimum"], property_of(age)["maximum"]) == (18, 255)


@pytest.mark.parametrize(
    ("column", "fits", "others"),
    [
        ({"kind": "category", "dtype": "category", "categories": (3, 1)}, [3, 1], [2, "3", None]),
        ({"kind": "category", "dtype": "category", "categories": (True,)}, [True], [False, "true"]),
        (
            {"kind": "datetime", "dtype": "datetime64[ns]"},
            ["2026-11-22", "2026-11-22T10:00:00.5", "2024-02-29", "2000-02-29"],
            ["2026-11-22T10:00:00Z", "22.11.2026", "2026-02-29", "2300-01-01", "2026-04-31", 5],
        ),
        (
            {"kind": "datetime", "dtype": "datetime64[s, Europe/Madrid]"},
            ["2026-11-22T10:00:00Z", "2026-11-22 10:00+01:00"],
            ["2026-11-22", "2026-11-22T10:00:00.5Z"],
        ),
        ({"kind": "datetime", "dtype": "object", "items": "date"}, ["2026-11-22"], ["2026-11-22T10:00:00"]),
        (
            {"kind": "list", "dtype": "object", "length": 2, "items": "integer", "holder": "int8"},
            [[1, 2]],
            [[1], [1, 2.5], [1, 300], "ab"],
        ),
        ({"kind": "list", "dtype": "object", "length": 1, "items": "text", "holder": "list"}, [["a"]], [[1], []]),
    ],
)
def test_the_document_and_the_contract_agree_on_every_kind(column, fits, others):
    made = Column(**{"name": "x", "nullable": False, **column})
    check = OAS30Validator(property_of(made))
    assert [check.is_valid(value) for value in (*fits, *others)] == [True] * len(fits) + [False] * len(others)
    assert [misfit(made, value) is None for value in (*fits, *others)] == [True] * len(fits) + [False] * len(others)


def test_a_row_brings_a_column_by_its_name_or_its_alias_and_never_by_both(flats):
    check = validator(described(flats), "PredictRequest")
    (name,) = (column.name for column in flats.contract.signature.inputs if column.alias is not None)
    alias = flats.contract.signature.inputs[name].alias
    assert check.is_valid({"rows": [{"rooms": 2.0, name: 1}]})
    assert check.is_valid({"rows": [{"rooms": 2.0, alias: 1}]})
    assert not check.is_valid({"rows": [{"rooms": 2.0, name: 1, alias: 1}]})
    assert not check.is_valid({"rows": [{"rooms": 2.0}]})
    assert f"may be sent as {alias!r}" in bodies.row_of(flats.contract)["properties"][name]["description"]


def test_a_field_too_many_fits_the_document_where_it_is_ignored():
    inputs = Schema(columns=(Column(name="x", kind="number", dtype="float64", nullable=False),), extra="ignore")
    assert OAS30Validator(bodies.row_of(replace_inputs(inputs))).is_valid({"x": 1, "more": []})


def test_a_column_of_one_arm_is_told_as_such():
    column = Column(name="x", kind="number", dtype="float64", nullable=False)
    contract = replace(replace_inputs(Schema(columns=(column,))), takers={"x": ("challenger",)})
    told = bodies.row_of(contract)
    assert told["properties"]["x"]["description"] == "number; taken by challenger alone"
    assert told["required"] == ["x"]


def test_the_document_of_a_service_of_every_kind_of_column_is_openapi_and_its_example_fits():
    n = 40
    rows = pd.DataFrame(
        {
            "rooms": [float(i % 7) for i in range(n)],
            "Loan amount (€)": range(n),
            "Job title": ["a", "b"] * (n // 2),
            "grade": pd.Categorical([1, 2] * (n // 2)),
            "since": pd.date_range("2024-01-01", periods=n),
            "seen at": pd.date_range("2024-01-01", periods=n, tz="Europe/Madrid"),
            "place": [[1.5, 2.0]] * n,
        }
    )
    model = make_pipeline(ColumnTransformer([("n", "passthrough", ["rooms"])]), LinearRegression())
    contract = ek.contract(rows).edit("Loan amount (€)", minimum=0, maximum=10**6)
    package = ek.pack(model.fit(rows, rows["rooms"]), name="flat", reference=rows, contract=contract)
    plane = plane_of({"only": package}, unit=None)
    document = described(plane)
    OpenAPIV30SpecValidator(document).validate()
    validator(document, "PredictRequest").validate({"rows": [dict(plane.contract.row)]})
    dated = [name for name, told in document["components"]["schemas"]["Row"]["properties"].items() if "pattern" in told]
    taken = {"rows": [{**plane.contract.row, **{name: None for name in dated if name in plane.contract.row}}]}
    validator(document, "PredictRequest").validate(taken)
    answer = plane.predict(Request(body=json.dumps(taken).encode()))
    assert answer.status == 200, answer.body
