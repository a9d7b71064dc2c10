"""What a service answered is on the disk: counted against what its callers heard, whatever became of the process."""

import gzip
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import databases
import ekiben as ek
from ekiben.serving import ServiceError, _keeper
from ekiben.spec import Records
from traffic.faults import draw_victims, full_disk, is_free, kill, until, worker_of, workers_of

SEED = 9


@pytest.fixture
def recorded(packages, tmp_path, monkeypatch):
    """Serve one arm with records in a folder of the test's own."""
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "records"))

    def serve(name="kept", port=None, **settings):
        arms = {"champion": packages["champion"]}
        folder = ek.scaffold(tmp_path / name, arms=arms, unit="customer_id", **settings)
        return ek.serve(folder, port=port, supervised=True)

    return serve


def ask_on(server, row, heard, go):
    """Ask until it is told to stop, and keep the id of every answer that arrived whole."""
    n = 0
    with httpx.Client(base_url=server.url, timeout=5, trust_env=False) as http:
        while not go.is_set():
            n += 1
            try:
                answer = http.post("/predict", json={"rows": [row], "customer_id": f"c-{n}"})
                if answer.status_code == httpx.codes.OK:
                    heard.append(answer.json()["id"])
            except httpx.HTTPError:
                go.wait(0.05)  # nobody listens just now


def test_each_decision_is_a_row(recorded, packages, row, tmp_path):
    with recorded() as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        first = http.post("/predict", json={"rows": [row, row], "customer_id": "c-7"}).json()
        tensors = http.get("/v2/models/kept").json()["inputs"]
        inputs = [{**each, "shape": [1], "data": [row[each["name"]]]} for each in tensors]
        second = http.post("/v2/models/kept/infer", json={"inputs": inputs})
        refused = http.post("/predict", json={"rows": [{}]})
        found = ek.records("kept")
        of_folder = ek.records(tmp_path / "kept")
    assert refused.status_code == 400
    pd.testing.assert_frame_equal(of_folder, found)
    assert found["id"].tolist() == [first["id"]] * 2 + [second.headers["x-ekiben-id"]]
    assert found["row"].tolist() == [0, 1, 0]
    assert found["unit"].tolist()[:2] == ["c-7", "c-7"]
    assert found["unit"].isna().tolist() == [False, False, True]
    assert {*found["arm"]} == {"champion"}
    assert {*found["digest"]} == {packages["champion"].digest}
    assert found[[f"input.{name}" for name in row]].iloc[0].tolist() == [*row.values()]
    scores = first["predictions"][0]["scores"]
    assert found[[f"output.score_{label}" for label in scores]].iloc[0].tolist() == [*scores.values()]
    assert (found["latency_ms"] > 0).all()
    command = [Path(sys.executable).with_name("ekiben"), "records", "kept"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert "3 decisions: champion 3" in shown
    out = tmp_path / "kept.csv"
    subprocess.run([*command, "--out", out], check=True, capture_output=True, env=dict(os.environ))
    assert len(out.read_text().splitlines()) == 4


def test_what_must_not_be_kept_in_clear_is_nowhere_on_the_disk(recorded, row, tmp_path):
    secret, column = "k3pt-0ut-4711", next(name for name, value in row.items() if isinstance(value, str))
    told = Records(hash=("customer_id",), drop=(column,))
    with recorded(records=told) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        for _ in range(2):
            http.post("/predict", json={"rows": [row], "customer_id": secret}).raise_for_status()
        found = ek.records("kept")
    assert found[f"input.{column}"].isna().all()
    assert found["unit"].nunique() == 1
    assert secret not in found["unit"].tolist()
    for path in (tmp_path / "records").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_a_private_column_is_recorded_as_a_hash_whatever_the_spec_forgot(people, tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "records"))
    rows, risk = people
    contract = ek.contract(rows).edit("job", private=True).edit("income", private=True)
    model = make_pipeline(
        make_column_transformer(
            (SimpleImputer(), ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["job"])
        ),
        LogisticRegression(max_iter=500),
    ).fit(rows, risk)
    package = ek.pack(model, name="secret", reference=rows, contract=contract)
    row = dict(package.examples[0]["row"], job="k3pt-0ut-4711")
    folder = ek.scaffold(tmp_path / "kept", arms={"only": package}, records=Records(drop=("income",)))
    with ek.serve(folder) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        for _ in range(2):
            http.post("/predict", json={"rows": [row]}).raise_for_status()
        http.post("/explain", json={"rows": [row]}).raise_for_status()
    found = ek.records(folder)
    assert found["input.job"].nunique() == 1
    assert found["input.income"].isna().all()
    assert found["input.age"].tolist() == [row["age"]] * 2
    kept = [path for path in (tmp_path / "records").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        assert b"k3pt-0ut-4711" not in (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())


@contextmanager
def under_load(server, row):
    """Let four callers ask, and hold what they heard against what was recorded once they have stopped."""
    heard, go = [], threading.Event()
    askers = [threading.Thread(target=ask_on, args=(server, row, heard, go)) for _ in range(4)]
    for each in askers:
        each.start()
    try:
        yield heard
    finally:
        go.set()
        for each in askers:
            each.join()
    found = ek.records("kept")
    assert found["id"].is_unique
    assert {*heard} <= {*found["id"]}


def kill_workers(server, heard, n_kills):
    for n in range(n_kills):
        so_far = len(heard)
        until(lambda so_far=so_far: len(heard) > so_far + 20)
        alive = workers_of(server.pid)
        kill(alive[n % len(alive)])
    so_far = len(heard)
    until(lambda: len(heard) > so_far + 20)


class Upheld:
    """A service that is started again at its port when its supervisor has died, as an init does."""

    def __init__(self, serve):
        self._serve, self.server, self.n_restarts = serve, serve(None), 0

    @property
    def url(self):
        return self.server.url

    def strike(self, draw):
        """Kill a worker, the supervisor, or all; where the supervisor died, start anew."""
        victims = draw_victims(self.server.pid, draw)
        kill(*victims)
        if victims[0].pid == self.server.pid:
            self.server.stop()
            until(
                lambda: is_free(self.server.port), 120
            )  # its workers end too, those that have just begun to start at last
            self.server, self.n_restarts = self._serve(self.server.port), self.n_restarts + 1
        return len(victims)


@pytest.mark.parametrize("n_kills", [4, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_workers_and_supervisors_killed_at_random_under_load_lose_and_double_nothing_that_was_answered(
    recorded, row, n_kills
):
    draw = random.Random(SEED)
    service = Upheld(lambda port: recorded(port=port, workers=2))
    try:
        with under_load(service, row) as heard:
            n_died = []
            for _ in range(n_kills):
                more(heard, 20)
                n_died.append(service.strike(draw))
            more(heard, 20)
    finally:
        service.server.stop()
    print(f"{n_kills} kills, {service.n_restarts} of supervisors; {len(heard)} answers were heard")
    assert 1 < service.n_restarts < n_kills  # workers too, and both
    assert max(n_died) > 1  # at once


def test_a_full_disk_refuses_or_answers_and_counts_as_the_spec_says(recorded, row):
    for policy, status in (("refuse", 503), ("answer", 200)):
        name = f"full_{policy}"
        with recorded(name, records=Records(when_full=policy)) as server:
            with httpx.Client(base_url=server.url, trust_env=False) as http:
                body = {"rows": [row], "customer_id": "c-7"}
                assert http.post("/predict", json=body).status_code == 200
                with full_disk(worker_of(server.pid)):
                    full = http.post("/predict", json=body)
                assert full.status_code == status
                if status == 503:
                    assert full.json()["error"]["code"] == "not_recorded"
                    assert full.headers["retry-after"] == "1"
                again = http.post("/predict", json=body)
                assert again.status_code == 200
                told = http.get("/metrics").text
            found = ek.records(name)
        assert again.json()["id"] in found["id"].tolist()
        lost = [line for line in told.splitlines() if line.startswith("ekiben_unrecorded_total")]
        assert [float(line.split()[-1]) for line in lost] == ([1.0] if policy == "answer" else [0.0])


@pytest.mark.parametrize(("to", "variable"), [("off", ""), ("file", "off")])
def test_records_may_be_off(recorded, monkeypatch, to, variable):
    monkeypatch.setenv("EKIBEN_RECORDS", variable)
    assert _keeper(SimpleNamespace(spec=SimpleNamespace(records=Records(to=to))), {}, print) is None


def test_a_service_whose_records_cannot_be_written_does_not_start(packages, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path / "file"))
    folder = ek.scaffold(tmp_path / "kept", arms={"champion": packages["champion"]})
    with pytest.raises(ek.EkibenError, match="Set EKIBEN_RECORDS"):
        ek.serve(folder)


# ── in Postgres


@pytest.fixture
def own_postgres():
    """A server that this test may stop."""
    server = databases.Postgres().start()
    yield server
    server.remove()


def shipped_ids(postgres):
    return [each["id"] for each in postgres.ask("SELECT id FROM ekiben_records WHERE service = 'kept'")]


@contextmanager
def under_load_to(postgres, recorded, row, monkeypatch, **settings):
    """Serve with records in Postgres under load; in the end each id that was heard must be there once."""
    monkeypatch.setenv("EKIBEN_RECORDS_DSN", postgres.dsn())
    heard, go = [], threading.Event()
    with recorded(records=Records(to="postgres"), workers=2, **settings) as server:
        askers = [threading.Thread(target=ask_on, args=(server, row, heard, go)) for _ in range(4)]
        for each in askers:
            each.start()
        try:
            yield server, heard
        finally:
            go.set()
            for each in askers:
                each.join()
        assert len(heard) > 100
        until(lambda: {*heard} <= {*shipped_ids(postgres)})
        found = shipped_ids(postgres)
        assert len(found) == len({*found})
        by_dsn, by_file = ek.records("kept"), ek.records(Path(os.environ["EKIBEN_RECORDS"]) / "kept")
    pd.testing.assert_frame_equal(by_dsn, by_file, check_exact=True)


def more(heard, n=100):
    so_far = len(heard)
    until(lambda: len(heard) > so_far + n)


def waiting(server):
    told = httpx.get(f"{server.url}/metrics", trust_env=False).text
    lines = [line for line in told.splitlines() if line.startswith("ekiben_records_waiting_bytes")]
    return float(lines[0].split()[-1]) if lines else 0.0


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.long)])
def test_a_database_that_is_away_under_load_loses_and_doubles_nothing(
    own_postgres, recorded, row, monkeypatch, seconds
):
    with under_load_to(own_postgres, recorded, row, monkeypatch) as (server, heard):
        for leave, come_back in (
            (own_postgres.stop, own_postgres.start),
            (own_postgres.halt, own_postgres.go_on),
        ):
            more(heard)
            leave()
            back = time.monotonic() + seconds
            more(heard, 500)
            until(lambda: waiting(server) > 10_000)
            until(lambda back=back: time.monotonic() > back, seconds + 60)
            come_back()
            more(heard)
            so_far = {*heard[:-50]}
            until(lambda so_far=so_far: so_far <= {*shipped_ids(own_postgres)})
    print(f"twice away for {seconds} s; {len(heard)} answers were heard")


@pytest.mark.parametrize("n_kills", [4, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_processes_that_are_killed_while_they_ship_lose_and_double_nothing(
    own_postgres, recorded, row, monkeypatch, n_kills
):
    with under_load_to(own_postgres, recorded, row, monkeypatch) as (server, heard):
        kill_workers(server, heard, n_kills)
        (holder,) = until(lambda: holders(server))  # the last kill may have met it
        kill(holder)
        more(heard)
        until(lambda: [each.pid for each in holders(server)] not in ([], [holder.pid]))


def holders(server):
    """Find the processes that hold the lock of the folder: the shipper's."""
    path = Path(os.environ["EKIBEN_RECORDS"]) / "kept" / "shipping.lock"
    number = path.stat().st_ino
    pids = {int(line.split()[4]) for line in Path("/proc/locks").read_text().splitlines() if f":{number} " in line}
    return [each for each in workers_of(server.pid) if each.pid in pids]


def test_a_service_starts_and_answers_where_its_database_is_away_and_the_next_one_ships(
    own_postgres, recorded, row, monkeypatch, tmp_path
):
    monkeypatch.setenv("EKIBEN_RECORDS_DSN", own_postgres.dsn())
    own_postgres.stop()
    body = {"rows": [row], "customer_id": "c-7"}
    with recorded(records=Records(to="postgres")) as server:
        heard = [httpx.post(f"{server.url}/predict", json=body, trust_env=False).json()["id"] for _ in range(10)]
    own_postgres.start()
    with ek.serve(tmp_path / "kept"):
        until(lambda: {*shipped_ids_or_none(own_postgres)} == {*heard})


def shipped_ids_or_none(postgres):
    try:
        return shipped_ids(postgres)
    except databases.asyncpg.UndefinedTableError:
        return []


@pytest.mark.parametrize(("dsn", "told"), [("", "Neither is set"), ("mysql://me:hush@x/db", "Its scheme is another")])
def test_a_service_whose_database_cannot_be_meant_does_not_start(tmp_path, monkeypatch, dsn, told):
    monkeypatch.setenv("EKIBEN_RECORDS", str(tmp_path))
    monkeypatch.setenv("EKIBEN_RECORDS_DSN", dsn)
    inputs = SimpleNamespace(names=("age",), columns=())
    contract = SimpleNamespace(signature=SimpleNamespace(inputs=inputs))
    spec = SimpleNamespace(records=Records(to="postgres"), unit=None, arms={}, hidden=lambda _inputs: [])
    with pytest.raises(ServiceError, match=told) as refused:
        _keeper(SimpleNamespace(spec=spec, name="kept", contract=contract), {}, None)
    assert "hush" not in str(refused.value)
