"""MLServer: what its codecs write is answered, what we answer its codecs read, and its own server says the same of each body."""

import base64
import json
import subprocess

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import ekiben as ek
import strangers
from planes import asked_in, plane_of

pytestmark = pytest.mark.slow
INFER = "/v2/models/worth/infer"


@pytest.fixture(scope="module")
def rows(worth):
    """Three rows, of which the first has a gap."""
    return worth.rows.head(3)


@pytest.fixture(scope="module")
def records(rows):
    return json.loads(rows.to_json(orient="records"))


WIDE = [[1.5, -2.0, 0.25], [3.0, 4.0, 1e-3]]
DATES = ["2020-03-31T00:00:00", "2021-09-22T00:00:00"]


@pytest.fixture(scope="module")
def written(records):
    return strangers.ask("mlserver", {"rows": records, "wide": WIDE, "dates": DATES})


def predicted(worth, rows):
    return worth.package.predict(rows)["value"].tolist()


def post(url, body, **headers):
    named = {"content-type": "application/json"} | headers
    return httpx.post(f"{url}{INFER}", content=body, headers=named, timeout=120, trust_env=False)


def test_what_mlserver_s_codecs_write_is_answered_and_the_answer_read(worth, worth_server, rows, written):
    url = worth_server.url
    answers = {name: post(url, body) for name, body in written["frame"].items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 200)
    shown = {name: httpx.get(f"{url}{path}").json() for name, path in {"server": "/v2", "model": INFER[:-6]}.items()}
    read = strangers.ask("mlserver", {**shown, "answers": {name: each.json() for name, each in answers.items()}})
    assert read["inputs"] == list(rows)
    changed = {"pandas_narrow": rows.astype({"income": "float32"}).astype({"income": "float64"})}
    assert set(read["answers"]) == {
        "pandas", "pandas_bytes", "pandas_narrow", "pandas_objects", "by_codec", "base64", "nulls",
    }  # fmt: skip
    for name, found in read["answers"].items():
        expected = predicted(worth, changed.get(name, rows))
        assert found["numpy"] == found["request"] == found["pandas"] == expected, name
        assert found["id"] == answers[name].headers["x-ekiben-id"]


def test_one_array_of_numpy_is_every_column(written):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    package = ek.pack(Ridge().fit(frame, frame.sum(axis=1)), name="sums", reference=frame)
    expected = package.predict(pd.DataFrame(WIDE, columns=["a", "b", "c"]))["value"].tolist()
    assert answered(package, written["wide"]) == expected


def test_dates_of_mlserver_s_codec_are_dates(dated, written):
    rows = pd.DataFrame({"age": [30, 30], "since": pd.to_datetime(DATES)})
    expected = dated.package.predict(rows)["value"].tolist()
    assert answered(dated.package, written["dated"]) == expected
    assert expected[0] != expected[1]


def answered(package, body):
    plane = plane_of({"champion": package}, unit=None)
    try:
        return asked_in(plane, "/v2/models/risk/infer", body.encode(), {}).json["outputs"][0]["data"]
    finally:
        plane.close()


def test_mlserver_s_own_client_infers(worth, worth_server, rows, written, tmp_path):
    body = json.loads(written["frame"]["pandas"])
    (tmp_path / "asked.txt").write_text("".join(json.dumps({**body, "id": f"line-{i}"}) + "\n" for i in range(3)))
    command = [
        strangers.environment("mlserver").command("mlserver"), "infer", "--model-name", "worth",
        "--url", f"127.0.0.1:{worth_server.port}",
        "--input-data-path", tmp_path / "asked.txt", "--output-data-path", tmp_path / "told.txt",
    ]  # fmt: skip
    done = subprocess.run(command, env=strangers.alone(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in (tmp_path / "told.txt").read_text().splitlines()]
    assert {each["id"] for each in told} == {"line-0", "line-1", "line-2"}
    expected = predicted(worth, rows)
    assert [each["outputs"][0]["data"] for each in told] == [expected] * 3


# ── beside its own server ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def theirs(worth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlserver")
    joblib.dump(worth.model, folder / "model.joblib")
    runtime = "mlserver_sklearn.SKLearnModel"
    model = {"name": "worth", "implementation": runtime, "parameters": {"uri": str(folder / "model.joblib")}}
    (folder / "model-settings.json").write_text(json.dumps(model))

    def command(port):
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
        (folder / "settings.json").write_text(json.dumps(settings))
        return [strangers.environment("mlserver").command("mlserver"), "start", folder]

    with strangers.running(command, folder=folder, ready="/v2/models/worth/ready") as url:
        yield url


def bodies(records):
    """Give bodies by what is odd in them."""
    columns = {name: [row[name] for row in records] for name in records[0]}

    def tensor(name, datatype, **told):
        return {"name": name, "shape": [3, 1], "datatype": datatype, "data": columns[name], **told}

    whole = {
        "age": tensor("age", "INT64"),
        "income": tensor("income", "FP64"),
        "job": tensor("job", "BYTES", parameters={"content_type": "str"}),
        "member": tensor("member", "BOOL"),
    }

    def body(*, each=None, without=(), **changes):
        inputs = {name: {**told, **changes.get(name, {}), **(each or {})} for name, told in whole.items()}
        inputs = [{key: value for key, value in told.items() if key not in without} for told in inputs.values()]
        top = {key: value for key, value in changes.items() if key not in whole}
        return {"parameters": {"content_type": "pd"}, "inputs": inputs, **top}

    plain, texts = body(), columns["job"]
    nested = [{**told, "data": [[value] for value in told["data"]]} for told in plain["inputs"]]
    extra = {"name": "extra", "shape": [3, 1], "datatype": "INT64", "data": [1, 2, 3]}
    encoded = [base64.b64encode(text.encode()).decode() for text in texts]
    ages = {f"ages of {kind}": body(age={"datatype": kind}) for kind in INTEGERS}
    return ages | {
        "plain": plain,
        "an id": body(id="mine"),
        "an id of null": body(id=None),
        "an id of a number": body(id=3),
        "parameters of null": body(age={"parameters": None}),
        "parameters of a list": body(parameters=[1]),
        "outputs of null": body(outputs=None),
        "no outputs": body(outputs=[]),
        "predict": body(outputs=[{"name": "predict", "parameters": {"content_type": "np"}}]),
        "another output": body(outputs=[{"name": "nothing"}]),
        "chances of a regressor": body(outputs=[{"name": "predict_proba"}]),
        "a field of its own": body(nothing=1),
        "a field of its own in an input": body(age={"nothing": 1}),
        "the model's name": body(model_name="worth"),
        "shapes of one dimension": body(each={"shape": [3]}),
        "shapes that differ": body(age={"shape": [3]}),
        "data nested as its shape": {**plain, "inputs": nested},
        "a shape of more": body(age={"shape": [4, 1]}),
        "every shape of more": body(each={"shape": [4, 1]}),
        "a negative shape": body(age={"shape": [-1, 1]}),
        "a shape of texts": body(age={"shape": ["3"]}),
        "a shape of none": body(age={"shape": []}),
        "a shape of null": body(age={"shape": None}),
        "a huge shape": body(age={"shape": [10**12]}),
        "a number as shape": body(age={"shape": 3}),
        "no names": body(without=["name"]),
        "no shapes": body(without=["shape"]),
        "no datatypes": body(without=["datatype"]),
        "no data": body(without=["data"]),
        "data of null": body(age={"data": None}),
        "a number as data": body(age={"data": 1}),
        "an object as data": body(age={"data": {"a": 1}}),
        "empty data": body(age={"data": []}),
        "another datatype": body(age={"datatype": "INT"}),
        "a datatype in small letters": body(age={"datatype": "int64"}),
        "BF16": body(income={"datatype": "BF16"}),
        "no inputs": {**plain, "inputs": []},
        "inputs that are not there": {"parameters": {}},
        "inputs of null": {**plain, "inputs": None},
        "inputs of an object": {**plain, "inputs": {"a": 1}},
        "an input twice": {**plain, "inputs": [*plain["inputs"], plain["inputs"][0]]},
        "an input too few": {**plain, "inputs": plain["inputs"][1:]},
        "an input too many": {**plain, "inputs": [*plain["inputs"], extra]},
        "rows that differ": body(age={"shape": [2, 1], "data": [30, 40]}),
        "texts as integers": body(age={"data": ["a", "b", "c"]}),
        "digits as integers": body(age={"data": ["30", "40", "50"]}),
        "a fraction as an integer": body(age={"data": [30.5, 40, 50]}),
        "an integer out of range": body(age={"datatype": "INT8", "data": [300, 40, 50]}),
        "a gap in integers": body(age={"data": [30, None, 50]}),
        "a gap in texts": body(job={"data": [None, *texts[1:]]}),
        "a gap in booleans": body(member={"data": [None, True, False]}),
        "booleans as 0 and 1": body(member={"data": [1, 0, 1]}),
        "numbers as booleans": body(age={"datatype": "BOOL"}),
        "32 bits": body(income={"datatype": "FP32", "data": [100.5, 200.25, 300.0]}),
        "16 bits": body(income={"datatype": "FP16", "data": [100.5, 200.25, 300.0]}),
        "integers as numbers": body(income={"datatype": "INT64", "data": [1000, 2000, 3000]}),
        "a text that no training row had": body(job={"data": ["pilot", *texts[1:]]}),
        "no codec": {"inputs": plain["inputs"]},
        "another codec": body(parameters={"content_type": "nothing"}),
        "another codec of an input": body(age={"parameters": {"content_type": "nothing"}}),
        "JSON in texts": body(job={"parameters": {"content_type": "pd_json"}, "data": [*map(json.dumps, texts)]}),
        "null in JSON in texts": body(
            job={"parameters": {"content_type": "pd_json"}, "data": ["null", *map(json.dumps, texts[1:])]}
        ),
        "no JSON in texts": body(job={"parameters": {"content_type": "pd_json"}, "data": ["{", "[", "}"]}),
        "base64": body(job={"parameters": {"content_type": "base64"}, "data": encoded}),
        "no base64": body(job={"parameters": {"content_type": "base64"}, "data": ["?", "!", "."]}),
        "no rows": body(each={"shape": [0, 1], "data": []}),
    }  # fmt: skip


INTEGERS = ("INT8", "INT16", "INT32", "UINT8", "UINT16", "UINT32", "UINT64")


def raw(records):
    """Give bodies that are no document of JSON, and kinds of body, by what is odd in them."""
    plain = json.dumps(bodies(records)["plain"]).encode()
    gap = plain.replace(b"null", b"NaN")
    endless = plain.replace(b"null", b"Infinity")
    return {
        "no JSON": (b"nothing", "application/json"),
        "nothing": (b"", "application/json"),
        "a list": (b"[1]", "application/json"),
        "null": (b"null", "application/json"),
        "no UTF-8": (b"\xff{}", "application/json"),
        "a mark before it": (b"\xef\xbb\xbf" + plain, "application/json"),
        "NaN": (gap, "application/json"),
        "Infinity": (endless, "application/json"),
        "too deep": (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json"),
        "a charset": (plain, "application/json; charset=utf-8"),
        "a text": (plain, "text/plain"),
        "a form": (plain, "application/x-www-form-urlencoded"),
        "bytes without a header's length": (plain, "application/octet-stream"),
    }


WIDER = "the protocol has it, or leaves it open, and its meaning is plain"
STRICTER = "the tensor contradicts itself"
CONTRACT = "the contract says what a column holds"
# Where MLServer and we differ: whether each answers, and why we do as we do. A 5xx of theirs is a refusal.
DIFFERENT = {
    "data nested as its shape": (False, True, WIDER),
    "BF16": (False, True, WIDER),
    "no codec": (False, True, "the contract tells columns from one array"),
    "another codec": (False, True, "the contract tells columns from one array"),
    "NaN": (False, True, "pandas and NumPy write a gap so"),
    "bytes without a header's length": (False, True, WIDER),
    "a shape of more": (True, False, STRICTER),
    "every shape of more": (True, False, STRICTER),
    "a negative shape": (True, False, STRICTER),
    "a shape of texts": (True, False, STRICTER),
    "a shape of none": (True, False, STRICTER),
    "a huge shape": (True, False, STRICTER),
    "empty data": (True, False, STRICTER),
    "rows that differ": (True, False, STRICTER),
    "an input twice": (True, False, STRICTER),
    "numbers as booleans": (True, False, STRICTER),
    "digits as integers": (True, False, STRICTER),
    "no base64": (True, False, STRICTER),
    "an input too many": (True, False, CONTRACT),
    "a gap in booleans": (True, False, CONTRACT),
    "a gap in integers": (False, True, CONTRACT),
}
# Theirs hands bytes to the model, which no category is: both answer, and ours is what the texts say.
OTHER_NUMBERS = {"base64"}


def test_each_body_is_answered_or_refused_as_by_mlserver(theirs, worth_server, records):
    named = {name: (json.dumps(body).encode(), "application/json") for name, body in bodies(records).items()}
    differing, numbers = {}, 0
    for name, (body, kind) in (named | raw(records)).items():
        told, ours = (post(url, body, **{"content-type": kind}) for url in (theirs, worth_server.url))
        assert ours.status_code in (200, 400, 415), (name, ours.status_code, ours.text)
        if (told.status_code == 200) != (ours.status_code == 200):
            differing[name] = (told.status_code == 200, ours.status_code == 200)
        elif ours.status_code == 200:
            (there,), (here,) = told.json()["outputs"], ours.json()["outputs"]
            same = np.allclose(there["data"], here["data"], rtol=1e-9, atol=0)
            assert same != (name in OTHER_NUMBERS), (name, there, here)
            numbers += 1
        else:
            assert isinstance(ours.json()["error"], str)
    assert differing == {name: (there, here) for name, (there, here, _) in DIFFERENT.items()}
    assert numbers >= 30


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/worth"),
        ("GET", "/v2/models/worth/ready"),
        ("GET", "/v2/models/nothing"),
        ("GET", "/v2/models/nothing/ready"),
        ("GET", INFER),
        ("POST", "/v2/models/nothing/infer"),
        ("GET", "/v2/models"),
    ],
)
def test_each_path_has_the_status_of_mlserver(theirs, worth_server, records, method, path):
    body = {"json": bodies(records)["plain"]} if method == "POST" else {}
    told, ours = (httpx.request(method, f"{url}{path}", trust_env=False, **body) for url in (theirs, worth_server.url))
    assert ours.status_code == told.status_code
    assert set(told.json() if "json" in told.headers.get("content-type", "") and told.is_success else ()) <= {
        *ours.json(), "versions", "parameters",
    }  # fmt: skip
