"""The front alone, as an ASGI application: what it answers before any BentoML is asked."""

import asyncio
import json
import re
import socket
import threading
from pathlib import Path

import bentoml
import httpx
import pytest
import uvicorn
from starlette.middleware.cors import CORSMiddleware

from asking import Caller, ask
from ekiben import protocol
from ekiben.front import FILES, Front
from planes import Held, plane_of, unplanned

PATIENCE_S = 120


@pytest.fixture
def live(champion, monkeypatch):
    plane = plane_of({"champion": champion}, timeout_s=PATIENCE_S)
    monkeypatch.setattr(Front, "live", plane)
    yield plane
    plane.close()


def asked(method, path, *parts, app=None, **settings):
    """Ask a front for a path; without a body, the sender falls silent after its headers."""
    caller = Caller(*parts, silent=not parts)
    if not parts:
        caller.parts = [b""]
    front = Front(app)
    try:
        return asyncio.run(ask(front, method, path, caller=caller, **settings))
    finally:
        if front._opened:
            front._opened.close()


class Behind:
    """What stands behind the front, and sees what is handed on."""

    def __init__(self):
        self.scopes = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def test_a_body_that_does_not_arrive_is_refused_in_time(champion, monkeypatch):
    plane = plane_of({"champion": champion}, timeout_s=0.2)
    monkeypatch.setattr(Front, "live", plane)
    answer = asked("POST", "/predict")
    plane.close()
    assert (answer.status, answer.json["error"]["code"]) == (408, "slow_body")


def test_a_page_that_fails_is_told_in_the_one_shape(live, monkeypatch):
    monkeypatch.setattr(live, "card", lambda: 1 / 0)
    answer = asked("GET", "/card", b"")
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")


def test_a_page_is_shown_and_carries_an_id(live):
    answer = asked("GET", "/routing", b"")
    assert answer.json["weights"] == {"champion": 1.0}
    assert len(answer.headers[protocol.ID]) == 32


@pytest.mark.parametrize("path", ["/predict", "/explain", "/schema", "/"])
def test_before_the_models_are_loaded_a_request_is_told_to_come_back(monkeypatch, path):
    monkeypatch.setattr(Front, "live", None)
    answer = asked("POST" if path in ("/predict", "/explain") else "GET", path, b"{}")
    assert (answer.status, answer.json["error"]["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "1"


def test_what_is_bentoml_s_is_handed_on_untouched(live):
    behind = Behind()
    handed = [("GET", "/readyz"), ("GET", "/livez"), ("HEAD", "/metrics"), *(("GET", path) for path in FILES)]
    for method, path in handed:
        assert asked(method, path, b"", app=behind).status == 204
    assert [(scope["method"], scope["path"]) for scope in behind.scopes] == handed


def test_the_page_asks_for_files_that_are_there(live):
    page, shipped = asked("GET", "/", b"").body.decode(), Path(bentoml.__file__).parent / "_internal" / "server"
    assert set(re.findall(r'"\.(/static_content/[^"]*)"', page)) == set(FILES)
    assert all((shipped / path[1:]).is_file() for path in FILES)


@pytest.mark.parametrize("path", ["/static_content/k3pt", "/static_content/\nforged", "/static_content/../app.py"])
def test_a_path_that_a_caller_makes_up_reaches_nothing_of_bentoml_s_which_counts_by_path(live, path):
    behind = Behind()
    answer = asked("GET", path, b"", app=behind)
    assert (answer.status, answer.json["error"]["code"], behind.scopes) == (404, "not_found", [])


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_is_no_request_is_handed_on_untouched(live, kind):
    behind, scope = Behind(), {"type": kind, "path": "/predict"}

    async def nothing(*_):
        raise AssertionError

    asyncio.run(Front(behind)(scope, nothing, nothing))
    assert behind.scopes == [scope]


def test_what_is_still_to_be_told_is_written_when_the_service_ends(live, champion, capsys):
    async def app(scope, receive, send):
        await send({"type": "lifespan.shutdown.complete"})

    sent = []

    async def send(message):
        sent.append(message["type"])

    async def story():
        front = Front(app)
        body = json.dumps({"rows": [champion.examples[0]["row"]]}).encode()
        answer = await ask(front, "POST", "/predict", body, headers={"content-type": "application/json"})
        await front({"type": "lifespan"}, None, send)
        return answer

    answer = asyncio.run(story())
    told = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert answer.json["id"] in told
    assert sent == ["lifespan.shutdown.complete"]


def test_what_was_answered_is_counted_before_the_counters_are_shown_and_pages_are_not(live, champion, monkeypatch):
    monkeypatch.setattr("ekiben.observing.GATHERED_S", 60)
    shown = []

    class Shown(Behind):
        async def __call__(self, scope, receive, send):
            shown.extend(what[:3] for what in live.seen)
            await super().__call__(scope, receive, send)

    async def story():
        front = Front(Shown())
        body = json.dumps({"rows": [champion.examples[0]["row"]]}).encode()
        for path in ("/predict", "/explain"):
            await ask(front, "POST", path, body, headers={"content-type": "application/json"})
        await ask(front, "GET", "/card", b"")
        await ask(front, "GET", "/metrics", b"")
        front._opened.close()

    asyncio.run(story())
    assert shown == [("predict", "champion", "ok"), ("explain", "champion", "ok")]


def test_the_log_never_names_a_path_that_the_caller_made_up(live, capsys):
    async def story():
        front = Front(None)
        answer = await ask(front, "GET", "/k3pt-0ut", b"")
        front._opened.close()
        return answer.headers[protocol.ID]

    asked_id, text = asyncio.run(story()), capsys.readouterr().out
    (line,) = [json.loads(each) for each in text.splitlines() if asked_id in each]
    assert (line["endpoint"], line["code"]) == ("", "not_found")
    assert "k3pt" not in text


def test_a_new_data_plane_takes_the_place_of_the_old_one(live, champion, monkeypatch):
    async def story():
        front = Front(None)
        first = await ask(front, "GET", "/schema", b"")
        other = plane_of({"champion": champion}, unit=None)
        monkeypatch.setattr(Front, "live", other)
        second = await ask(front, "GET", "/schema", b"")
        other.close()
        return first.json["unit"], second.json["unit"]

    assert asyncio.run(story()) == ("customer_id", None)


class Ending(uvicorn.Server):
    """A server that lets a model go only once it is ending."""

    held = None

    async def shutdown(self, sockets=None):
        self.held.go.set()
        await super().shutdown(sockets)


class Lives:
    """An application that only lives and ends."""

    async def __call__(self, scope, receive, send):
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})


def test_what_waits_for_a_model_is_answered_and_told_before_the_service_ends(champion, monkeypatch, capsys):
    held = Held(champion.adapter)
    plane = plane_of({"champion": unplanned(champion, adapter=held)})
    monkeypatch.setattr(Front, "live", plane)
    server = Ending(uvicorn.Config(Front(Lives()), log_config=None, lifespan="on"))
    server.held = held
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=server.run, args=([listening],))
        serving.start()
        answers = []
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/predict"
        body = {"rows": [champion.examples[0]["row"]]}
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, timeout=PATIENCE_S)))
        asking.start()
        assert held.began.wait(PATIENCE_S)
        server.should_exit = True
        for thread in (asking, serving):
            thread.join(PATIENCE_S)
    plane.close()
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["id"] in capsys.readouterr().out


@pytest.mark.parametrize(("origin", "allowed"), [("https://shop.example", True), ("https://elsewhere.example", False)])
def test_a_browser_of_another_origin_is_let_in_where_the_author_says_so(live, champion, origin, allowed):
    front = Front(None)
    app = CORSMiddleware(front, allow_origins=["https://shop.example"], allow_methods=["POST"])
    body = json.dumps({"rows": [champion.examples[0]["row"]]}).encode()

    async def story():
        before = await ask(
            app, "OPTIONS", "/predict", b"", headers={"origin": origin, "access-control-request-method": "POST"}
        )
        answer = await ask(
            app, "POST", "/predict", body, headers={"origin": origin, "content-type": "application/json"}
        )
        front._opened.close()
        return before, answer

    before, answer = asyncio.run(story())
    assert (before.status, answer.status) == (200 if allowed else 400, 200)
    assert [each.headers.get("access-control-allow-origin") == origin for each in (before, answer)] == [allowed] * 2


@pytest.mark.parametrize("path", ["/predict", "/explain", "/invocations"])
def test_a_body_that_is_packed_is_refused_and_one_that_says_it_is_not_is_read(live, champion, path):
    row = champion.examples[0]["row"]
    body = json.dumps({"dataframe_records": [row]} if path == "/invocations" else {"rows": [row]}).encode()

    async def story():
        front = Front(None)
        kind = {"content-type": "application/json"}
        found = [
            await ask(front, "POST", path, body, headers={**kind, "content-encoding": told})
            for told in ("gzip", "identity, br", "Identity")
        ]
        front._opened.close()
        return found

    *packed, plain = asyncio.run(story())
    assert [each.status for each in packed] == [415, 415]
    assert packed[0].json["error"]["code"] == "unsupported_media_type"
    assert packed[0].headers["accept-encoding"] == "identity"
    assert plain.status == 200
