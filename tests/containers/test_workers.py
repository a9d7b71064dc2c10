"""A worker's death within a container: killed from outside, replaced within, and nothing that was recorded is lost."""

import json
import os
import threading

import httpx
import pytest

import ekiben as ek
from ekiben.containers.recipe import USER
from ekiben.containers.trying import running_image
from traffic.faults import kill, until, workers_of


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of records that the container writes and this machine reads."""
    folder = tmp_path / "records"
    folder.mkdir()
    try:
        os.chown(folder, USER, USER)
    except PermissionError:
        folder.chmod(0o777)
    monkeypatch.setenv("EKIBEN_RECORDS", str(folder))
    return folder


def asks(url, row, heard, ended):
    """Ask until it is told to stop, and keep the id of every answer that arrived whole."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        while not ended.is_set():
            try:
                answer = http.post("/predict", json={"rows": [row]})
            except httpx.TransportError:
                ended.wait(0.02)  # of a worker that was killed
                continue
            if answer.status_code == httpx.codes.OK:
                heard.append(answer.json()["id"])


def test_a_worker_that_is_killed_is_replaced_in_its_container_and_loses_no_record(
    image, engine, linux, credit_packages, kept
):
    row = credit_packages["champion"].examples[0]["row"]
    heard, ended = [], threading.Event()
    environment = {"EKIBEN_RECORDS": "/records", "EKIBEN_WORKERS": "2"}
    with running_image(
        engine, image.ref, environment=environment, volumes={kept: "/records"}, cpus=2, memory_mb=2048
    ) as container:
        container.wait()
        (before,) = json.loads(engine.call("inspect", container.id).stdout)
        first = before["State"]["Pid"]
        until(lambda: len(workers_of(first)) == 2)
        threads = [threading.Thread(target=asks, args=(container.url, row, heard, ended)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                n_heard, there = len(heard), {*workers_of(first)}
                until(lambda n_heard=n_heard: len(heard) > n_heard + 20)
                kill(next(iter(there)))
                until(lambda there=there: len({*workers_of(first)} - there) == 1)
                n_heard = len(heard)
                until(lambda n_heard=n_heard: len(heard) > n_heard + 20)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        (after,) = json.loads(engine.call("inspect", container.id).stdout)
        _, code = container.stop()
        logged = engine.call("logs", container.id).stdout
    assert after["State"]["Pid"] == first
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]  # the container was not started again
    assert code == 0
    assert logged.count("a worker ended with code -9; another takes its place") == 3
    found = ek.records("credit_risk")["id"].tolist()
    assert len(found) == len({*found})
    assert {*heard} <= {*found}
    print(
        f"{len(heard)} answers through three deaths, all of them recorded; {len(found) - len(heard)} more were not heard"
    )
