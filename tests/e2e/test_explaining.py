"""A service whose explainer hangs, crashes, grows and fails: it predicts on, and says what became of each explanation."""

import json
import os
import signal
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

import ekiben as ek
from ekiben import keys, spec
from ekiben.errors import RequestError
from ekiben.recording.reading import read
from ekiben.recording.segments import segments
from odd_explainers import CRASHES, GROWS, HANGS, RAISES, offered
from traffic.faults import kill, until, workers_of

PATIENCE_S = 240
LONGEST_S = 10
N_MANY = 10_000  # rows that take seconds to explain
UNIT_OF = """
    def unit_of(self, request, body):
        return None  # and what fits is not answered before the service has seen it
"""
BUSY_S = 0.8  # of processor time, after which a process has read them, and explains


def settled(act, wanted):
    """Ask until what comes is what is wanted, and give it."""
    return until(lambda: [found] if wanted(found := act()) else [], PATIENCE_S)[0]


@pytest.fixture(scope="module")
def rooms():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"rooms": rng.integers(1, 9, 300).astype(float), "area": rng.normal(60, 20, 300)})
    return X, 10 * X["rooms"] + X["area"] + rng.normal(0, 4, 300)


@pytest.fixture(scope="module")
def odd(rooms, tmp_path_factory):
    """Two workers that explain by a method of the test's own; whoever is at something bad leaves a mark."""
    path = offered(tmp_path_factory.mktemp("path"))
    sys.path.insert(0, path)
    try:
        package = ek.pack(RandomForestRegressor(5).fit(*rooms), name="flats", reference=rooms[0], explainer="odd")
    finally:
        sys.path.remove(path)
    folder = ek.scaffold(tmp_path_factory.mktemp("services") / "flats", arms={"champion": package}, workers=2)
    told = folder / "ekiben.toml"
    told.write_text(
        told.read_text().replace("explain_ms = 1000", "explain_ms = 800")
        + f"\n[explain]\nlongest_s = {LONGEST_S}\nmemory_mb = 700\nwaiting = 3\n"
        + "\n[limits]\nexplain_rows = 3\n"
    )
    marks, home = tmp_path_factory.mktemp("marks"), tmp_path_factory.mktemp("home")
    tokens = {
        name: keys.make(name, ["read", "explain"] if name != "narrow" else ["read"]) for name in ("a", "b", "narrow")
    }
    (home / "keys.toml").write_text("\n".join(lines for _, lines in tokens.values()))
    environment = {
        "PYTHONPATH": path,
        "ODD_MARKS": str(marks),
        "EKIBEN_HOME": str(home),
        "EKIBEN_KEYS_FILE": str(home / "keys.toml"),
    }
    with ek.serve(folder, environment=environment) as server:
        heads = {name: {"authorization": f"Bearer {token}"} for name, (token, _) in tokens.items()}
        http = httpx.Client(base_url=server.url, timeout=PATIENCE_S, headers=heads["a"], trust_env=False)
        with http:
            settled(lambda: explained(http, 2.0), lambda answer: answer.status_code == 200)
            yield SimpleNamespace(
                http=http, server=server, heads=heads, marks=marks, home=home, folder=folder, environment=environment
            )


def explained(http, rooms, query="", **more):
    return http.post(f"/explain{query}", json={"rows": [{"rooms": rooms, "area": 60.0}]}, **more)


def predicts(odd):
    answer = odd.http.post("/predict", json={"rows": [{"rooms": 3.0, "area": 60.0}]})
    return answer.status_code == 200


def fetched(odd, answer):
    """Follow a ticket to its end."""
    assert answer.status_code == 202, answer.text
    return settled(lambda: odd.http.get(answer.headers["location"]), lambda found: found.status_code != 202)


def test_an_exact_explanation_is_told_with_its_rung(odd):
    answer = settled(lambda: explained(odd.http, 3.0), lambda answer: answer.status_code == 200).json()
    assert (answer["rung"], answer["explanations"][0]["contributions"]["rooms"]) == ("exact", 3.0)
    assert "'odd' is exact" in answer["why"]
    assert answer["elapsed_ms"] > 0


@pytest.mark.parametrize(
    ("asks", "status", "code", "says"),
    [
        (HANGS, 503, "explainer_failed", "longest_s"),
        (CRASHES, 503, "explainer_failed", "end its process"),
        (GROWS, 503, "explainer_failed", "memory_mb"),
        (RAISES, 500, "internal", "Its log says why"),
    ],
)
def test_an_explanation_that_misbehaves_fails_alone(odd, asks, status, code, says):
    answer = explained(odd.http, asks)
    assert predicts(odd)
    found = answer if answer.status_code != 202 else fetched(odd, answer)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text
    assert says in found.json()["error"]["message"]
    assert predicts(odd)
    again = settled(lambda: explained(odd.http, 4.0), lambda answer: answer.status_code == 200)
    assert again.json()["explanations"][0]["contributions"]["rooms"] == 4.0


def test_no_value_of_a_row_is_in_the_log(odd):
    for asks in (CRASHES, RAISES):
        answer = explained(odd.http, asks)
        if answer.status_code == 202:
            fetched(odd, answer)
    text = odd.server.log.read_text()
    assert "RuntimeError at odd_explainers.py" in text
    assert str(RAISES) not in text


def test_beyond_what_may_wait_the_next_hears_when_to_come_back(odd):
    answers = []

    def hangs():
        answers.append(explained(alone, HANGS, "?wait=0"))
        return answers[-1]

    def unread():
        """Fill every place, and send what is no body."""
        settled(hangs, lambda answer: answer.status_code == 429)
        return alone.post("/explain", content=b"{", headers={"content-type": "application/json"})

    with httpx.Client(base_url=odd.server.url, headers=odd.heads["a"], timeout=120) as alone:  # one worker
        refused = settled(unread, lambda answer: answer.status_code == 429)  # nobody reads what nobody will explain
        assert {answer.status_code for answer in answers} == {202, 429}
        assert refused.json()["error"]["code"] == "busy"
        assert refused.json() == answers[-1].json()
        assert refused.headers["retry-after"] == "1"
        assert predicts(odd)
        for answer in answers:
            if answer.status_code == 202:
                assert alone.delete(answer.headers["location"]).json()["status"] == "cancelled"
    settled(lambda: explained(odd.http, 4.0), lambda answer: answer.status_code == 200)


def test_a_ticket_that_is_cancelled_by_any_worker_stops_its_work(odd):
    for mark in odd.marks.iterdir():
        mark.unlink()
    ticket = explained(odd.http, HANGS, "?wait=0").headers["location"]
    (mark,) = settled(lambda: list(odd.marks.iterdir()), len)
    pid = int(mark.name)
    for _ in range(6):  # by new connections, so that both workers are met
        seen = httpx.get(f"{odd.server.url}{ticket}", headers={**odd.heads["a"], "connection": "close"})
        assert seen.status_code == 202, seen.text
        assert (seen.json()["ticket"], seen.json()["status"]) == (ticket.rpartition("/")[2], "running")
        assert seen.headers["retry-after"].isdigit()
    gone = httpx.delete(f"{odd.server.url}{ticket}", headers={**odd.heads["a"], "connection": "close"})
    assert gone.json()["status"] == "cancelled"
    settled(lambda: psutil.pid_exists(pid), lambda lives: not lives)
    assert odd.http.get(ticket).status_code == 410


def test_a_ticket_belongs_to_the_key_that_it_was_given_to(odd):
    answer = explained(odd.http, 5.0, "?wait=0")
    ticket = answer.headers["location"]
    assert odd.http.get(ticket, headers=odd.heads["b"]).status_code == 404
    assert odd.http.delete(ticket, headers=odd.heads["b"]).status_code == 404
    assert odd.http.get(ticket, headers=odd.heads["narrow"]).status_code == 403
    two = [*odd.heads["b"].items(), *odd.heads["a"].items()]  # one that lets in, and one that owns
    for shown in (two, two[::-1]):
        assert httpx.get(f"{odd.server.url}{ticket}", headers=shown).status_code == 401
    ((name, value),) = odd.heads["a"].items()
    other = {name: value.replace("Bearer ", "bearer  ")}  # the same token
    assert httpx.get(f"{odd.server.url}{ticket}", headers=other).status_code in (200, 202)
    found = fetched(odd, answer)
    assert found.status_code == 200
    assert found.json()["explanations"][0]["contributions"]["rooms"] == 5.0
    assert found.headers["x-ekiben-id"] == answer.headers["x-ekiben-id"] == found.json()["id"]
    assert odd.http.get(f"/explain/{'0' * 32}").status_code == 404
    assert odd.http.get("/explain/../../etc/passwd").status_code == 404
    assert odd.http.put(ticket).status_code == 405


def test_what_a_query_asks_for_is_told_and_nothing_else(odd):
    one = settled(lambda: explained(odd.http, 6.0, "?top=1&seed=2"), lambda answer: answer.status_code == 200).json()
    assert one["explanations"][0]["contributions"] == {"rooms": 8.0, "other": 0.0}
    one = settled(lambda: explained(odd.http, 6.0, "?columns=area"), lambda answer: answer.status_code == 200).json()
    assert one["explanations"][0]["contributions"] == {"area": 0.0, "other": 6.0}
    for query in ("?method=sampling", "?columns=nowhere", "?top=0", "?seed=x", "?wait=-1", "?tops=1", "?top=1&top=2"):
        refused = explained(odd.http, 6.0, query)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_query"), query


def test_an_explanation_is_recorded_so_that_it_can_be_made_again(odd):
    answer = settled(lambda: explained(odd.http, 7.0, "?seed=5"), lambda answer: answer.status_code == 200).json()
    found = [each for path in segments(odd.home / "records" / "flats") for each in read(path)[1]]
    (record,) = [each for each in found if each.id == answer["id"]]
    (told,) = keys_of(record)
    assert (record.endpoint, record.inputs) == ("explain", [[7.0, 60.0]])
    assert (told["method"], told["rung"], told["seed"]) == ("odd", "exact", 5)
    assert {"ekiben", "reference", "elapsed_ms"} <= set(told)


def keys_of(record):
    from ekiben import codecs

    return [each["explanation"] for each in codecs.decode(record.outputs)]


def test_a_worker_that_is_killed_leaves_no_process_and_its_tickets_are_lost(odd):
    for mark in odd.marks.iterdir():
        mark.unlink()
    ticket = explained(odd.http, HANGS, "?wait=0").headers["location"]
    (mark,) = settled(lambda: list(odd.marks.iterdir()), len)
    child = psutil.Process(int(mark.name))
    os.kill(child.ppid(), signal.SIGKILL)
    settled(child.is_running, lambda lives: not lives)
    settled(lambda: len(workers_of(odd.server.pid)), lambda n: n == 2)
    lost = settled(lambda: status_of(odd, ticket), lambda status: status is not None)
    assert lost == (410, "lost")
    settled(lambda: answers(odd, 4.0), lambda status: status == 200)


def status_of(odd, ticket):
    try:
        found = httpx.get(f"{odd.server.url}{ticket}", headers=odd.heads["a"])
    except httpx.TransportError:
        return None
    return (found.status_code, found.json()["error"]["code"]) if found.status_code == 410 else None


def answers(odd, rooms):
    try:
        return httpx.post(
            f"{odd.server.url}/explain", json={"rows": [{"rooms": rooms, "area": 60.0}]}, headers=odd.heads["a"]
        ).status_code
    except httpx.TransportError:
        return None


def test_a_service_that_ends_leaves_nothing_behind(odd):
    children = [child for worker in workers_of(odd.server.pid) for child in worker.children(recursive=True)]
    assert children
    odd.server.stop()
    settled(lambda: [child for child in children if child.is_running()], lambda left: not left)


def test_a_sampled_explanation_keeps_to_its_time_and_can_be_made_again_from_its_record(rooms, tmp_path):
    """The audit: from the record and the package alone, bit for bit."""
    X, worth = rooms
    model = RandomForestClassifier(8, random_state=0).fit(X, worth > 100)
    package = ek.pack(model, name="dear", reference=X, explainer="sampling")
    folder = ek.scaffold(tmp_path / "dear", arms={"champion": package})
    asked = {"rows": [{"rooms": 3.0, "area": 70.0}]}
    with (
        ek.serve(
            folder, environment={"EKIBEN_HOME": str(tmp_path / "home"), "EKIBEN_RECORDS": str(tmp_path / "kept")}
        ) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_S, trust_env=False) as http,
    ):
        answer = settled(
            lambda: http.post("/explain?seed=11&wait=2", json=asked), lambda each: each.status_code == 200
        ).json()
        later = server.explain(pd.DataFrame(asked["rows"]), wait=0, top=1, seed=11)  # by a ticket, which it follows
        with pytest.raises(RequestError, match="offers: sampling"):
            server.explain(pd.DataFrame(asked["rows"]), method="anchor")
    assert {*later[0].contributions} in ({"rooms", "other"}, {"area", "other"})
    assert (answer["rung"], "standard_errors" in answer["explanations"][0]) == ("sampled", True)
    decisions = ek.records(tmp_path / "kept" / "dear", endpoint="explain")
    told = decisions[decisions["id"] == answer["id"]].iloc[0]
    assert told["digest"] == package.digest
    assert told["output.reference"] == package.manifest["data_digest"]
    rows = pd.DataFrame([{name: told[f"input.{name}"] for name in X}])
    again = package.explain(
        rows, method=told["output.method"], seed=int(told["output.seed"]), rounds=int(told["output.rounds"])
    )[0]
    assert dict(again.contributions) == answer["explanations"][0]["contributions"]
    assert dict(again.standard_errors) == answer["explanations"][0]["standard_errors"]
    assert spec.read(folder).budgets.explain_ms == 1000


def test_others_are_answered_while_a_process_explains_many_predictions(tmp_path):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 12))).add_prefix("x")
    model = RandomForestRegressor(100, max_depth=8, random_state=0).fit(X, X.prod(axis=1) + X.sum(axis=1))
    package = ek.pack(model, name="flats", reference=X, overview=False)
    folder = ek.scaffold(tmp_path / "flats", arms={"champion": package})
    (folder / "ekiben.toml").write_text(
        (folder / "ekiben.toml").read_text() + f"\n[limits]\nmax_rows = {N_MANY}\nexplain_rows = {N_MANY}\n"
    )
    service = folder / "service.py"
    service.write_text(service.read_text().replace("\n\n\nfront(", UNIT_OF + "\n\nfront("))
    row, came = dict.fromkeys(X, 0.25), []
    with ek.serve(folder, environment={"EKIBEN_HOME": str(tmp_path / "home")}) as server:
        worker = psutil.Process(server.pid)
        url, before_s = f"{server.url}/predict", sum(worker.cpu_times()[:2])

        def explained_many():
            asked = {"rows": [row] * N_MANY, "explain": True}
            with httpx.stream("POST", url, json=asked, timeout=PATIENCE_S, trust_env=False) as answer:
                came.append("many")
                return len(json.loads(answer.read())["explanations"])

        with ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False, timeout=PATIENCE_S) as http:
            many = pool.submit(explained_many)
            until(lambda: many.done() or sum(worker.cpu_times()[:2]) - before_s > BUSY_S, PATIENCE_S)
            for _ in range(3):
                assert http.post(url, json={"rows": [row]}).status_code == 200
                assert http.get(f"{server.url}/livez").status_code == 200
                came.append("other")
            assert many.result() == N_MANY
    assert came == ["other"] * 3 + ["many"]


@pytest.fixture(scope="module")
def alternatives(rooms, tmp_path_factory):
    """Two workers that give counterfactuals of a private column, by tickets."""
    X, worth = rooms
    model = RandomForestClassifier(8, random_state=0).fit(X, worth > 100)
    contract = ek.contract(X).edit("area", private=True)
    package = ek.pack(model, name="dear", reference=X, contract=contract, explainer="counterfactual")
    folder = ek.scaffold(tmp_path_factory.mktemp("services") / "dear", arms={"champion": package}, workers=2)
    home = tmp_path_factory.mktemp("home")
    with ek.serve(folder, environment={"EKIBEN_HOME": str(home), "EKIBEN_RECORDS": str(home / "records")}) as server:
        yield SimpleNamespace(server=server, home=home)


def holding(folder, value):
    """Name the files that hold a number, as text or as the bytes of a double."""
    wanted = (repr(value).encode(), struct.pack("<d", value), struct.pack(">d", value))
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    return [path.name for path in found if any(each in path.read_bytes() for each in wanted)]


def asked_anew(alternatives, path, act=httpx.get):
    """Ask by a connection of its own, so that any worker may be the one that answers."""
    return act(f"{alternatives.server.url}{path}", headers={"connection": "close"}, trust_env=False)


def test_a_ticket_with_private_values_is_answered_by_every_worker_and_no_file_ever_holds_them(alternatives):
    rooms, area = 2.390625, 41.140625
    asked = {"rows": [{"rooms": rooms, "area": area}]}
    with httpx.Client(base_url=alternatives.server.url, timeout=PATIENCE_S, trust_env=False) as http:
        answer = http.post("/explain?wait=0", json=asked)
    assert answer.status_code == 202, answer.text
    ticket, clear = answer.headers["location"], []

    def fetched():
        clear.extend(holding(alternatives.home, area))
        return asked_anew(alternatives, ticket)

    found = settled(fetched, lambda answer: answer.status_code != 202)
    assert (found.status_code, str(area) in found.text) == (200, True)
    for _ in range(8):  # both workers are met
        again = fetched()
        assert (again.status_code, again.content) == (200, found.content)
    assert asked_anew(alternatives, ticket, httpx.delete).json()["status"] == "cancelled"
    assert fetched().status_code == 410
    assert clear == holding(alternatives.home, area) == []
    assert str(area) not in alternatives.server.log.read_text()
    assert holding(alternatives.home, rooms)  # the record keeps what is not private


def test_a_ticket_whose_result_was_in_the_memory_of_a_worker_that_ended_is_lost(alternatives):
    with httpx.Client(base_url=alternatives.server.url, timeout=PATIENCE_S, trust_env=False) as http:
        answer = http.post("/explain?wait=0", json={"rows": [{"rooms": 2.0, "area": 41.25}]})
    ticket = answer.headers["location"]
    settled(lambda: asked_anew(alternatives, ticket), lambda answer: answer.status_code == 200)
    kill(*workers_of(alternatives.server.pid))

    def lost():
        try:
            return asked_anew(alternatives, ticket)
        except httpx.TransportError:
            return None

    refused = settled(lost, lambda answer: answer is not None and answer.status_code not in (200, 503))
    assert (refused.status_code, refused.json()["error"]["code"]) == (410, "lost")


def test_an_explanation_comes_on_the_scale_that_is_asked_for(rooms, tmp_path):
    X, worth = rooms
    package = ek.pack(LogisticRegression(max_iter=1000).fit(X, worth > 100), name="dear", reference=X)
    folder = ek.scaffold(tmp_path / "dear", arms={"champion": package})
    row = pd.DataFrame({"rooms": [3.0], "area": [70.0]})
    home = str(tmp_path / "home")
    with (
        ek.serve(folder, environment={"EKIBEN_HOME": home, "EKIBEN_RECORDS": str(tmp_path / "kept")}) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_S, trust_env=False) as http,
    ):
        asked = {"rows": row.to_dict("records")}
        answer = settled(
            lambda: http.post("/explain?units=probability&wait=20", json=asked), lambda each: each.status_code == 200
        ).json()
        own, margin = (server.explain(row, units=units, wait=20)[0] for units in (None, "margin"))
        refused = http.post("/explain?units=target&wait=20", json=asked)
        wrong = http.post("/explain?units=odds", json=asked)
    one = package.explain(row, units="probability")[0]
    assert answer["explanations"][0]["contributions"] == pytest.approx(dict(one.contributions), abs=1e-12)
    assert (answer["rung"], answer["explanations"][0]["method"]) == ("exact", "linear-interventional")
    assert answer["why"] == "'linear' explains in 'probability'"
    assert (own.units, margin.units) == ("log-odds", "margin")
    assert dict(own.contributions) == pytest.approx(dict(margin.contributions))
    assert (refused.status_code, "probability, log-odds, margin" in refused.json()["error"]["message"]) == (400, True)
    assert (wrong.status_code, "log-odds, margin, probability, target" in wrong.text) == (400, True)
    told = ek.records(tmp_path / "kept" / "dear", endpoint="explain")
    assert told[told["id"] == answer["id"]].iloc[0]["output.units"] == "probability"
