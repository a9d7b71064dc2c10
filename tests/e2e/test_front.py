"""The front in a real BentoML server: before everything, or as a middleware as older services have it."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import ekiben as ek
from ekiben import keys

BEHIND = """import bentoml
from ekiben.serving import Front, ModelService, config, read_spec

SPEC = read_spec(__file__)

@bentoml.service(name=SPEC.name, **config(SPEC))
class Older(ModelService, spec=SPEC):
    pass

Older.add_asgi_middleware(Front)
"""
GUARDED = """import bentoml
from ekiben.serving import ModelService, config, front, read_spec

SPEC = read_spec(__file__)

class Guard:
    def __init__(self, app, word):
        self.app, self.word = app, word

    async def __call__(self, scope, receive, send):
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and scope["path"] == "/predict" and headers.get(b"x-word") != self.word:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, receive, send)

@bentoml.service(name=SPEC.name, **config(SPEC))
class Guarded(ModelService, spec=SPEC):
    pass

front(Guarded)
Guarded.add_asgi_middleware(Guard, word=b"sesame")
"""


OPEN = """import bentoml
from ekiben.serving import ModelService, config, front, read_spec

SPEC = read_spec(__file__)
CORS = {
    "enabled": True,
    "access_control_allow_origins": ["https://shop.example"],
    "access_control_allow_methods": ["POST"],
    "access_control_allow_headers": ["authorization", "content-type"],
    "access_control_expose_headers": ["x-ekiben-id"],
}

@bentoml.service(name=SPEC.name, **config(SPEC), http={"cors": CORS})
class Open(ModelService, spec=SPEC):
    pass

front(Open)
"""


@pytest.fixture
def written(packages, tmp_path):
    def write(name, text):
        folder = ek.scaffold(tmp_path / name, arms={"champion": packages["champion"]})
        (folder / "service.py").write_text(text)
        return folder

    return write


def lines_of(log):
    """Give what the access log told, and the lines of BentoML's that name our endpoints."""
    lines = log.splitlines()
    ours = [json.loads(line) for line in lines if line.startswith('{"time"')]
    return ours, [line for line in lines if not line.startswith("{") and ("/predict" in line or "/schema" in line)]


def test_a_service_that_adds_the_front_as_a_middleware_keeps_working_and_tells_nothing_twice(written, row):
    with ek.serve(written("older", BEHIND)) as server:
        answer = httpx.post(f"{server.url}/predict", json={"rows": [row]})
        shown = httpx.get(f"{server.url}/schema")
        made_up = httpx.get(f"{server.url}/k3pt%0A2026-11-26 forged")
        log = server.log
    assert (answer.status_code, answer.json()["arm"], shown.status_code) == (200, "champion", 200)
    ours, bentomls = lines_of(log.read_text())
    assert [(line["endpoint"], line["code"]) for line in ours] == [
        ("predict", "ok"),
        ("schema", "ok"),
        ("", "not_found"),
    ]
    assert (made_up.status_code, "k3pt" in log.read_text()) == (404, False)
    assert ours[0]["id"] == answer.headers["x-ekiben-id"]
    assert bentomls == []


def test_a_middleware_of_the_author_guards_what_the_front_answers(written, row):
    with ek.serve(written("guarded", GUARDED)) as server:
        asked = {"url": f"{server.url}/predict", "json": {"rows": [row]}}
        assert httpx.post(**asked).status_code == 401
        assert httpx.post(**asked, headers={"x-word": "sesame"}).status_code == 200


def test_bentoml_s_setting_of_cors_holds_for_every_path_and_asks_for_no_key_in_advance(written, row, tmp_path):
    token, lines = keys.make("shop", ["read"])
    (tmp_path / "keys.toml").write_text(lines)
    origin = "access-control-allow-origin"
    with ek.serve(written("open", OPEN), environment={"EKIBEN_KEYS_FILE": str(tmp_path / "keys.toml")}) as server:

        def asked(path, of, key=token, method="POST", **beside):
            told = {"origin": of} | ({} if key is None else {"authorization": f"Bearer {key}"}) | beside
            body = {"json": {"rows": [row]}} if method == "POST" else {}
            return httpx.request(method, f"{server.url}{path}", headers=told, **body)

        for path in ("/predict", "/explain", "/invocations", "/v2/models/open/infer", "/metrics"):
            before = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
            let_in = asked(path, "https://shop.example", None, "OPTIONS", **before)
            assert (let_in.status_code, let_in.headers[origin]) == (200, "https://shop.example")
            assert origin not in asked(path, "https://evil.example", None, "OPTIONS", **before).headers
        answers = [asked("/predict", "https://shop.example", key) for key in (token, None)]
        assert [each.status_code for each in answers] == [200, 401]  # a page may read why it was refused
        for each in answers:
            assert each.headers[origin] == "https://shop.example"
            assert each.headers["access-control-expose-headers"] == "x-ekiben-id"
        assert origin not in asked("/predict", "https://evil.example").headers
        shown = asked("/metrics", "https://shop.example", method="GET").headers
        assert shown.get_list(origin) == ["https://shop.example"]


def test_a_service_that_is_stopped_answers_what_it_has_taken_and_tells_all_of_it(packages, tmp_path, row):
    folder = ek.scaffold(tmp_path / "drained", arms={"champion": packages["champion"]}, workers=2)
    server = ek.serve(folder)
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: httpx.post(f"{server.url}/predict", json={"rows": [row] * 50}), range(40))]
    server.stop()
    assert {answer.status_code for answer in answers} == {200}
    ours, _ = lines_of(server.log.read_text())
    assert {line["id"] for line in ours} >= {answer.headers["x-ekiben-id"] for answer in answers}
