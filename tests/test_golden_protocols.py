"""Exchanges with a service over each protocol, to the byte.

Each file of `golden/protocols/<protocol>/` is one: a request, and the answer of a service of the golden package `format-1`.
`pytest tests/test_golden_protocols.py --rewrite-golden` writes every answer anew; to add one, write its request and do so.
"""

import base64
import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import ekiben as ek
from ekiben.dataplane import Hooks
from planes import asked_in, plane_of

GOLDEN = Path(__file__).parent / "golden"
EXCHANGES = sorted((GOLDEN / "protocols").glob("*/*.json"))
LENGTH = "inference-header-content-length"  # of what is text in a body; the rest is bytes
NEVER_THE_SAME = {rb'"version":"%s"' % version("ekiben").encode(): b'"version":"0"'}
ID = "0" * 32


class Rounded(Hooks):
    """Scores without their last digits, which differ from one processor to another."""

    def postprocess(self, predictions):
        return [
            {**each, "scores": {name: round(value, 9) for name, value in each["scores"].items()}}
            for each in predictions
        ]


@pytest.fixture(scope="module")
def plane():
    folder = GOLDEN / "packages" / "format-1"
    digest = json.loads((folder / "package.json").read_text())["digest"]
    made = plane_of({"champion": ek.load(folder, trust=digest)}, hooks=Rounded())
    yield made
    made.close()


def bytes_of(told):
    return told.get("body", "").encode() + base64.b64decode(told.get("tail", ""))


def told_of(body, headers):
    """Write a body: what is text as such, and the bytes behind it in base64."""
    size = int(headers.get(LENGTH, len(body)))
    head, tail = body[:size].decode(), base64.b64encode(body[size:]).decode()
    return {"body": head, **({"tail": tail} if tail else {})}


def asked(plane, request):
    """Give the answer to a request, without what is never the same."""
    found = asked_in(plane, request["path"], bytes_of(request), request["headers"], method=request["method"])
    headers, body = dict(found.headers), found.body
    assert int(headers.pop("content-length")) == len(body)
    own = headers["x-ekiben-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", own)
    body = body.replace(own.encode(), ID.encode())
    for word, fixed in NEVER_THE_SAME.items():
        body = body.replace(word, fixed)
    return {"status": found.status, "headers": headers | {"x-ekiben-id": ID}, **told_of(body, headers)}


@pytest.mark.parametrize("file", EXCHANGES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_golden_request_has_its_answer_to_the_byte(plane, file, pytestconfig):
    exchange = json.loads(file.read_text())
    answer = asked(plane, exchange["request"])
    if pytestconfig.getoption("--rewrite-golden"):
        told = {"request": exchange["request"], "answer": answer}
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        exchange = json.loads(file.read_text())
    assert answer == exchange["answer"]


@pytest.mark.parametrize("protocol", ["mlflow", "open_inference", "rows", "sagemaker", "vertex"])
def test_every_protocol_has_answers_and_refusals(protocol):
    statuses = [json.loads(file.read_text())["answer"]["status"] for file in EXCHANGES if file.parent.name == protocol]
    assert statuses.count(200) >= 4
    assert sum(400 <= status < 500 for status in statuses) >= 3
    assert max(statuses) < 500
