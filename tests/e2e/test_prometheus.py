"""A real Prometheus scrapes a real service: the rules hold, the alerts come when they should, and the dashboard has data."""

import json
import math
from pathlib import Path

import httpx
import pytest

import ekiben as ek
from ekiben.spec import Records
from prometheus import program, prometheus
from traffic.faults import full_disk, until, worker_of

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"


@pytest.fixture
def watched(packages, dsn, tmp_path, monkeypatch):
    """A service of one arm whose records go to Postgres, and a Prometheus that watches it."""
    program()
    monkeypatch.setenv("EKIBEN_RECORDS_DSN", dsn)
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "records"))
    arms, records = {"champion": packages["champion"]}, Records(to="postgres")
    folder = ek.scaffold(tmp_path / "watched", arms=arms, records=records)
    with ek.serve(folder) as server:
        (tmp_path / "prometheus").mkdir()
        settings = {"scrapes": server.url, "rules": OPERATIONS / "alerts.yml"}
        with (
            prometheus(tmp_path / "prometheus", **settings) as watching,
            httpx.Client(base_url=server.url, trust_env=False, timeout=120) as http,
        ):
            yield server, watching, http


def states(watching):
    return {rule["name"]: rule["state"] for rule in watching.rules()}


def numbers(found):
    """Give the numbers of a query's answer that are some."""
    values = [float(each["value"][1]) for each in found]
    return [value for value in values if math.isfinite(value)]


def scrapes(watching):
    """Give how many values the service's own counter has by now, one a scrape."""
    found = watching.query('count_over_time(ekiben_answers_total{code="ok",endpoint="predict"}[5m])')
    return sum(int(each["value"][1]) for each in found)


def test_the_rules_are_healthy_the_alerts_come_and_the_dashboard_has_data(watched, row):
    server, watching, http = watched

    def ask(**changes):
        for path in ("/predict", "/explain?wait=60"):
            body = {"rows": [row | changes]}
            assert http.post(path, json=body).status_code == 200
        so_far = scrapes(watching)
        until(lambda: scrapes(watching) > so_far)

    # ── a service that is well
    until(lambda: watching.query("ekiben_unseen_total"))  # from the start, or a first burst was no rise
    ask(Job="astronaut")
    until(lambda: {rule["health"] for rule in watching.rules()} == {"ok"})
    assert len(watching.rules()) > 5
    assert not [rule["lastError"] for rule in watching.rules() if "lastError" in rule]
    assert {state for name, state in states(watching).items() if name != "EkibenSlow"} == {"inactive"}

    # ── the world has moved, all at once
    assert http.post("/predict", json={"rows": [row | {"Job": "cosmonaut"}] * 200}).status_code == 200
    until(lambda: states(watching)["EkibenWorldMoved"] == "firing")

    # ── one that refuses: its answers would be late, or cannot be recorded
    for _ in range(2):
        late = http.post("/predict", json={"rows": [row]}, headers={"x-ekiben-deadline-ms": "0"})
        with full_disk(worker_of(server.pid)):
            unrecorded = http.post("/predict", json={"rows": [row]})
        assert (late.status_code, unrecorded.status_code) == (504, 503)
        ask()
    until(lambda: states(watching)["EkibenDecisionsUnrecorded"] == "firing")
    until(lambda: states(watching)["EkibenAnswersFail"] == "pending")  # for five minutes before it wakes somebody
    stirred = {name for name, state in states(watching).items() if state != "inactive"}
    assert stirred <= {"EkibenDecisionsUnrecorded", "EkibenAnswersFail", "EkibenSlow", "EkibenWorldMoved"}

    # ── every line of the dashboard
    panels = json.loads((OPERATIONS / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) > 10
    until(lambda: not [expression for expression in asked if not numbers(watching.query(expression))])
