"""The promises are judged by what happened: tried on a small server that breaks them on purpose, and on one that does not."""

import subprocess
import sys

import httpx
import pytest

from bench import servers
from bench.results import SCENARIOS, Stressed, joined, read
from bench.servers import Tree
from bench.stress import attacks, dialects, doors, kills, overload, promises, report, restarts, running
from bench.stress.pulse import Pulse
from traffic.hostile import hostile
from traffic.load import Request

# Answers by what is in the body; forks workers, and replaces them if it is told to.
SERVER = r"""
import json, os, pickle, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
port, n_workers, replaces, manners = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "replaces", sys.argv[4]
PATHS = {"/predict": {"post": {}}, "/open": {"get": {}}, "/livez": {"get": {}}}
slots = threading.Semaphore(2)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *told): pass
    def answer(self, status, body=b"{}", **headers):
        head = {"content-type": "application/json", "content-length": len(body), **headers}
        lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in head.items()), "", ""]
        self.wfile.write("\r\n".join(lines).encode() + body)
    def do_GET(self):
        if self.path in ("/readyz", "/livez"): return self.answer(200)
        if self.path == "/open": return self.answer(200)
        if self.headers.get("authorization") != "Bearer good": return self.answer(401)
        if self.path == "/openapi.json": return self.answer(200, json.dumps({"paths": PATHS}).encode())
        self.answer(404)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if manners == "slots":
            if not slots.acquire(blocking=False): return self.answer(429, retry_after=1)
            time.sleep(0.05); slots.release(); return self.answer(200)
        if manners == "keys" and self.headers.get("authorization") != "Bearer good": return self.answer(401)
        if manners == "bad":
            if body.startswith(b"\x80\x04"): pickle.loads(body)
            if b"unheard_of" in body: return self.answer(500)
            if body.startswith(b"[[[["): self.close_connection = True; return
            if b"s3cr3t" in body[:300]: return self.answer(400, body[:300])
        self.answer(200)

class Server(ThreadingHTTPServer):
    request_queue_size, daemon_threads = 128, True

server = Server(("127.0.0.1", port), Handler)
def fork():
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end = time.process_time() + 0.12  # it computes
        while time.process_time() < end: pass
        server.serve_forever()
    return child
def stop(*_):
    for child in children: os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    os._exit(0)
children = {fork() for _ in range(n_workers)}
signal.signal(signal.SIGTERM, stop)
while True:
    child, _ = os.wait()
    children.discard(child)
    if replaces: children.add(fork())
"""


@pytest.fixture
def started(tmp_path):
    """Start the server in its manners, as a tree."""
    script, trees = tmp_path / "server.py", []
    script.write_text(SERVER)

    def start(manners, *, n_workers=1, replaces=True, port=None):
        port = port or servers.free_port()
        command = [
            sys.executable,
            "-E",
            str(script),
            str(port),
            str(n_workers),
            "replaces" if replaces else "-",
            manners,
        ]
        process = subprocess.Popen(command)
        tree = Tree(
            pid=process.pid,
            port=port,
            stop=lambda: servers.terminate(process),
            log=tmp_path / "log",
            exit_code=process.poll,
        )
        trees.append(tree)
        servers.wait(tree, lambda: answers(port))
        return tree

    yield start
    for tree in trees:
        tree.end()


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def url(tree):
    return f"http://127.0.0.1:{tree.port}"


ASKED = Request("valid", "POST", "/predict", {"content-type": "application/json"}, b"{}")


def stream(**aims):
    return hostile({"age": 3, "job": "fixed"}, {"age": "integer", "job": "text"}, set(), seed=5, **aims)


def test_an_attack_counts_what_fails_is_taken_leaks_and_is_unpickled(started):
    seen = [*zip(range(400), stream(), strict=False)]
    told = attacks.trapped(url(started("bad")), stream, n=400)
    sent = [each for _, each in seen]
    dropped = sum(each.body.startswith(b"[[[[") for each in sent)
    assert told["sent"] == sum(each["sent"] for each in told["by_kind"].values()) == 400
    assert told["failed"] == sum(b"unheard_of" in each.body and not each.body.startswith(b"\x80") for each in sent) > 0
    assert told["dropped"] >= dropped > 0
    assert told["taken"] > 0
    assert told["leaking"] > 0
    assert "it gives away a marked text" in told["leaks"]
    assert told["unpickled"]
    assert told["outbound"] > 0
    assert sum(each["taken"] for each in told["by_kind"].values()) == told["taken"]


def test_overload_sorts_what_was_offered(started, monkeypatch):
    monkeypatch.setattr(overload, "WARM_S", 0.1)
    monkeypatch.setattr(overload, "CAPACITY_S", 0.5)
    told = overload.overload(started("slots"), ASKED, seconds=1, seed=1, patience_s=5)
    parts = ("in_time", "late", "refused", "dropped", "failed")
    assert sum(told[part] for part in parts) == told["offered"] > 0
    assert told["refused"] > 0
    assert told["without_retry_after"] == told["failed"] == 0
    assert told["memory_mib"] > 0
    assert told["lives"]


@pytest.mark.parametrize("replaces", [True, False])
def test_a_killed_worker_is_seen_to_be_replaced_or_not(started, monkeypatch, replaces):
    monkeypatch.setattr(kills, "BEFORE_S", 0.6)
    told = kills.kill_one(
        started("good", n_workers=2, replaces=replaces), ASKED, Pulse(), patience_s=30 if replaces else 1.5
    )
    assert told["answered"] > 0
    assert (told["replaced_s"] is not None) == replaces
    assert told["lives"]


def test_restarts_count_what_fails_and_tell_how_each_ended(started):
    told = restarts.restart(lambda i, port: started("good", port=port), ASKED, probe="/readyz", n=2, seed=1)
    assert told["exit_codes"] == [0, 0]
    assert told["failed"] == sum(told["outcomes"].values()) <= told["sent"]
    assert told["sent"] > 0


def test_a_door_that_is_open_is_named(started):
    good, bad = {"authorization": "Bearer good"}, {"no key": {}, "unknown": {"authorization": "Bearer other"}}
    told = doors.doors(url(started("keys")), dialects.Locks(good=good, bad=bad), body=b"{}", named={})
    assert (told["listed"], told["doors"], told["probes"]) == (3, 3, 2)
    assert told["names"] == {"no key": ["GET /open"], "unknown": ["GET /open"]}


# ── what is made of it ──


def record(scenario):
    """Give what a scenario tells of a contender that held everything."""
    counts = dict.fromkeys(("failed", "dropped", "taken", "unexpected", "leaking", "outbound"), 0)
    kept = {
        "attacks": {**counts, "sent": 9, "faults": {}, "unpickled": False, "lives": True, "by_kind": {}},
        "kills": {
            "contained": True,
            "before_per_s": 50.0,
            "back_s": 3.0,
            "replaced_s": 2.0,
            "failed": 4,
            "outcomes": {"closed": 4},
            "missing": 0,
            "doubled": 0,
        },
        "overloads": {
            "limit": 9,
            "warm_s": 75.0,
            "capacity": 20.0,
            "capacity_after": 22.0,
            "offered": 200,
            "goodput": 0.95,
            "late": 3,
            "refused": 150,
            "without_retry_after": 0,
            "failed": 0,
            "dropped": 0,
            "refusal_ms": 2.0,
            "back_s": 0.0,
            "memory_mib": 200,
            "memory_most_mib": 210,
            "memory_after_mib": 205,
        },
        "restarts": {
            "probe": "/readyz",
            "restarts": 3,
            "sent": 900,
            "failed": 0,
            "outcomes": {},
            "blind": 0,
            "exit_codes": [0, 0, 0],
            "exit_codes_not_0": 0,
        },
        "doors": {"doors": 12, "open": {"no key": 0}, "says": "Keys."},
    }
    return kept[scenario]


def results(**changed):
    found = Stressed()
    found.about = {
        "day": "2026-11-26",
        "machine": "2 cores",
        "seed": 20,
        "n_rows": 100,
        "offered_s": 10.0,
        "n_attacks": 9,
        "n_restarts": 3,
        "contenders": [{"key": "ekiben", "title": "ekiben", "says": "as it is"}],
        "cases": [{"key": "a", "title": "a model"}],
    }
    for name in SCENARIOS:
        getattr(found, name).append({"contender": "ekiben", **record(name), **changed.get(name, {})})
    return found


def test_a_contender_that_held_everything_broke_nothing():
    assert list(promises.broken(results())) == []
    assert "✗" not in report.page(results())


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        ("attacks", {"failed": 1}),
        ("attacks", {"taken": 1}),
        ("attacks", {"leaking": 1}),
        ("attacks", {"faults": {"the body is not JSON": 1}}),
        ("attacks", {"unpickled": True}),
        ("kills", {"replaced_s": None}),
        ("kills", {"missing": 1}),
        ("overloads", {"without_retry_after": 1}),
        ("overloads", {"dropped": 1}),
        ("restarts", {"failed": 1}),
        ("restarts", {"exit_codes_not_0": 1}),
        ("doors", {"open": {"no key": 0, "ended": 1}}),
    ],
)
def test_a_count_that_is_not_0_breaks_a_promise(scenario, fault):
    broken = list(promises.broken(results(**{scenario: fault})))
    assert len(broken) == 1
    assert broken[0].startswith(f"{scenario}: ")
    assert f"**Broken: {broken[0]}.**" in report.page(results(**{scenario: fault}))


def test_a_time_is_shown_and_breaks_nothing():
    slow = results(overloads={"goodput": 0.1})
    assert list(promises.broken(slow)) == []
    assert "✗" in report.page(slow)


def test_what_could_not_be_tried_is_no_promise_kept():
    found = results()
    found.missing.append({"contender": "ekiben", "case": "doors", "why": "It did not start."})
    assert list(promises.broken(found)) == ["doors: it could not be tried. It did not start."]


def test_runs_are_kept_and_joined(tmp_path):
    ours, theirs = results(), results()
    theirs.about["contenders"] = [{"key": "bentoml", "title": "plain BentoML", "says": ""}]
    for name in SCENARIOS:
        getattr(theirs, name)[0]["contender"] = "bentoml"
    theirs.keep(tmp_path / "theirs.json")
    whole = joined([ours, read(tmp_path / "theirs.json", Stressed)])
    assert [each["key"] for each in whole.about["contenders"]] == ["ekiben", "bentoml"]
    assert all(len(getattr(whole, name)) == 2 for name in SCENARIOS)
    assert "| every refusal is well made, and one that is due | count | ✓ | – |" in report.page(whole)
    assert "| plain BentoML, in a container |" in report.page(whole)


def test_every_contender_and_scenario_is_known():
    assert tuple(running.SCENARIOS) == SCENARIOS
    assert {*running.CONTENDERS} == {*dialects.READY}
