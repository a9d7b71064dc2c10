"""`/invocations`: what MLflow's, SageMaker's and Vertex's clients send."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ekiben
from ekiben import routing
from ekiben.dialects import JSON, Refusal, Request
from ekiben.dialects.invocations import Invocations
from ekiben.dialects.open_inference import OpenInference
from ekiben.errors import SchemaError
from ekiben.schema import Column, Output, Schema
from planes import asked_in, contract_of, plane_of

COLUMNS = {
    "age": Column(name="age", kind="integer", dtype="int64", nullable=False),
    "income": Column(name="income", kind="number", dtype="float64", nullable=True),
    "owner": Column(name="owner", kind="boolean", dtype="bool", nullable=False),
    "job": Column(name="job", kind="text", dtype="object", nullable=False),
}
READ = {"age": [30, 41], "income": [1200.5, None], "owner": [True, False], "job": ["cook", 'maître, "of" all']}
NAMES = list(READ)
RECORDS = [{name: READ[name][i] for name in NAMES} for i in range(2)]
LISTS = [[*row.values()] for row in RECORDS]
FORMS = {
    "split": {"dataframe_split": {"columns": NAMES, "index": [7, 9], "data": LISTS}},
    "split_in_another_order": {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in LISTS]}},
    "split_without_names": {"dataframe_split": {"data": LISTS}},
    "split_with_no_names": {"dataframe_split": {"columns": None, "data": LISTS}},
    "split_with_the_numbers_of_pandas": {"dataframe_split": {"columns": [0, 1, 2, 3], "data": LISTS}},
    "records": {"dataframe_records": RECORDS},
    "records_in_another_order": {"dataframe_records": [dict(reversed(row.items())) for row in RECORDS]},
    "instances": {"instances": RECORDS},
    "instances_without_names": {"instances": LISTS},
    "instances_of_vertex": {"instances": LISTS, "parameters": {}},
    "inputs": {"inputs": READ},
    "inputs_without_names": {"inputs": LISTS},
    "params": {"inputs": READ, "params": {"k": 1}},
    "instances_of_columns": {"instances": READ},
}


VALUES = (Output(parts=("value",)),)


def dialect_of(*columns, unit=None, outputs=VALUES, **limits):
    return Invocations(*contract_of(columns or COLUMNS.values(), outputs, unit=unit, **limits))


def read(dialect, body, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return dialect.read(Request(body=body, headers={"content-type": kind}))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_same_rows(form):
    assert read(dialect_of(), form).columns == READ


def test_a_column_that_is_called_by_a_number_is_found_by_it():
    named = dialect_of(*(Column(name=name, kind="integer", dtype="int64", nullable=False) for name in ("1", "0")))
    assert read(named, {"dataframe_split": {"columns": [0, 1], "data": [[30, 41]]}}).columns == {"0": [30], "1": [41]}


@pytest.mark.parametrize("numbers", [[0, 1, 2], [3, 2, 1, 0], [1, 2, 3, 4]])
def test_other_numbers_than_those_of_pandas_are_names_that_nobody_knows(numbers):
    with pytest.raises(SchemaError, match="The column 'age' is missing"):
        read(dialect_of(), {"dataframe_split": {"columns": numbers, "data": [[1] * len(numbers)]}})


@pytest.mark.parametrize(
    "columns", [[], [0, "income", 2, 3], [0, 0, 1, 2], [0.0, 1.0, 2.0, 3.0], [True, False], "age", {}]
)
def test_columns_that_are_no_names_are_refused(columns):
    with pytest.raises(SchemaError, match="`columns` must be a list of names that differ"):
        read(dialect_of(), {"dataframe_split": {"columns": columns, "data": LISTS}})


def test_nan_is_missing_as_mlflow_s_client_sends_it():
    assert read(dialect_of(), json.dumps({"inputs": READ}).replace("null", "NaN").encode()).columns == READ


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_an_object_of_values_is_one_row(form):
    assert read(dialect_of(), {form: RECORDS[0]}).columns == {name: values[:1] for name, values in READ.items()}


def test_a_mark_before_json_is_passed_over():
    assert read(dialect_of(), b"\xef\xbb\xbf" + json.dumps({"inputs": READ}).encode()).columns == READ


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", " NA "])
def test_a_word_for_a_gap_is_one_in_numbers_and_a_text_in_texts(word):
    found = read(dialect_of(), f"age,income,owner,job\n30,{word},True,NA\n".encode(), "text/csv").columns
    assert (found["income"], found["job"]) == ([None], ["NA"])


def test_csv_without_a_header_says_so():
    body = b'30,1200.5,True,cook\n41,,0,"ma\xc3\xaetre, ""of"" all"\n'
    assert read(dialect_of(), body, "text/csv; header=absent").columns == READ
    with pytest.raises(SchemaError):
        read(dialect_of(), body, "text/csv; header=present")


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
@pytest.mark.parametrize("beside", ["charset=latin-1", "format=pandas-split", "header=maybe", "charset", "k3pt-0ut=1"])
def test_what_stands_beside_a_kind_and_is_not_known_is_refused(kind, beside):
    with pytest.raises(Refusal, match="Beside the content type may stand charset=utf-8") as refused:
        read(dialect_of(), {"inputs": READ}, f"{kind}; {beside}")
    assert refused.value.status == 415
    assert "k3pt" not in str(refused.value)


@pytest.mark.parametrize("beside", ["; charset=utf-8", ";charset=UTF-8", '; Charset="utf-8"', "; charset=utf8", ";"])
def test_utf_8_is_said_in_many_ways(beside):
    assert read(dialect_of(), {"inputs": READ}, f"application/json{beside}").columns == READ


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_is_read_as_its_columns_hold_it(end, mark):
    text = 'age,income,owner,job\n30,1200.5,True,cook\n41,,0,"maître, ""of"" all"\n'
    assert read(dialect_of(), (mark + text.replace("\n", end)).encode(), "text/csv; charset=utf-8").columns == READ


@pytest.mark.parametrize("dialect", [Invocations, OpenInference])
def test_no_value_has_its_column_looked_for_among_all_others(dialect, monkeypatch):
    columns = [Column(name=name, kind="number", dtype="float64", nullable=False) for name in ("x", "y")]
    spelt = dialect(*contract_of(columns, VALUES))
    monkeypatch.setattr(Schema, "__getitem__", None)  # which takes longer, the more columns there are
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.5]} for name in ("x", "y")]
    bodies = {
        Invocations: (b"x,y\n1.5,1.5\n", "text/csv"),
        OpenInference: (json.dumps({"inputs": tensors}).encode(), JSON),
    }
    assert read(spelt, *bodies[dialect]).columns == {"x": [1.5], "y": [1.5]}


def test_numbers_that_stand_for_themselves_are_rows_of_one_column():
    one = dialect_of(COLUMNS["age"])
    assert (
        read(one, {"instances": [30, 41]}).columns == read(one, {"inputs": [[30], [41]]}).columns == {"age": [30, 41]}
    )


@pytest.mark.parametrize(
    "given",
    [
        {"inputs": READ, "params": {"customer_id": "c-7"}},
        {"inputs": {**READ, "customer_id": ["c-7", "c-7"]}},
        {"dataframe_records": [{**row, "customer_id": "c-7"} for row in RECORDS]},
    ],
)
def test_the_unit_is_one_of_the_params_or_a_column_of_its_own(given):
    found = read(dialect_of(unit="customer_id"), given)
    assert ({*found.units}, found.columns) == ({"c-7"}, READ)


BROKEN = {
    "none": {},
    "two": {"inputs": READ, "instances": RECORDS},
    "a_field_too_many": {"inputs": READ, "k3pt-0ut": 1},
    "a_list": [1],
    "params_are_a_list": {"inputs": READ, "params": [1]},
    "split_is_a_list": {"dataframe_split": LISTS},
    "names_are_numbers": {"dataframe_split": {"columns": [1, 2, 3, 4], "data": LISTS}},
    "names_are_the_same": {"dataframe_split": {"columns": ["age"] * 4, "data": LISTS}},
    "a_short_row": {"dataframe_split": {"columns": NAMES, "data": [LISTS[0], [1]]}},
    "an_index_of_others": {"dataframe_split": {"columns": NAMES, "index": [1], "data": LISTS}},
    "an_index_that_is_none": {"dataframe_split": {"columns": NAMES, "index": "k3pt-0ut", "data": LISTS}},
    "a_field_of_its_own_in_split": {"dataframe_split": {"columns": NAMES, "data": LISTS, "k3pt-0ut": 1}},
    "a_row_with_a_list": {"inputs": {**RECORDS[0], "age": [30]}},
    "an_object_of_nothing": {"inputs": {}},
    "records_that_differ": {"dataframe_records": [RECORDS[0], {"age": 1}]},
    "records_of_lists": {"dataframe_records": LISTS},
    "no_records": {"dataframe_records": []},
    "columns_that_differ": {"inputs": {**READ, "age": [1]}},
    "columns_of_texts": {"inputs": {"age": "k3pt-0ut"}},
    "a_text": {"instances": "k3pt-0ut"},
    "a_column_too_many": {"inputs": {**READ, "k3pt-0ut": [1, 2]}},
    "a_column_missing": {"inputs": {name: READ[name] for name in NAMES[1:]}},
    "another_kind": {"inputs": {**READ, "age": ["k3pt-0ut", 1]}},
}
BROKEN_CSV = {
    "nothing": b"",
    "no_rows": b"age,income,owner,job\n",
    "a_short_row": b"age,income,owner,job\n1,2\n",
    "an_open_quote": b'age,income,owner,job\n1,2,1,"k3pt-0ut',
    "the_same_name": b"age,age,owner,job\n1,2,1,x\n",
    "no_unicode": b"age,income,owner,job\n1,2,1,\xff\n",
    "a_zero_byte": b"age,income,owner,job\n1,2,1,a\0b\n",
    "a_number_that_is_none": b"age,income,owner,job\nk3pt-0ut,2,1,x\n",
    "an_integer_with_too_many_digits": b"age,income,owner,job\n" + b"9" * 5000 + b",2,1,x\n",
    "digits_that_only_python_reads": b"age,income,owner,job\n1_0,2,1,x\n",
    "an_integer_of_several_signs": b"age,income,owner,job\n--5,2,1,x\n",
    "an_integer_behind_what_only_python_strips": b"age,income,owner,job\n\x1f5,2,1,x\n",
    "a_boolean_that_is_none": b"age,income,owner,job\n1,2,k3pt-0ut,x\n",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_is_refused_and_not_repeated(broken):
    with pytest.raises(SchemaError) as refused:
        read(dialect_of(), broken)
    assert "k3pt" not in str(refused.value)


@pytest.mark.parametrize("broken", BROKEN_CSV.values(), ids=BROKEN_CSV)
def test_csv_that_cannot_be_is_refused_and_not_repeated(broken):
    with pytest.raises(SchemaError) as refused:
        read(dialect_of(), broken, "text/csv")
    assert "k3pt" not in str(refused.value)


@given(st.text("+-09. _e\x0b\x1f\xa0\u0661", max_size=6))
def test_a_field_of_any_letters_is_read_or_refused(text):
    with suppress(SchemaError):
        read(dialect_of(), f'age,income,owner,job\n"{text}","{text}","{text}",x\n'.encode(), "text/csv")


# ── served ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def served(champion, challenger):
    plane = plane_of({"champion": champion, "challenger": challenger})
    yield plane
    plane.close()


def invoke(plane, body, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asked_in(plane, "/invocations", body, {"content-type": kind})


def test_the_answers_are_rows_of_the_answer_s_frame(served, champion):
    rows = [example["row"] for example in champion.examples[:3]]
    answer = invoke(served, {"dataframe_records": rows})
    plain = asked_in(served, "/predict", json.dumps({"rows": rows}).encode(), {"content-type": "application/json"}).json
    assert answer.json == {
        "predictions": [
            {"label": each["label"], **{f"score_{name}": value for name, value in each["scores"].items()}}
            for each in plain["predictions"]
        ]
    }
    assert answer.headers["x-ekiben-arm"] == "champion"


@pytest.mark.parametrize("accept", ["text/csv", "Text/CSV; header=absent", "text/csv, application/json;q=0.5"])
def test_the_answers_are_lines_of_csv_where_they_are_asked_for(served, champion, accept):
    rows = [example["row"] for example in champion.examples[:3]]
    body = json.dumps({"dataframe_records": rows}).encode()
    plain = asked_in(served, "/invocations", body, {"content-type": "application/json"}).json["predictions"]
    answer = asked_in(served, "/invocations", body, {"content-type": "application/json", "accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv")
    assert answer.body.decode() == "".join(",".join(map(str, each.values())) + "\n" for each in plain)


def test_sagemaker_s_custom_attributes_may_be_the_unit(champion, challenger):
    arms, header = {"champion": champion, "challenger": challenger}, "x-amzn-sagemaker-custom-attributes"
    route = routing.canary(stable="champion", canary="challenger", percent=50)
    plane = plane_of(arms, unit=f"header:{header}", route=route)
    body = json.dumps({"instances": [champion.examples[0]["row"]]}).encode()
    try:
        seen = set()
        for unit in (f"c-{i}" for i in range(20)):
            answer = asked_in(plane, "/invocations", body, {"content-type": "application/json", header: unit})
            assert answer.headers["x-ekiben-arm"] == routing.choose(route, unit).arm
            seen.add(answer.headers["x-ekiben-arm"])
        assert seen == {*arms}
    finally:
        plane.close()


def test_a_refusal_is_read_by_mlflow_s_clients_too(served):
    answer = invoke(served, {"instances": []})
    assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
    assert answer.json["message"] == answer.json["error"]["message"]


def test_too_many_rows_are_refused_with_the_limit(served, champion):
    row = champion.examples[0]["row"]
    answer = invoke(served, {"dataframe_records": [row] * (served.spec.limits.max_rows + 1)})
    assert (answer.status, answer.json["error"]["code"]) == (413, "too_many_rows")


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.bentoml+pickle", "multipart/form-data"])
def test_another_kind_of_body_is_refused(served, kind):
    assert invoke(served, b"x", kind).status == 415


def test_it_tells_its_version(served):
    answer = asked_in(served, "/version", b"", {}, method="GET")
    assert (answer.status, answer.body.decode()) == (200, ekiben.__version__)


def test_it_is_pinged(served):
    answer = asked_in(served, "/ping", b"", {}, method="GET")
    assert (answer.status, answer.body) == (200, b"\n")
