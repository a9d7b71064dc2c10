"""The Open Inference Protocol: tensors in, tensors out, in JSON and as bytes."""

import base64
import json
import struct

import numpy as np
import pytest

from ekiben import codecs
from ekiben.dataplane import Hooks
from ekiben.dialects import Request
from ekiben.dialects.open_inference import OpenInference
from ekiben.dialects.tensors import DTYPES, RANGES
from ekiben.errors import SchemaError
from ekiben.schema import Column, Output, Schema, Signature
from planes import asked_in, contract_of, plane_of

LENGTH = "inference-header-content-length"
COLUMNS = {
    "age": Column(name="age", kind="integer", dtype="int64", nullable=False),
    "income": Column(name="income", kind="number", dtype="float64", nullable=True),
    "owner": Column(name="owner", kind="boolean", dtype="bool", nullable=False),
    "job": Column(name="job", kind="text", dtype="object", nullable=False),
}


def tensor(name, datatype, data, shape=None, **parameters):
    told = {"name": name, "datatype": datatype, "shape": shape or [len(data)]}
    if data is not None:
        told["data"] = data
    return {**told, **({"parameters": parameters} if parameters else {})}


PEOPLE = [
    tensor("age", "INT64", [30, 41]),
    tensor("income", "FP64", [1200.5, None]),
    tensor("owner", "BOOL", [True, False]),
    tensor("job", "BYTES", ["cook", "maître"]),
]
READ = {"age": [30, 41], "income": [1200.5, None], "owner": [True, False], "job": ["cook", "maître"]}


VALUES = (Output(parts=("value",)),)


def dialect_of(*columns, unit=None, outputs=VALUES, **limits):
    return OpenInference(*contract_of(columns or COLUMNS.values(), outputs, unit=unit, **limits))


def read(dialect, document, binary=b"", **headers):
    body = json.dumps(document).encode()
    named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    if binary:
        named = {"content-type": "application/octet-stream", LENGTH: str(len(body))} | named
    return dialect.read(Request(body=body + binary, headers=named))


def test_a_column_is_a_tensor_of_its_name():
    assert read(dialect_of(), {"inputs": PEOPLE}).columns == READ


def test_nan_in_json_is_missing():
    body = json.dumps({"inputs": PEOPLE}).replace("null", "NaN").encode()
    assert dialect_of().read(Request(body=body)).columns == READ


def test_half_a_surrogate_pair_is_no_json_beside_nan_either():
    body = json.dumps({"inputs": PEOPLE, "parameters": {"customer_id": "\ud800"}}).replace("null", "NaN").encode()
    with pytest.raises(SchemaError):
        dialect_of(unit="customer_id").read(Request(body=body))


def test_a_part_that_a_hook_leaves_out_is_left_out(champion):
    plane = plane_of({"champion": champion}, hooks=Labels())
    try:
        inputs, _ = tensors_of(champion, 2)
        assert [each["name"] for each in infer(plane, {"inputs": inputs}).json["outputs"]] == ["label"]
    finally:
        plane.close()


@pytest.mark.parametrize("word", ["Infinity", "-Infinity", "NaN,]", "nan"])
def test_other_words_are_no_json(word):
    body = json.dumps({"inputs": PEOPLE}).replace("null", f"NaN, {word}").encode()
    with pytest.raises(SchemaError, match="JSON"):
        dialect_of().read(Request(body=body))


@pytest.mark.parametrize("shape", [[2, 1], [2]])
def test_a_column_may_have_a_second_dimension_of_one(shape):
    nested = [
        {**each, "shape": shape, "data": [[v] for v in each["data"]] if len(shape) == 2 else each["data"]}
        for each in PEOPLE
    ]
    assert read(dialect_of(), {"inputs": nested}).columns == READ
    flat = [{**each, "shape": shape} for each in PEOPLE]
    assert read(dialect_of(), {"inputs": flat}).columns == READ


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_one_wide_tensor_holds_every_column_in_the_contract_s_order(data):
    two = [Column(name=name, kind="number", dtype="float64", nullable=False) for name in ("b", "a")]
    wide = tensor("input-0", "FP64", data, shape=[2, 2])
    assert read(dialect_of(*two), {"inputs": [wide]}).columns == {"b": [1.0, 3.0], "a": [2.0, 4.0]}


@pytest.mark.parametrize(("shape", "data"), [([2], ["a", "b"]), ([2, 1], ["a", "b"]), ([2, 1], [["a"], ["b"]])])
def test_one_tensor_of_any_name_is_the_only_column(shape, data):
    one = Column(name="text", kind="text", dtype="object", nullable=False)
    for dialect in (dialect_of(one), dialect_of(one, unit="customer_id")):
        assert read(dialect, {"inputs": [tensor("args", "BYTES", data, shape=shape)]}).columns == {"text": ["a", "b"]}


def test_the_unit_alone_is_not_the_only_column():
    one = dialect_of(Column(name="text", kind="text", dtype="object", nullable=False), unit="customer_id")
    with pytest.raises(SchemaError, match="'text' is missing"):
        read(one, {"inputs": [tensor("customer_id", "BYTES", ["a", "b"])]})


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BF16"])
def test_bytes_are_read_as_their_datatype_says(datatype):
    kind = "boolean" if datatype == "BOOL" else "number" if datatype.startswith("FP") else "integer"
    one = Column(
        name="x", kind=kind, dtype={"boolean": "bool", "integer": "uint64"}.get(kind, "float64"), nullable=False
    )
    values = np.array([1, 0, 1], dtype=DTYPES[datatype])
    given = {"inputs": [tensor("x", datatype, None, shape=[3], binary_data_size=values.nbytes)]}
    found = read(dialect_of(one), given, values.tobytes()).columns["x"]
    assert found == values.tolist()
    assert {*map(type, found)} == {*map(type, values.tolist())}


def test_bf16_is_the_upper_half_of_32_bits():
    one = Column(name="x", kind="number", dtype="float64", nullable=False)
    halves = (np.array([1.5, -2.0], dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    given = {"inputs": [tensor("x", "BF16", None, shape=[2], binary_data_size=4)]}
    assert read(dialect_of(one), given, halves).columns == {"x": [1.5, -2.0]}


def test_32_bits_in_json_are_what_they_are_as_bytes():
    one = Column(name="x", kind="number", dtype="float64", nullable=False)
    assert read(dialect_of(one), {"inputs": [tensor("x", "FP32", [0.1])]}).columns == {"x": [float(np.float32(0.1))]}


def test_texts_as_bytes_have_their_length_before_them_and_nan_is_missing():
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"cook", "maître".encode()))
    numbers = np.array([1200.5, np.nan]).tobytes()
    inputs = [
        PEOPLE[0],
        tensor("income", "FP64", None, shape=[2], binary_data_size=len(numbers)),
        PEOPLE[2],
        tensor("job", "BYTES", None, shape=[2], binary_data_size=len(texts)),
    ]
    assert read(dialect_of(), {"inputs": inputs}, numbers + texts).columns == READ


def test_a_column_of_lists_is_a_tensor_of_two_dimensions():
    one = Column(name="x", kind="list", dtype="object", length=2, items="number", holder="list", nullable=False)
    found = read(dialect_of(one), {"inputs": [tensor("x", "FP64", [[1.0, 2.0], [3.0, 4.0]], shape=[2, 2])]})
    assert found.columns == {"x": [[1.0, 2.0], [3.0, 4.0]]}


def test_what_may_be_left_out_may_be_null():
    bare = {"inputs": [{**each, "parameters": None} for each in PEOPLE]}
    found = read(dialect_of(unit="customer_id"), {**bare, "id": None, "parameters": None, "outputs": None})
    assert (found.columns, found.units) == (READ, [])
    assert found.wants == read(dialect_of(), bare).wants
    wanted = [{"name": "value", "parameters": None}]
    assert read(dialect_of(), {**bare, "outputs": wanted}).wants.outputs == ("value",)


def test_texts_that_mlserver_s_codecs_wrote_are_read_again():
    documents = tensor("job", "BYTES", ['"cook"', '"ma\\u00eetre"'], content_type="pd_json")
    coded = tensor("job", "BYTES", [base64.b64encode(text.encode()).decode() for text in READ["job"]])
    coded["parameters"] = {"content_type": "base64"}
    owners = tensor("owner", "BYTES", ["true", "false"], content_type="pd_json")
    incomes = tensor("income", "BYTES", ["1200.5", "null"], content_type="pd_json")
    assert read(dialect_of(), {"inputs": [PEOPLE[0], incomes, owners, documents]}).columns == READ
    assert read(dialect_of(), {"inputs": [*PEOPLE[:3], coded]}).columns == READ


def test_a_column_of_lists_may_be_texts_of_json():
    one = Column(name="x", kind="list", dtype="object", length=2, items="number", holder="list", nullable=False)
    texts = tensor("x", "BYTES", ["[1.0, 2.0]", "[3.0, 4.0]"], shape=[2, 1], content_type="pd_json")
    assert read(dialect_of(one), {"inputs": [texts]}).columns == {"x": [[1.0, 2.0], [3.0, 4.0]]}


@pytest.mark.parametrize("datatype", RANGES)
def test_an_integer_that_its_datatype_cannot_hold_is_refused(datatype):
    one = Column(name="x", kind="number", dtype="float64", nullable=True)
    low, high = RANGES[datatype]
    held = read(dialect_of(one), {"inputs": [tensor("x", datatype, [low, None, high, 7.0])]}).columns
    assert held == {"x": [low, None, high, 7.0]}
    for value in (low - 1, high + 1, 0.5, True, "1"):
        with pytest.raises(SchemaError, match=f"A tensor of {datatype} must hold integers from"):
            read(dialect_of(one), {"inputs": [tensor("x", datatype, [value])]})


@pytest.mark.parametrize("by", ["parameter", "tensor"])
def test_the_unit_is_a_parameter_or_a_tensor_of_its_name(by):
    dialect = dialect_of(unit="customer_id")
    given = {"inputs": PEOPLE, "parameters": {"customer_id": "c-7"}}
    if by == "tensor":
        given = {"inputs": [*PEOPLE, tensor("customer_id", "BYTES", ["c-7", "c-7"])]}
    assert {*read(dialect, given).units} == {"c-7"}


BROKEN = {
    "no_json": b"{",
    "no_object": b"[1]",
    "no_inputs": b"{}",
    "none": {"inputs": []},
    "inputs_are_no_list": {"inputs": {"age": [1]}},
    "no_shape": {"inputs": [{"name": "age", "datatype": "INT64", "data": [1]}]},
    "a_shape_of_texts": {"inputs": [{**PEOPLE[0], "shape": ["2"]}]},
    "a_negative_shape": {"inputs": [{**PEOPLE[0], "shape": [-1]}]},
    "an_empty_shape": {"inputs": [{**PEOPLE[0], "shape": []}]},
    "a_huge_shape": {"inputs": [{**PEOPLE[0], "shape": [10**9, 10**9]}]},
    "another_shape": {"inputs": [{**PEOPLE[0], "shape": [3]}, *PEOPLE[1:]]},
    "too_many_dimensions": {"inputs": [{**PEOPLE[0], "shape": [1, 2]}, *PEOPLE[1:]]},
    "another_datatype": {"inputs": [{**PEOPLE[0], "datatype": "k3pt-0ut"}, *PEOPLE[1:]]},
    "no_data": {"inputs": [{key: value for key, value in PEOPLE[0].items() if key != "data"}, *PEOPLE[1:]]},
    "data_is_a_text": {"inputs": [{**PEOPLE[0], "data": "k3pt-0ut"}, *PEOPLE[1:]]},
    "data_is_nested_too_deeply": {"inputs": [{**PEOPLE[0], "data": [[[30]], [[41]]]}, *PEOPLE[1:]]},
    "text_in_32_bits": {"inputs": [PEOPLE[0], tensor("income", "FP32", ["k3pt-0ut", 1.0]), *PEOPLE[2:]]},
    "a_number_of_400_digits_in_16_bits": {"inputs": [PEOPLE[0], tensor("income", "FP16", [10**400, 1.0]), *PEOPLE[2:]]},
    "a_number_of_400_digits_in_32_bits": {"inputs": [PEOPLE[0], tensor("income", "FP32", [10**400, 1.0]), *PEOPLE[2:]]},
    "numbers_in_booleans": {"inputs": [*PEOPLE[:2], tensor("owner", "BOOL", [2, 0]), PEOPLE[3]]},
    "texts_in_64_bits": {"inputs": [PEOPLE[0], tensor("income", "FP64", ["k3pt-0ut", "1"]), *PEOPLE[2:]]},
    "texts_of_no_json": {"inputs": [*PEOPLE[:3], tensor("job", "BYTES", ["k3pt-0ut", "x"], content_type="pd_json")]},
    "texts_of_deep_json": {"inputs": [*PEOPLE[:3], tensor("job", "BYTES", ["[" * 9999, "x"], content_type="pd_json")]},
    "texts_of_no_base64": {"inputs": [*PEOPLE[:3], tensor("job", "BYTES", ["k3pt-0ut", "x"], content_type="base64")]},
    "base64_of_no_unicode": {"inputs": [*PEOPLE[:3], tensor("job", "BYTES", ["//79", "x"], content_type="base64")]},
    "numbers_in_texts_of_json": {"inputs": [*PEOPLE[:3], tensor("job", "BYTES", [1, 2], content_type="pd_json")]},
    "a_column_is_missing": {"inputs": PEOPLE[1:]},
    "a_column_too_many": {"inputs": [*PEOPLE, tensor("k3pt-0ut", "INT64", [1, 2])]},
    "twice": {"inputs": [*PEOPLE, PEOPLE[0]]},
    "rows_differ": {"inputs": [tensor("age", "INT64", [30]), *PEOPLE[1:]]},
    "a_fraction": {"inputs": [tensor("age", "FP64", [30.5, 41.0]), *PEOPLE[1:]]},
    "no_rows": {"inputs": [{**each, "shape": [0], "data": []} for each in PEOPLE]},
    "bytes_that_are_not_there": {"inputs": [tensor("age", "INT64", None, shape=[2], binary_data_size=16), *PEOPLE[1:]]},
    "a_size_that_is_none": {"inputs": [tensor("age", "INT64", None, shape=[2], binary_data_size="16"), *PEOPLE[1:]]},
    "an_output_that_is_none": {"inputs": PEOPLE, "outputs": [{"name": "k3pt-0ut"}]},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_is_refused_and_not_repeated(broken):
    body = broken if isinstance(broken, bytes) else json.dumps(broken).encode()
    with pytest.raises(SchemaError) as refused:
        dialect_of().read(Request(body=body))
    assert "k3pt" not in str(refused.value)


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "²", "9" * 20, "100000"])
def test_a_header_s_length_must_be_one(length):
    with pytest.raises(SchemaError, match="how many bytes"):
        dialect_of().read(Request(body=b"{}", headers={LENGTH: length}))


@pytest.mark.parametrize(
    "binary", [b"\x09\x00\x00\x00cook", b"\x04\x00", b"\x02\x00\x00\x00\xff\xfe", b"\xff\xff\xff\xff"]
)
def test_texts_that_are_cut_or_no_unicode_are_refused(binary):
    one = Column(name="job", kind="text", dtype="object", nullable=False)
    given = {"inputs": [tensor("job", "BYTES", None, shape=[1], binary_data_size=len(binary))]}
    with pytest.raises(SchemaError):
        read(dialect_of(one), given, binary)


def test_bytes_that_belong_to_no_tensor_are_refused():
    with pytest.raises(SchemaError, match="no more"):
        read(dialect_of(), {"inputs": PEOPLE}, b"more")


class Labels(Hooks):
    def postprocess(self, predictions):
        return [{"label": each["label"]} for each in predictions]


# ── served ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def served(champion, challenger):
    plane = plane_of({"champion": champion, "challenger": challenger})
    yield plane
    plane.close()


def tensors_of(package, n):
    rows = [example["row"] for example in package.examples[:n]]
    known = OpenInference(*contract_of(package.schema.columns, package.signature.outputs)).metadata()["inputs"]
    return [tensor(each["name"], each["datatype"], [row[each["name"]] for row in rows]) for each in known], rows


def infer(plane, document, binary=b"", **headers):
    body = json.dumps(document).encode()
    named = {"content-type": "application/json", **headers}
    return asked_in(plane, f"/v2/models/{plane.spec.name}/infer", body + binary, named)


def test_the_answers_are_those_of_predict(served, champion):
    inputs, rows = tensors_of(champion, 3)
    answer = infer(served, {"id": "mine", "inputs": inputs})
    document = answer.json
    plain = asked_in(served, "/predict", json.dumps({"rows": rows}).encode(), {"content-type": "application/json"}).json
    scores = [value for each in plain["predictions"] for value in each["scores"].values()]
    told = {each["name"]: each for each in document["outputs"]}
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "risk", "champion")
    assert told["label"]["data"] == [each["label"] for each in plain["predictions"]]
    assert (told["scores"]["data"], told["scores"]["shape"]) == (scores, [3, 2])
    assert told["scores"]["parameters"]["labels"] == list(plain["predictions"][0]["scores"])
    assert answer.headers["x-ekiben-arm"] == "champion"


def test_outputs_are_those_that_are_asked_for_as_bytes_or_not(served, champion):
    inputs, _ = tensors_of(champion, 2)
    plain = {each["name"]: each["data"] for each in infer(served, {"inputs": inputs}).json["outputs"]}
    wanted = [{"name": "predict_proba", "parameters": {"binary_data": True}}, {"name": "label"}]
    answer = infer(served, {"inputs": inputs, "outputs": wanted})
    size = int(answer.headers[LENGTH])
    scores, label = json.loads(answer.body[:size])["outputs"]
    assert (scores["name"], label["name"]) == ("predict_proba", "label")
    assert np.frombuffer(answer.body[size:], "<f8").tolist() == plain["scores"]
    assert label["data"] == plain["label"]


def test_a_refusal_is_one_text_and_says_who_it_is(served):
    answer = infer(served, {"inputs": []})
    assert answer.status == 400
    assert answer.json == {"error": "`inputs` must hold at least one tensor. Got none."}
    assert answer.headers["x-ekiben-id"]


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("/v2", "binary_tensor_data"),
        ("/v2/health/live", '"live":true'),
        ("/v2/health/ready", '"ready":true'),
        ("/v2/models/risk", '"outputs"'),
        ("/v2/models/risk/ready", '"ready":true'),
    ],
)
def test_health_and_metadata_are_shown(served, path, holds):
    answer = asked_in(served, path, b"", {}, method="GET")
    assert answer.status == 200
    assert holds in answer.body.decode()


def test_another_model_is_not_found_in_the_protocol_s_words(served):
    answer = asked_in(served, "/v2/models/k3pt-0ut/infer", b"{}", {})
    assert (answer.status, list(answer.json)) == (404, ["error"])
    assert "The model must be 'risk', without a version" in answer.json["error"]
    assert "k3pt" not in answer.body.decode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
def test_no_version_is_found_as_the_route_says_who_answers(served, method, path):
    answer = asked_in(served, f"/v2/models/risk/versions/champion{path}", b"{}", {}, method=method)
    assert (answer.status, [*answer.json]) == (404, ["error"])


def test_metadata_names_every_column_and_output():
    scored = Output(name="risk", parts=("label", "scores"), classes=("bad", "good"))
    other = Output(name="rent", parts=("value",))
    known = dialect_of(outputs=(scored, other)).metadata()
    assert [(each["name"], each["datatype"]) for each in known["inputs"]] == [
        ("age", "INT64"),
        ("income", "FP64"),
        ("owner", "BOOL"),
        ("job", "BYTES"),
    ]
    assert [(each["name"], each["datatype"], each["shape"]) for each in known["outputs"]] == [
        ("risk.label", "BYTES", [-1]),
        ("risk.scores", "FP64", [-1, 2]),
        ("rent.value", "FP64", [-1]),
    ]


def test_columns_and_rows_are_held_to_the_contract_alike():
    schema = Schema(columns=tuple(COLUMNS.values()))
    assert codecs.held(READ, schema) == codecs.columns_of(
        [{name: values[i] for name, values in READ.items()} for i in range(2)], schema
    )
    assert Signature(inputs=schema, task="regression", outputs=(Output(parts=("value",)),)).inputs is schema
