"""Clients that know nothing of ekiben, against a served bento: each asks in its own protocol, and reads the same numbers."""

import asyncio
import io
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import boto3
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tritonclient.http
from mlflow.deployments import PredictionsResponse
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

import ekiben as ek
from ekiben.arrow import KINDS, PARQUET, STREAM
from planes import Quiet, http_server


@pytest.fixture(scope="module")
def frame(packages):
    """Some rows, of which one has a gap."""
    rows = [example["row"] for example in packages["champion"].examples]
    gaps = [
        row for row in rows if None in row.values() and isinstance(row["Home"], str) and isinstance(row["Job"], str)
    ]
    return pd.DataFrame([*[row for row in rows if None not in row.values()][:4], *gaps[:1]])


@pytest.fixture(scope="module")
def expected(server, frame):
    """Give the chances of the second class, as `/predict` answers them to each row by itself; every row is its own unit."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        bodies = [{"rows": [row], "customer_id": str(i)} for i, row in enumerate(rows)]
        answers = [http.post("/predict", json=body).json() for body in bodies]
    return [[*answer["predictions"][0]["scores"].values()][1] for answer in answers]


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
    client.wait_server_ready(timeout=10)
    for i in range(len(frame)):
        answered = client.invoke(frame.iloc[[i]], params={"customer_id": str(i)})
        assert answered.get_predictions().iloc[0, -1] == expected[i]


def test_mlflow_s_deployments_read_what_is_answered(server, frame, expected):
    url = f"http://127.0.0.1:{server.port}/invocations"
    text = frame.iloc[[0]].assign(customer_id="0").to_csv(index=False)
    answered = httpx.post(url, content=text, headers={"content-type": CONTENT_TYPE_CSV}, trust_env=False)
    assert PredictionsResponse.from_json(answered.text).get_predictions().iloc[0, -1] == expected[0]


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
            endpoint = self.path.split("/")[2]
            kind = {"content-type": self.headers["content-type"]}
            asked = httpx.post(
                f"http://127.0.0.1:{port}/invocations", content=self.body(), headers=kind, trust_env=False
            )
            assert endpoint == "risk"
            self.answer(asked.status_code, asked.content, headers={"x-Amzn-Invoked-Production-Variant": "only"})

    with http_server(Handler) as url:
        yield url


def test_sagemaker_s_runtime_client_invokes(server, frame, expected):
    assert httpx.get(f"http://127.0.0.1:{server.port}/ping", trust_env=False).status_code == 200
    with platform(server.port) as url:
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "eu-west-1"}
        client = boto3.client("sagemaker-runtime", endpoint_url=url, **keys)
        body = json.dumps({"instances": [json.loads(frame.iloc[0].to_json())], "params": {"customer_id": "0"}})
        told = client.invoke_endpoint(EndpointName="risk", Body=body, ContentType="application/json")
    (answered,) = json.loads(told["Body"].read())["predictions"]
    assert [*answered.values()][-1] == expected[0]
