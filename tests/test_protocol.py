"""What goes over the wire has one shape, and the OpenAPI document tells it."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from sklearn.linear_model import LinearRegression

import ekiben as ek
from ekiben import protocol, schema
from ekiben.dataplane import Request
from ekiben.errors import Fault
from ekiben.schema import Column, Schema, Signature
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
    signature = Signature(inputs=Schema(columns=()), task="classification", classes=classes)
    row = {"label": classes[1], **{f"score_{label}": 1 / len(classes) for label in classes}}
    (body,) = json.loads(json.dumps(protocol.predictions([row], signature)))
    assert protocol.flat(body) == row
    assert sum(body["scores"].values()) == pytest.approx(1)


def test_a_value_comes_back_as_the_row_it_was():
    signature = Signature(inputs=Schema(columns=()), task="regression")
    assert [protocol.flat(each) for each in protocol.predictions([{"value": 1.5}], signature)] == [{"value": 1.5}]


# ── the document


def described(plane):
    return protocol.openapi(plane.spec, plane.contract, version="1.0", description="Answers.")


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
    return protocol._row(replace_inputs(contract))["properties"][column.name]


def replace_inputs(inputs):
    from ekiben.pinning import Contract

    signature = Signature(inputs=inputs, task="regression")
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
    assert answers["/explain"] == {"200", *map(str, protocol.REFUSALS)}
    assert answers["/explain"] - answers["/predict"] == {"429"}
    assert schema.from_json(plane.schema()).classes == ("bad", "good")
