"""`mlflow models serve` beside us, on one model: where it answers, we answer the same number; where it refuses, so do we."""

import json
import sys
import warnings

import httpx
import mlflow
import numpy as np
import pytest
from fastapi.testclient import TestClient
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

import ekiben
import strangers
from planes import asked_in, plane_of

pytestmark = pytest.mark.slow
JSON, CSV = "application/json", "text/csv"


def save(told, folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
        signature = infer_signature(told.rows, told.model.predict(told.rows))
    settings = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}
    mlflow.sklearn.save_model(told.model, folder, signature=signature, **settings)


@pytest.fixture(scope="module")
def theirs(worth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow_models")
    save(worth, folder / "model")
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1"]
    with strangers.running(
        lambda port: [*serve, "--model-uri", folder / "model", "--port", str(port)], folder=folder, ready="/ping"
    ) as url:
        yield url


@pytest.fixture(scope="module")
def frame(worth):
    """Some rows, of which the first has a gap."""
    return worth.rows.head(4)


def documents(frame):
    """Give bodies of JSON by what is odd in them."""
    records = json.loads(frame.to_json(orient="records"))
    names, lists = list(frame), [[*row.values()] for row in records]
    columns = {name: [row[name] for row in records] for name in names}
    split, one = {"columns": names, "data": lists}, records[1]
    without = {name: [{key: value for key, value in one.items() if key != name}] for name in names}

    def changed(**values):
        return {"dataframe_records": [{**one, **values}]}

    return {
        # the four forms
        "split": {"dataframe_split": split},
        "split with an index": {"dataframe_split": {**split, "index": [3, 4, 5, 6]}},
        "split with pandas' numbers": {"dataframe_split": {**split, "columns": list(range(len(names)))}},
        "split in another order": {"dataframe_split": {"columns": names[::-1], "data": [row[::-1] for row in lists]}},
        "records": {"dataframe_records": records},
        "records in another order": {"dataframe_records": [dict(reversed(row.items())) for row in records]},
        "instances of objects": {"instances": records},
        "instances of columns": {"instances": columns},
        "instances of one object": {"instances": one},
        "instances with a signature's name": {"signature_name": "serving_default", "instances": records},
        "inputs of columns": {"inputs": columns},
        "inputs of objects": {"inputs": records},
        "inputs of one object": {"inputs": one},
        # forms that are none
        "split without names": {"dataframe_split": {"data": lists}},
        "split with an index of others": {"dataframe_split": {**split, "index": [1, 2]}},
        "split without data": {"dataframe_split": {"columns": names}},
        "split without rows": {"dataframe_split": {"columns": names, "data": []}},
        "split with a field of its own": {"dataframe_split": {**split, "nothing": 1}},
        "split that is a list": {"dataframe_split": records},
        "split with a short row": {"dataframe_split": {"columns": names, "data": [lists[0], [1]]}},
        "split with a long row": {"dataframe_split": {"columns": names, "data": [[*lists[0], 1]]}},
        "split with one name for all": {"dataframe_split": {"columns": ["age"] * len(names), "data": lists}},
        "records that are split": {"dataframe_records": split},
        "records of lists": {"dataframe_records": lists},
        "one object as records": {"dataframe_records": one},
        "no records": {"dataframe_records": []},
        "no instances": {"instances": []},
        "instances of one list": {"instances": lists[1]},
        "instances of lists": {"instances": lists},
        "instances of both": {"instances": [records[0], lists[0]]},
        "inputs of lists": {"inputs": lists},
        "inputs of columns that differ": {"inputs": {**columns, "age": [1]}},
        "inputs of a text": {"inputs": "nothing"},
        "inputs of null": {"inputs": None},
        "two forms": {"dataframe_records": [], "dataframe_split": {"data": []}},
        "two good forms": {"dataframe_records": records, "dataframe_split": split},
        "no form": {"not": "a serialized dataframe"},
        "the form before MLflow 2": split,
        "a list": [1],
        "a number": 1,
        "a text": "1",
        "null": None,
        # beside the rows
        "params of null": {"dataframe_split": split, "params": None},
        "no params": {"dataframe_split": split, "params": {}},
        "params that the model does not have": {"dataframe_split": split, "params": {"nothing": 1}},
        "params of a list": {"dataframe_split": split, "params": [1]},
        "params of a text": {"dataframe_split": split, "params": "nothing"},
        "a field of its own": {"dataframe_split": split, "nothing": 1},
        # columns
        "a gap left out": {"dataframe_records": without["income"]},
        "a gap left out of one row": {"dataframe_records": [one, *without["income"]]},
        "a column left out": {"dataframe_records": without["age"]},
        "a column too many": changed(nothing=1),
        # values
        "an integer as a number": changed(income=3000),
        "a whole number as an integer": changed(age=30.0),
        "a fraction as an integer": changed(age=30.5),
        "digits as an integer": changed(age="30"),
        "digits as a number": changed(income="3000"),
        "a word as an integer": changed(age="old"),
        "a number as a text": changed(job=3),
        "1 as a boolean": changed(member=1),
        "a word as a boolean": changed(member="true"),
        "an object as an integer": changed(age={"a": 1}),
        "a list as an integer": changed(age=[30]),
        "an integer of 100 bits": changed(age=10**30),
        "a gap in integers": changed(age=None),
        "a gap in numbers": changed(income=None),
        "a gap in texts": changed(job=None),
        "a gap in booleans": changed(member=None),
        "a text that no training row had": changed(job="pilot"),
        "a text that is an address": changed(job="http://127.0.0.1:9/path"),
        "NaN": changed(income=float("nan")),
        "Infinity": changed(income=float("inf")),
    }


def texts(frame):
    """Give bodies that are no document of JSON, and kinds of body, by what is odd in them."""
    split = json.dumps(documents(frame)["split"]).encode()
    names = ",".join(frame)

    def table(changed=frame, **settings):
        return changed.to_csv(**{"index": False, **settings}).encode()

    def line(*values):
        return f"{names}\n{','.join(values)}\n".encode()

    good = ("30", "1000", "fixed", "True")
    return {
        "no JSON": (b"this is,,,, not valid json", JSON),
        "no body": (b"", JSON),
        "no UTF-8": (b'\xff{"inputs":[]}', JSON),
        "a mark before it": (b"\xef\xbb\xbf" + split, JSON),
        "UTF-16": (split.decode().encode("utf-16"), JSON),
        "too deep": (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON),
        "a form twice": (b'{"dataframe_split":[],' + split[1:], JSON),
        # kinds
        "UTF-8": (split, f"{JSON}; charset=utf-8"),
        "UTF-8 in capitals": (split, f"{JSON};charset=UTF-8"),
        "UTF-8 in quotes": (split, f'{JSON}; charset="utf-8"'),
        "utf8": (split, f"{JSON}; charset=utf8"),
        "another charset": (split, f"{JSON}; charset=latin-1"),
        "another parameter": (split, f"{JSON}; something=something"),
        "a form before MLflow 2": (split, f"{JSON}; format=pandas-split"),
        "a kind in capitals": (split, "Application/JSON"),
        "no kind": (split, None),
        "a kind that is none": (split, "not_a_supported_content_type"),
        "a kind of nothing": (split, ""),
        "plain text": (split, "text/plain"),
        "lines of JSON": (split, "application/jsonlines"),
        # CSV
        "CSV": (table(), CSV),
        "CSV in UTF-8": (table(), f"{CSV}; charset=utf-8"),
        "CSV of Windows": (table(lineterminator="\r\n"), CSV),
        "CSV of Excel": (b"\xef\xbb\xbf" + table(), CSV),
        "CSV in quotes": (table(quoting=1), CSV),
        "CSV in another order": (table(frame[[*frame][::-1]]), CSV),
        "CSV with empty lines": (table() + b"\n\n", CSV),
        "CSV in another charset": (table(), f"{CSV}; charset=latin-1"),
        "CSV that says it has a header": (table(), f"{CSV}; header=present"),
        "CSV that says it has no header": (table(header=False), f"{CSV}; header=absent"),
        "CSV without a header": (table(header=False), CSV),
        "no CSV": (b"", CSV),
        "an empty line of CSV": (b"\n", CSV),
        "a header alone": (names.encode() + b"\n", CSV),
        "CSV with pandas' index": (table(index=True), CSV),
        "CSV of a column too few": (table(frame.drop(columns="age")), CSV),
        "CSV of a column too many": (table(frame.assign(nothing=1)), CSV),
        "CSV of one name for two columns": (b"age," + table()[4:].replace(b"income", b"age", 1), CSV),
        "CSV with semicolons": (table(sep=";"), CSV),
        "CSV that is no UTF-8": (line(*good).replace(b"fixed", b"\xff"), CSV),
        "CSV with a zero byte": (line(*good).replace(b"fixed", b"fi\0ed"), CSV),
        "CSV with an open quote": (line("30", "1000", '"fixed', "True"), CSV),
        "CSV of a short row": (line("30", "1000"), CSV),
        "CSV of a long row": (line(*good, "9"), CSV),
        **{f"CSV where a gap is {word}": (table(na_rep=word), CSV) for word in ("NaN", "NA", "null", "None", "<NA>")},
        "CSV with an integer as 30.0": (line("30.0", *good[1:]), CSV),
        "CSV with a word as an integer": (line("old", *good[1:]), CSV),
        "CSV without an integer": (line("", *good[1:]), CSV),
        "CSV without a text": (line("30", "1000", "", "True"), CSV),
        "CSV with 1e3": (line("30", "1e3", *good[2:]), CSV),
        "CSV with a comma in a number": (line("30", '"1,000"', *good[2:]), CSV),
        "CSV with inf": (line("30", "inf", *good[2:]), CSV),
        "CSV with 1 as a boolean": (line("30", "1000", "fixed", "1"), CSV),
        "CSV with TRUE": (line("30", "1000", "fixed", "TRUE"), CSV),
        "CSV with yes": (line("30", "1000", "fixed", "yes"), CSV),
    }


DATES = {
    "a date and time": "2020-03-31T00:00:00",
    "a date with milliseconds": "2020-03-31T00:00:00.000",
    "a date alone": "2020-03-31",
    "a date with a space": "2020-03-31 00:00:00",
    "a date in UTC": "2020-03-31T00:00:00Z",
    "a date that is none": "soon",
    "a date as milliseconds": 1585612800000,
    "a gap in dates": None,
}


CONTRACT = "the contract says what a column holds; a value of another kind is refused, not bent"
COLUMNS = "a column that is not the contract's is a misspelt one, until the contract's `extra` says otherwise"
NO_NAMES = "rows without names hold every column in the contract's order"
TYPO = "what nobody reads is refused, not passed over"
MEDIA_TYPES = "media types and charsets are written in any case, and in quotes"
GAPS = "the contract learnt that the model takes a gap here, which MLflow's signature cannot say"
# Where MLflow and we differ: whether each answers, and why we do as we do. A 5xx of theirs is a refusal.
DIFFERENT = {
    "split without names": (False, True, NO_NAMES),
    "split with pandas' numbers": (False, True, NO_NAMES),
    "instances of lists": (False, True, NO_NAMES),
    "inputs of lists": (False, True, NO_NAMES),
    "split with a short row": (True, False, "a value that is not there is no gap"),
    "a gap left out of one row": (True, False, "a value that is not there is no gap"),
    "params of a list": (True, False, TYPO),
    "params of a text": (True, False, TYPO),
    "a field of its own": (True, False, TYPO),
    "a column too many": (True, False, COLUMNS),
    "CSV with pandas' index": (True, False, COLUMNS),
    "CSV of a column too many": (True, False, COLUMNS),
    "a fraction as an integer": (True, False, CONTRACT),
    "digits as an integer": (True, False, CONTRACT),
    "digits as a number": (True, False, CONTRACT),
    "a number as a text": (True, False, CONTRACT),
    "1 as a boolean": (True, False, CONTRACT),
    "a word as a boolean": (True, False, CONTRACT),
    "a gap in booleans": (True, False, CONTRACT),
    "a gap in integers": (False, True, GAPS),
    "CSV without an integer": (False, True, GAPS),
    "UTF-16": (True, False, "JSON is UTF-8 between systems, as RFC 8259 says"),
    "UTF-8 in quotes": (False, True, MEDIA_TYPES),
    "utf8": (False, True, MEDIA_TYPES),
    "a kind in capitals": (False, True, MEDIA_TYPES),
    "no kind": (False, True, "a body whose kind is not said is JSON; theirs fails with 500"),
    "CSV that says it has a header": (False, True, "RFC 4180 has this parameter"),
    "CSV that says it has no header": (False, True, "RFC 4180 has this parameter, and SageMaker's tables no header"),
    "CSV with a zero byte": (True, False, "a text with a zero byte is cut by what reads it next"),
}


# The cases of MLflow's own tests of its scoring server that go over HTTP, by their names, and our bodies of their kind. The
# tests themselves start MLflow's server for each case, hold it to its own words, and are in none of its distributions.
# Their other cases are about functions inside MLflow, and one about a value of a parameter that a model declares: here
# a contract has no such parameters.
CASES = {
    "responds_to_malformed_json_input": (400, ["no JSON", "no body"]),
    "responds_to_invalid_json_format": (400, ["a number", "a text", "a list", "no form", "two forms"]),
    "responds_to_invalid_pandas_input_format": (400, ["split that is a list", "records that are split"]),
    "responds_to_invalid_dataframe": (400, ["split with an index of others"]),
    "responds_to_incompatible_inference_dataframe": (400, ["a column left out", "the form before MLflow 2"]),
    "responds_to_invalid_csv_input": (400, ["no CSV"]),
    "successfully_evaluates_correct_dataframes_with_pandas_records_orientation": (200, ["records"]),
    "successfully_evaluates_correct_dataframes_with_pandas_split_orientation": (200, ["split", "UTF-8 in capitals"]),
    "responds_to_invalid_content_type_request_with_unsupported_content_type_code": (415, ["a kind that is none"]),
    "responds_to_invalid_content_type_request_with_unrecognized_content_param": (415, ["another parameter"]),
    "successfully_evaluates_correct_tf_serving_sklearn": (200, ["instances of lists"]),
    "successfully_evaluates_correct_tf_serving_keras_instances": (200, ["instances of objects"]),
    "successfully_evaluates_correct_tf_serving_keras_inputs": (200, ["inputs of columns"]),
    "serving_model_with_schema": (200, ["split in another order", "records in another order", "inputs of columns"]),
    "serving_model_with_param_schema": (200, ["no params", "params that the model does not have"]),
    "parse_json_input_including_path": (200, ["a text that is an address"]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_of_mlflow_s_own_scoring_tests_is_met(worth_server, frame, case):
    bodies = {name: (json.dumps(document).encode(), JSON) for name, document in documents(frame).items()}
    status, names = CASES[case]
    for name in names:
        answer = ask(worth_server.url, *(bodies | texts(frame))[name])
        assert answer.status_code == status, (name, answer.text)
        assert "predictions" in answer.json() if status == 200 else answer.json()["error_code"] == "BAD_REQUEST"


def ask(url, body, kind):
    named = {} if kind is None else {"content-type": kind}
    return httpx.post(f"{url}/invocations", content=body, headers=named, timeout=120, trust_env=False)


def test_each_body_is_answered_or_refused_as_by_mlflow(theirs, worth_server, frame):
    bodies = {name: (json.dumps(document).encode(), JSON) for name, document in documents(frame).items()}
    differing, n_answered, n_refused = {}, 0, 0
    for name, (body, kind) in (bodies | texts(frame)).items():
        told, ours = (ask(url, body, kind) for url in (theirs, worth_server.url))
        assert ours.status_code in (200, 400, 415), (name, ours.status_code, ours.text)
        if (told.status_code == 200) != (ours.status_code == 200):
            differing[name] = (told.status_code == 200, ours.status_code == 200)
        elif ours.status_code == 200:
            assert np.allclose(told.json()["predictions"], ours.json()["predictions"], rtol=1e-9, atol=0), name
            n_answered += 1
        else:
            assert (ours.status_code == 415) == (told.status_code == 415), name
            assert ours.json()["error_code"] == "BAD_REQUEST", name
            assert ours.json()["message"], name
            n_refused += 1
    assert differing == {name: (there, here) for name, (there, here, _) in DIFFERENT.items()}
    assert n_answered >= 35
    assert n_refused >= 40


def test_mlflow_s_client_reads_the_same_frame_from_both(theirs, worth_server, worth):
    rows, read, versions = worth.rows.head(20), [], []
    for url in (theirs, worth_server.url):
        client = ScoringServerClient("127.0.0.1", int(url.rpartition(":")[2]))
        client.ping()
        versions.append(client.get_version())
        read.append(client.invoke(rows, params={}).get_predictions())
    assert versions == [mlflow.__version__, ekiben.__version__]
    assert list(read[0]) == list(read[1])
    np.testing.assert_allclose(read[1].to_numpy(), read[0].to_numpy(), rtol=1e-9)


OTHER_DATES = {"a date as milliseconds": (True, False, "a number does not say what it counts, and since when")}


def test_dates_are_read_as_by_mlflow(dated, tmp_path):
    save(dated, tmp_path / "m")
    theirs = TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(tmp_path / "m"))))
    plane, differing = plane_of({"champion": dated.package}, unit=None), {}
    for name, value in DATES.items():
        body = json.dumps({"dataframe_records": [{"age": 30, "since": value}]}).encode()
        told = theirs.post("/invocations", content=body, headers={"content-type": JSON})
        ours = asked_in(plane, "/invocations", body, {"content-type": JSON})
        if (told.status_code == 200) != (ours.status == 200):
            differing[name] = (told.status_code == 200, ours.status == 200)
        elif ours.status == 200:
            assert np.allclose(told.json()["predictions"], ours.json["predictions"], rtol=1e-9, atol=0), name
    plane.close()
    assert differing == {name: (there, here) for name, (there, here, _) in OTHER_DATES.items()}


@pytest.mark.parametrize(("method", "path"), [("GET", "/ping"), ("GET", "/invocations"), ("GET", "/nothing")])
def test_each_path_has_the_status_of_mlflow(theirs, worth_server, method, path):
    told, ours = (httpx.request(method, f"{url}{path}", trust_env=False) for url in (theirs, worth_server.url))
    assert ours.status_code == told.status_code
    assert ours.headers["content-type"] == told.headers["content-type"]
    assert told.is_error or ours.content == told.content
