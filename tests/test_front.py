"""The front alone, as an ASGI application: what it answers before any BentoML is asked."""

import asyncio
import json

import pytest

from ekiben.front import Front
from planes import plane_of


@pytest.fixture
def ask(champion, monkeypatch):
    """Ask the front for a path; without a body, the sender falls silent after its headers."""
    plane = plane_of({"champion": champion}, timeout_s=0.2)
    monkeypatch.setattr(Front, "live", plane)

    def asked(method, path, body=None):
        sent = []

        async def receive():
            if body is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
        asyncio.run(Front(None)(scope, receive, send))
        return sent[0]["status"], json.loads(sent[1]["body"])

    yield asked
    plane.close()


def test_a_body_that_does_not_arrive_is_refused_in_time(ask):
    status, document = ask("POST", "/predict")
    assert (status, document["error"]["code"]) == (408, "slow_body")


def test_a_page_that_fails_is_told_in_the_one_shape(ask, monkeypatch):
    monkeypatch.setattr(Front.live, "card", lambda: 1 / 0)
    status, document = ask("GET", "/card", b"")
    assert (status, document["error"]["code"]) == (500, "internal")


def test_a_page_is_shown(ask):
    assert ask("GET", "/routing", b"")[1]["weights"] == {"champion": 1.0}
