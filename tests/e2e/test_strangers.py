"""Clients that know nothing of ekiben, against a served bento: each asks in its own protocol, and reads the same numbers."""

import asyncio
import io
import json
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

import bentoml
import boto3
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tritonclient.http
from bentoml.exceptions import BentoMLException
from mlflow.deployments import PredictionsResponse
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

import ekiben as ek
from ekiben.arrow import KINDS, PARQUET, STREAM
from planes import Quiet, http_server


@pytest.fixture(scope="module")
def triton(server):
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as asked:
        yield asked


def inputs_of(row, known, *, binary):
    made = []
    for entry in known:
        value, datatype = row[entry["name"]], entry["datatype"]
        dtype = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}[datatype]
        tensor = tritonclient.http.InferInput(entry["name"], [1], datatype)
        tensor.set_data_from_numpy(np.array([value], dtype=dtype), binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_triton_s_client_infers(triton, folder, frame, expected, binary):
    name = folder.name
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(name)
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    known = triton.get_model_metadata(name)["inputs"]
    for i, row in enumerate(frame.to_dict(orient="records")):
        wanted = [tritonclient.http.InferRequestedOutput("scores", binary_data=binary)]
        answer = triton.infer(
            name, inputs_of(row, known, binary=binary), outputs=wanted, parameters={"customer_id": str(i)}
        )
        assert answer.as_numpy("scores")[0, 1] == expected[i]


def test_triton_s_client_reads_a_refusal(triton, folder):
    wrong = tritonclient.http.InferInput("nothing_of_ours", [1], "INT64")
    wrong.set_data_from_numpy(np.array([1]))
    with pytest.raises(InferenceServerException, match="is missing"):
        triton.infer(folder.name, [wrong])


def test_mlflow_s_scoring_client_scores(server, frame, expected):
    client = ScoringServerClient("127.0.0.1", server.port)
    client.wait_server_ready(timeout=120)
    for i in range(len(frame)):
        answered = client.invoke(frame.iloc[[i]], params={"customer_id": str(i)})
        assert answered.get_predictions().iloc[0, -1] == expected[i]


def test_mlflow_s_deployments_read_what_is_answered(server, frame, expected):
    url = f"http://127.0.0.1:{server.port}/invocations"
    text = frame.iloc[[0]].assign(customer_id="0").to_csv(index=False)
    answered = httpx.post(url, content=text, headers={"content-type": CONTENT_TYPE_CSV}, trust_env=False)
    assert PredictionsResponse.from_json(answered.text).get_predictions().iloc[0, -1] == expected[0]


# What SageMaker hands on to a container.
PASSED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


def frame_of(packages, n=300):
    rows = [example["row"] for example in packages["champion"].examples]
    return pd.DataFrame(rows * (n // len(rows) + 1)).head(n)


def opened(body):
    return pa.ipc.open_stream(body).read_all().to_pandas()


@pytest.mark.parametrize("kind", KINDS)
def test_pyarrow_s_tables_are_answered_by_tables_of_the_same_numbers(server, packages, kind):
    frame, sink = frame_of(packages), io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"customer_id": "0"})
    if kind == PARQUET:
        pq.write_table(table, sink)
    else:
        with (pa.ipc.new_stream if kind == STREAM else pa.ipc.new_file)(sink, table.schema) as writer:
            writer.write_table(table)
    headers = {"content-type": kind, "accept": STREAM}
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        answer = http.post("/predict", content=sink.getvalue(), headers=headers)
        rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
        plain = http.post("/predict", json={"rows": rows, "customer_id": "0"}).json()
    assert answer.headers["x-ekiben-arm"] == plain["arm"]
    assert opened(answer.content)["label"].tolist() == [each["label"] for each in plain["predictions"]]
    for label in ("0", "1"):
        expected = [each["scores"][label] for each in plain["predictions"]]
        assert opened(answer.content)[f"score_{label}"].tolist() == expected


def test_the_client_sends_tables_to_a_served_bento_and_awaits_it_too(server, packages):
    frame = frame_of(packages, 2_300)

    async def ask():
        async with ek.connect(server.url, asynchronous=True) as client:
            return await client.predict(frame, unit="0")

    with ek.connect(server.url) as client:
        answered = client.predict(frame, unit="0")
    pd.testing.assert_frame_equal(answered, asyncio.run(ask()), check_exact=True)
    assert [each["rows"] for each in answered.attrs["requests"]] == [1000, 1000, 300]
    pd.testing.assert_frame_equal(answered, packages[answered.attrs["arm"]].predict(frame), rtol=1e-12)


def test_a_broken_table_is_refused_by_a_served_bento(server):
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        for kind in KINDS:
            for body in (b"", b"ARROW1", b"PAR1PAR1", b"\xff" * 100):
                answer = http.post("/predict", content=body, headers={"content-type": kind})
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@contextmanager
def platform(port):
    """Stand where SageMaker's runtime stands between its callers and a container."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path.split("/")[2] == "risk"
            passed = {name: self.headers[name] for name in PASSED if name in self.headers}
            asked = httpx.post(
                f"http://127.0.0.1:{port}/invocations", content=self.body(), headers=passed, trust_env=False
            )
            told = {"x-Amzn-Invoked-Production-Variant": "only"}
            if asked.is_success:
                self.answer(200, asked.content, kind=asked.headers["content-type"], headers=told)
            else:  # 424, with what the container said
                said = {"OriginalStatusCode": asked.status_code, "OriginalMessage": asked.text, "Message": "Refused."}
                self.answer(424, json.dumps(said).encode(), headers={**told, "x-amzn-errortype": "ModelError"})

    with http_server(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def sagemaker(server):
    assert httpx.get(f"http://127.0.0.1:{server.port}/ping", trust_env=False).status_code == 200
    with platform(server.port) as url:
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "eu-west-1"}
        yield boto3.client("sagemaker-runtime", endpoint_url=url, **keys)


def test_sagemaker_s_runtime_client_invokes(sagemaker, frame, expected):
    body = json.dumps({"instances": [json.loads(frame.iloc[0].to_json())], "params": {"customer_id": "0"}})
    told = sagemaker.invoke_endpoint(EndpointName="risk", Body=body, ContentType="application/json")
    (answered,) = json.loads(told["Body"].read())["predictions"]
    assert [*answered.values()][-1] == expected[0]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("accept", ["text/csv", "application/json", "*/*", None])
def test_sagemaker_s_runtime_client_sends_csv_and_says_what_it_takes(sagemaker, frame, expected, header, accept):
    named = frame.iloc[[0]].assign(customer_id="0") if header else frame.iloc[[0]]
    asked = {
        "Body": named.to_csv(index=False, header=header),
        "ContentType": "text/csv" if header else "text/csv; header=absent",
        "CustomAttributes": "trace=7",
        **({"Accept": accept} if accept else {}),
    }
    told = sagemaker.invoke_endpoint(EndpointName="risk", **asked)
    text = told["Body"].read().decode()
    assert told["ContentType"] == ("text/csv" if accept == "text/csv" else "application/json")
    if accept == "text/csv":
        label, *scores = text.strip().split(",")
        assert (len(scores), label in ("0", "1"), text.endswith("\n")) == (2, True, True)
        answered = float(scores[-1])
    else:
        answered = [*json.loads(text)["predictions"][0].values()][-1]
    assert answered == expected[0] if header else 0 <= answered <= 1  # without a header the unit has no column


def test_sagemaker_s_runtime_client_reads_a_refusal(sagemaker):
    with pytest.raises(sagemaker.exceptions.ModelError) as refused:
        sagemaker.invoke_endpoint(EndpointName="risk", Body="Age\nold\n", ContentType="text/csv", Accept="text/csv")
    assert refused.value.response["OriginalStatusCode"] == 400
    assert "is missing" in json.loads(refused.value.response["OriginalMessage"])["message"]


# ── BentoML's own clients


def asked_by_bentoml(url, endpoint, *, is_async, **asked):
    if not is_async:
        with bentoml.SyncHTTPClient(url) as client:
            return getattr(client, endpoint)(**asked)

    async def ask():
        async with bentoml.AsyncHTTPClient(url) as client:
            return await getattr(client, endpoint)(**asked)

    return asyncio.run(ask())


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def bentoml_asks(request, server):
    return partial(asked_by_bentoml, server.url, is_async=request.param)


def test_bentoml_s_clients_predict(bentoml_asks, frame, expected):
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    for i, row in enumerate(rows):
        answer = bentoml_asks("predict", rows=[row], customer_id=str(i))
        assert [*answer["predictions"][0]["scores"].values()][1] == expected[i]


def test_bentoml_s_clients_explain(bentoml_asks, http, frame):
    (row,) = json.loads(frame.head(1).to_json(orient="records"))
    told = bentoml_asks("explain", rows=[row], customer_id="0")["explanations"]
    same = http.post("/explain", json={"rows": [row], "customer_id": "0"}).json()["explanations"]
    never_the_same = {"elapsed_ms"}
    assert [{key: each[key] for key in each if key not in never_the_same} for each in told] == [
        {key: each[key] for key in each if key not in never_the_same} for each in same
    ]


@pytest.mark.parametrize("endpoint", ["predict", "explain"])
def test_bentoml_s_clients_raise_what_is_refused(bentoml_asks, frame, endpoint):
    (row,) = json.loads(frame.head(1).drop(columns="Job").to_json(orient="records"))
    with pytest.raises(BentoMLException, match="'Job' is missing") as refused:
        bentoml_asks(endpoint, rows=[row])
    assert refused.value.error_code == HTTPStatus.BAD_REQUEST
