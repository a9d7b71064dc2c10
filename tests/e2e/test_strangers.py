"""Clients that know nothing of ekiben, against a served bento: each asks in its own protocol, and reads the same numbers."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import boto3
import httpx
import numpy as np
import pytest
import tritonclient.http
from mlflow.deployments import PredictionsResponse
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

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
    client.wait_server_ready(timeout=10)
    for i in range(len(frame)):
        answered = client.invoke(frame.iloc[[i]], params={"customer_id": str(i)})
        assert answered.get_predictions().iloc[0, -1] == expected[i]


def test_mlflow_s_deployments_read_what_is_answered(server, frame, expected):
    url = f"http://127.0.0.1:{server.port}/invocations"
    text = frame.iloc[[0]].assign(customer_id="0").to_csv(index=False)
    answered = httpx.post(url, content=text, headers={"content-type": CONTENT_TYPE_CSV}, trust_env=False)
    assert PredictionsResponse.from_json(answered.text).get_predictions().iloc[0, -1] == expected[0]


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
