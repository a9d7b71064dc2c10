"""Hostile requests: nothing fails, nothing leaks, nothing is fetched or unpickled; and valid ones beside them are answered."""

import pytest

from ekiben import routing
from traffic.hostile import hostile
from traffic.load import Request, mix, run
from traffic.verify import judge, listener

SEED = 20


@pytest.fixture(scope="session")
def stream(packages, row):
    columns = packages["champion"].schema.columns

    def make(**aims):
        kinds = {column.name: column.kind for column in columns}
        return hostile(row, kinds, {column.name for column in columns if column.nullable}, seed=SEED, **aims)

    return make


@pytest.fixture(scope="session")
def valid(row):
    import json

    def make(i):
        body = json.dumps({"rows": [row], "customer_id": f"customer-{i % 500}"}).encode()
        path = "/explain" if i % 20 == 0 else "/predict"
        return Request("valid", "POST", path, {"content-type": "application/json"}, body)

    return make


def _is_clean(tally):
    assert tally.n_unexpected == 0, tally.table()
    assert not tally.faults, tally.table()


def _attack(server, stream, tmp_path, n):
    touched = tmp_path / "touched"
    with listener() as outside:
        tally = run(server.url, stream(port=outside.port, touch=touched), clients=8, n=n, judge=judge)
    _is_clean(tally)
    assert outside.connections == 0
    assert not touched.exists()
    assert server.is_running


def test_no_hostile_request_fails_leaks_or_reaches_out(server, stream, tmp_path):
    _attack(server, stream, tmp_path, 10_000)


@pytest.mark.long
def test_no_hostile_request_of_many_fails(server, stream, tmp_path):
    _attack(server, stream, tmp_path, 100_000)


@pytest.mark.parametrize("seconds", [8, pytest.param(30, marks=pytest.mark.long)])
def test_a_hundred_clients_with_one_hostile_request_in_a_hundred_see_no_failure(server, stream, valid, seconds):
    tally = run(server.url, mix(valid, stream(), chance=0.01, seed=SEED), clients=100, seconds=seconds, judge=judge)
    _is_clean(tally)
    assert tally.sent > 100


def test_under_load_every_worker_assigns_alike(server, route, row):
    import json

    wrong = []

    def look(request, answer):
        unit = json.loads(request.body)["customer_id"]
        if json.loads(answer.body)["arm"] != routing.choose(route, unit).arm:
            wrong.append(unit)
        return []

    def asks():
        for i in range(10_000):
            yield Request(
                "valid", "POST", "/predict", {}, json.dumps({"rows": [row], "customer_id": f"c{i % 50}"}).encode()
            )

    tally = run(server.url, asks(), clients=20, n=400, judge=look)
    assert tally.n_unexpected == 0
    assert not wrong
