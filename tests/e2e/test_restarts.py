"""Services that are stopped, killed and started again: nobody who asks through a balancer hears of it."""

import json
import os
import signal
from functools import partial

import httpx
import pytest

import ekiben as ek
from ekiben.running import _free_port
from traffic.arrivals import offer
from traffic.balancer import balancing
from traffic.faults import kill, until, workers_of
from traffic.load import Request, meanwhile


@pytest.fixture(scope="module")
def alone(packages, tmp_path_factory):
    """A service of one arm and two workers."""
    return ek.scaffold(
        tmp_path_factory.mktemp("restarts") / "alone", arms={"champion": packages["champion"]}, workers=2
    )


def asking(url, row):
    """Let fifty requests a second arrive, and give what became of all of them."""
    body = json.dumps({"rows": [row]}).encode()
    request = Request("valid", "POST", "/predict", {"content-type": "application/json"}, body)
    return meanwhile(request, partial(offer, url, per_second=50, seconds=3600, seed=11))


def started(folder, port=None, **environment):
    return ek.serve(folder, port=port, environment=environment)


READY = ("/readyz", "/ping", "/health", "/v2/health/ready", "/v2/models/alone/ready")


def test_a_service_that_is_told_to_end_says_so_first_and_still_answers(alone, row):
    with started(alone, EKIBEN_DRAIN_S="60") as server, httpx.Client(base_url=server.url, timeout=120) as http:
        assert [http.get(path).status_code for path in READY] == [200] * len(READY)
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
        until(lambda: [http.get(path).status_code for path in READY] == [503] * len(READY))  # by either worker
        assert http.get("/livez").status_code == 200
        answer = http.post("/predict", json={"rows": [row]})
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        for each in workers_of(server.pid):
            each.terminate()  # who is told twice ends at once
        until(lambda: not server.is_running)
        assert server.exit_code == 0
    assert "not ready any more; answering for 60 s" in server.log.read_text()


@pytest.mark.parametrize("n_restarts", [2, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_no_request_fails_while_services_behind_a_balancer_are_restarted_in_turn(alone, row, n_restarts):
    ports = [_free_port(0), _free_port(0)]
    servers = [started(alone, port, EKIBEN_DRAIN_S="4") for port in ports]
    try:
        with balancing(ports) as balancer, asking(f"http://127.0.0.1:{balancer.port}", row) as asked:
            for n in range(n_restarts):
                until(lambda: len(balancer.ready) == 2)
                servers[n % 2].stop()
                assert servers[n % 2].exit_code == 0
                servers[n % 2] = started(alone, ports[n % 2], EKIBEN_DRAIN_S="4")
    finally:
        for each in servers:
            each.stop()
    tally = asked.result()
    assert tally.sent > 50 * n_restarts
    assert tally.outcomes == {200: tally.sent}, tally.table()


def test_a_worker_that_dies_in_a_container_is_replaced(alone, row):
    with started(alone, BENTOML_CONTAINERIZED="true") as server:
        until(lambda: len(workers_of(server.pid)) == 2)
        before = workers_of(server.pid)
        kill(before[0])
        until(lambda: len({*workers_of(server.pid)} - {*before}) == 1)
        assert httpx.post(f"{server.url}/predict", json={"rows": [row]}, timeout=120).status_code == 200
        assert server.log.read_text().count("a worker ended with code -9; another takes its place") == 1


def test_a_service_whose_workers_cannot_start_ends_and_says_why(alone, tmp_path):
    (tmp_path / "keys.toml").write_text("nothing that keys are written in")
    with pytest.raises(ek.EkibenError, match="keys"):
        started(alone, EKIBEN_KEYS_FILE=str(tmp_path / "keys.toml"))
