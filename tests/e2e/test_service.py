"""What a running service owes its callers."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest
from openapi_spec_validator import validate

import ekiben as ek
from ekiben import routing, running
from ekiben.errors import BuildError, RequestError, SpecError, UnreachableError
from traffic.faults import is_free, kill, until, worker_of, workers_of


def test_the_service_answers_what_the_packages_answer(server, packages, route, credit):
    rows = credit[1].head(30)
    for arm, package in packages.items():
        answered = server.predict(rows, unit=routing.unit_for(route, arm))
        assert answered.attrs["arm"] == arm
        assert answered.attrs["model"] == str(package.ref)
        pd.testing.assert_frame_equal(answered, package.predict(rows), check_exact=True)


def test_the_service_explains_what_the_packages_explain(server, packages, route, credit):
    rows = credit[1].head(3)
    for arm, package in packages.items():
        over_http = server.explain(rows, unit=routing.unit_for(route, arm))
        for there, here in zip(over_http, package.explain(rows), strict=True):
            assert there.contributions == here.contributions
            assert there.faithfulness_error < 1e-4
            assert there.elapsed_ms > 0


def test_every_answer_carries_its_id_its_arm_and_its_model(http, row):
    answer = http.post("/predict", json={"rows": [row], "customer_id": "c-1"})
    body = answer.json()
    assert (answer.headers["x-ekiben-id"], answer.headers["x-ekiben-arm"]) == (body["id"], body["arm"])
    assert answer.headers["x-ekiben-model"] == body["model"]
    assert "x-ekiben-id" in http.post("/predict", json={"rows": []}).headers


def test_a_unit_keeps_its_arm_in_every_worker(http, row, route):
    units = [f"customer-{i}" for i in range(60)]
    apart = {"connection": "close"}  # a connection each, so that both workers answer
    for unit in units:
        body = {"rows": [row], "customer_id": unit}
        seen = {http.post("/predict", json=body, headers=apart).json()["arm"] for _ in range(3)}
        assert seen == {routing.choose(route, unit).arm}


def test_a_unit_may_stand_in_the_rows(http, row, route):
    arms = {http.post("/predict", json={"rows": [{**row, "customer_id": 17}]}).json()["arm"] for _ in range(5)}
    assert arms == {routing.choose(route, "17").arm}


def test_two_units_in_one_request_are_refused(http, row):
    answer = http.post("/predict", json={"rows": [{**row, "customer_id": 1}, {**row, "customer_id": 2}]})
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"][0]["column"] == "customer_id"


def test_what_does_not_fit_is_named_by_row_and_column(http, row):
    wrong = {**row, "Age": "forty", "Income": None}
    del wrong["Job"]
    answer = http.post("/predict", json={"rows": [row, wrong]})
    fields = answer.json()["error"]["fields"]
    assert answer.status_code == 400
    assert {(field["row"], field["column"]) for field in fields} == {(1, "Age"), (1, "Job")}
    assert "forty" not in answer.text


def test_the_contract_the_card_and_the_route_are_shown(http, packages):
    assert [column["name"] for column in http.get("/schema").json()["inputs"]] == list(
        packages["champion"].schema.names
    )
    assert http.get("/card").json()["arms"]["champion"]["digest"] == packages["champion"].digest
    assert http.get("/routing").json()["weights"] == {"champion": 0.7, "challenger": 0.3}


def test_paths_and_methods_that_are_not_there_are_refused_alike(http):
    nowhere, wrong = http.get("/nowhere"), http.get("/predict")
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_probes_metrics_and_the_page_answer(http):
    for path in ("/livez", "/readyz", "/healthz", "/", "/static_content/swagger-ui-bundle.js"):
        assert http.get(path).status_code == 200
    until(lambda: 'ekiben_answers_total{arm="champion",code="ok",endpoint="predict"}' in http.get("/metrics").text)
    assert "bentoml_service_request_total" in http.get("/metrics").text
    assert "googletagmanager" not in http.get("/").text


def test_openapi_is_valid_and_holds_the_real_columns_and_one_real_example(http, packages):
    document = http.get("/docs.json").json()
    validate(document)
    schemas = document["components"]["schemas"]
    assert list(schemas["Row"]["properties"]) == list(packages["champion"].schema.names)
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answered = http.post("/predict", json={**example, "customer_id": routing.unit_for(ek.only("champion"), "champion")})
    assert answered.status_code == 200


def test_the_log_holds_no_value_and_no_traceback(server, http, row):
    http.post("/predict", json={"rows": [{**row, "Job": {"secret": "k3pt-0ut"}}]})
    http.post("/predict", content=b'{"rows": k3pt-0ut')
    log = server.log.read_text()
    assert "k3pt-0ut" not in log
    assert "Traceback" not in log


def test_the_client_raises_what_the_service_refuses(server, credit):
    with pytest.raises(RequestError, match="'Job' is missing") as refused:
        server.predict(credit[1].head(1).drop(columns="Job"))
    assert refused.value.status == 400
    assert refused.value.faults[0].column == "Job"


def test_a_server_that_cannot_start_says_why(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "broken", arms={"champion": packages["champion"]})
    (folder / "service.py").write_text("raise RuntimeError('the author made a mistake')\n")
    with pytest.raises(BuildError, match="the author made a mistake"):
        ek.serve(folder)


def test_a_missing_model_is_one_error_that_says_what_to_run(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "elsewhere", arms={"champion": packages["champion"]}, remake="make demo")
    with pytest.raises(BuildError, match=r"is not\. Run: make demo"):
        ek.serve(folder, environment={"BENTOML_HOME": str(tmp_path / "empty")})


def test_a_port_that_is_taken_is_refused(server, folder):
    with pytest.raises(SpecError, match=f"Got {server.port}, which is taken"):
        ek.serve(folder, port=server.port)


def test_one_worker_is_served_alone_or_beside_a_supervisor_that_starts_another(packages, row, tmp_path):
    folder = ek.scaffold(tmp_path / "one", arms={"champion": packages["champion"]})
    with ek.serve(folder) as alone, ek.serve(folder, supervised=True) as watched:
        assert [each.pid for each in workers_of(alone.pid)] == [alone.pid]
        (worker,) = workers_of(watched.pid)
        assert worker.pid != watched.pid
        frame = pd.DataFrame([row])
        pd.testing.assert_frame_equal(alone.predict(frame), watched.predict(frame))
        counted = httpx.get(f"{alone.url}/metrics").text
        assert 'ekiben_answers_total{arm="champion",code="ok",endpoint="predict"} 1.0' in counted
        metrics = Path(alone._metrics)
        assert [*metrics.iterdir()]
        kill(worker_of(alone.pid), worker)
        until(lambda: not alone.is_running)
        until(lambda: [each.pid for each in workers_of(watched.pid)] not in ([], [worker.pid]))
    assert watched.exit_code == 0  # although it was told to end while it started another one
    assert not metrics.exists()


CALLER = """
import sys
import ekiben as ek

server = ek.serve(sys.argv[1], supervised=sys.argv[2] == "supervised")
print(server.pid, server.port, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["alone", "supervised"])
@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_by_itself_when_the_process_that_started_it_is_killed(packages, row, tmp_path, way, told):
    folder = ek.scaffold(tmp_path / "kernel", arms={"champion": packages["champion"]})
    with subprocess.Popen([sys.executable, "-c", CALLER, folder, way], stdin=-1, stdout=-1, text=True) as caller:
        pid, port = map(int, caller.stdout.readline().split())
        server = psutil.Process(pid)
        everyone = [server, *server.children(recursive=True)]
        assert len(everyone) > (way == "supervised")
        assert httpx.post(f"http://127.0.0.1:{port}/predict", json={"rows": [row]}).status_code == 200
        caller.send_signal(told)
    until(lambda: not any(map(lives, everyone)))
    assert is_free(port)


def lives(process):
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_a_server_that_cannot_be_started_leaves_no_end_of_a_pipe(tmp_path):
    ours = psutil.Process()
    before = ours.num_fds()
    with pytest.raises(FileNotFoundError):
        running._start([str(tmp_path / "nowhere")], str(tmp_path), tmp_path / "log", {})
    assert ours.num_fds() == before


def test_a_folder_whose_spec_cannot_be_read_is_refused_with_what_is_wrong(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "odd", arms={"champion": packages["champion"]})
    (folder / "ekiben.toml").write_text('name = "odd\n')
    with pytest.raises(BuildError, match=r"ekiben\.toml"):
        ek.serve(folder)


def test_a_stopped_server_is_gone(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "short", arms={"champion": packages["champion"]})
    server = ek.serve(folder)
    server.stop()
    server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
    with pytest.raises(UnreachableError, match="Is it running"):
        ek.connect(server.url).schema()
