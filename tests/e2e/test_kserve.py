"""KServe's own client, in an environment of its own, against a served bento."""

import httpx
import pytest

import strangers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(server, folder, frame):
    known = httpx.get(f"{server.url}/v2/models/{folder.name}", trust_env=False).json()["inputs"]
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return strangers.ask("kserve", {"url": server.url, "model": folder.name, "known": known, "rows": rows})


def test_kserve_s_client_knows_who_is_ready(told):
    assert told["server"] == [True, True]
    assert told["model"] == [True, False]


@pytest.mark.parametrize("form", ["json", "bytes"])
def test_kserve_s_client_infers(told, folder, form, expected):
    answers = told["answers"][form]
    assert [answer["scores"][0][1] for answer in answers] == expected
    assert [answer["label"][0] for answer in answers] == [int(chance > 0.5) for chance in expected]
    assert {answer["model"] for answer in answers} == {folder.name}
    assert [answer["id"] for answer in answers] == [f"mine-{i}" for i in range(len(expected))]
    assert {answer["as_bytes"] for answer in answers} == {form == "bytes"}


def test_kserve_s_client_reads_a_refusal(told):
    assert told["refused"]["status"] == 400
    assert "is missing" in told["refused"]["says"]
    assert told["refused_dict"]["status"] == 400
    assert told["refused_dict"]["says"].startswith(
        "`inputs` must hold at least one tensor. Got none., '400 Bad Request'"
    )
