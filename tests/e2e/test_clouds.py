"""The contracts of clouds, played as their documents describe them: how a container is started, asked, and ended."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from signal import SIGTERM

import httpx
import pandas as pd
import pytest
import yaml

import ekiben as ek
from bench.servers import free_port
from ekiben.running import child_environment
from traffic.faults import until

PATIENCE_S = 120
HELD_S = 6  # how long a service drains that is asked while it does


@pytest.fixture(scope="module")
def alone(packages, tmp_path_factory):
    """A service of one arm, as an image holds it."""
    return ek.scaffold(tmp_path_factory.mktemp("services") / "alone", arms={"champion": packages["champion"]})


@contextmanager
def entered(folder, tmp_path, *arguments, **told):
    """Run the entrypoint of an image, as a platform does that gives it these arguments and this environment."""
    environment = {"BENTO_PATH": str(folder), "EKIBEN_HOME": str(tmp_path), "BENTOML_HOST": "127.0.0.1", **told}
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "ekiben.starting", *arguments],
            env=child_environment({"EKIBEN_DRAIN_S": "0", **environment}),
            cwd=tmp_path,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.send_signal(SIGTERM)
        process.wait(120)


def until_healthy(http, path, process, log):
    def is_healthy():
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return http.get(path, timeout=2).status_code == 200  # SageMaker waits no longer
        except httpx.TransportError:
            return False

    until(is_healthy, 120)


def asked(port):
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120)


def chance(packages, row):
    return float(packages["champion"].predict(pd.DataFrame([row]))["score_1"].iloc[0])


def test_sagemaker_starts_pings_invokes_and_ends_a_container(alone, packages, row, tmp_path):
    port = free_port()
    told = {"SAGEMAKER_BIND_TO_PORT": str(port), "EKIBEN_DRAIN_S": str(HELD_S)}
    with entered(alone, tmp_path, "serve", **told) as (process, log), asked(port) as http:
        until_healthy(http, "/ping", process, log)
        line = ",".join("" if value is None else str(value) for value in row.values())
        csv = http.post("/invocations", content=f"{line}\n", headers={"content-type": "text/csv; header=absent"})
        assert csv.status_code == 200
        body = json.dumps({"dataframe_records": [row]})
        answer = http.post("/invocations", content=body, headers={"content-type": "application/json"})
        assert answer.json()["predictions"][0]["score_1"] == chance(packages, row)
        wrong = http.post("/invocations", content=b"[", headers={"content-type": "application/json"})
        assert 400 <= wrong.status_code < 500
        process.send_signal(SIGTERM)
        until(lambda: http.get("/ping").status_code == 503)
        assert http.post("/invocations", content=body, headers={"content-type": "application/json"}).status_code == 200
        assert process.wait(120) == 0  # SageMaker would kill it after 30 s; by default it drains for 3


def test_vertex_asks_where_its_variables_say(alone, packages, row, tmp_path):
    port = free_port()
    told = {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/8",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/8:predict",
        "AIP_MODE": "PREDICTION",
        "AIP_STORAGE_URI": "",
        "BENTOML_PORT": "3000",  # as an image says it
    }
    with entered(alone, tmp_path, **told) as (process, log), asked(port) as http:
        until_healthy(http, told["AIP_HEALTH_ROUTE"], process, log)
        answer = http.post(told["AIP_PREDICT_ROUTE"], json={"instances": [row, row], "parameters": {}})
        assert answer.status_code == 200, answer.text
        assert [each["score_1"] for each in answer.json()["predictions"]] == [chance(packages, row)] * 2
        assert len(answer.content) < 1.5e6


def test_azure_s_probes_are_answered_and_its_scores_are_ours(alone, packages, row, tmp_path):
    folder = ek.export(alone, target="azureml", image="registry.example.com/alone:1", out=tmp_path / "azure")
    deployment = yaml.safe_load((folder / "deployment.yml").read_text())
    routes, port = deployment["environment"]["inference_config"], free_port()
    with entered(alone, tmp_path, BENTOML_PORT=str(port)) as (process, log), asked(port) as http:
        until_healthy(http, routes["readiness_route"]["path"], process, log)
        assert http.get(routes["liveness_route"]["path"]).status_code == 200
        headers = {
            "x-ms-client-request-id": "7",
            "azureml-model-deployment": "blue",
            "content-type": "application/json",
        }
        answer = http.post(routes["scoring_route"]["path"], content=json.dumps({"inputs": [row]}), headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["score_1"] == chance(packages, row)
        assert http.post(routes["scoring_route"]["path"], json={"inputs": [{}]}).status_code in (400, 422)


def mounted(folder, n, text):
    """Swap what a folder holds as a kubelet does: a link to another folder takes the place of the link to the last."""
    (folder / f"..{n}").mkdir(parents=True)
    (folder / f"..{n}" / "route.toml").write_text(text)
    (folder / "..next").symlink_to(f"..{n}")
    (folder / "..next").replace(folder / "..data")
    if not (folder / "route.toml").is_symlink():
        (folder / "route.toml").symlink_to("..data/route.toml")


def test_running_workers_take_up_another_route_and_keep_it_where_the_next_is_wrong(packages, row, tmp_path):
    folder = ek.scaffold(
        tmp_path / "both", arms=packages, route=ek.canary(stable="champion", canary="challenger", percent=0)
    )
    mounted(tmp_path / "mount", 1, "[route]\nweights = { champion = 1, challenger = 0 }\n")
    told = {"EKIBEN_ROUTE_FILE": str(tmp_path / "mount" / "route.toml")}
    with ek.serve(folder, environment=told) as server, asked(server.port) as http:

        def arm():
            answer = http.post("/predict", json={"rows": [row]})
            assert answer.status_code == 200, answer.text
            return answer.json()["arm"]

        def changes():
            lines = http.get("/metrics").text.splitlines()
            return {line.split()[0]: float(line.split()[1]) for line in lines if "ekiben_route_changes_total{" in line}

        assert arm() == "champion"
        mounted(tmp_path / "mount", 2, "[route]\nweights = { champion = 0, challenger = 1 }\n")
        until(lambda: arm() == "challenger", PATIENCE_S)
        assert http.get("/routing").json()["weights"] == {"challenger": 1.0, "champion": 0.0}
        mounted(tmp_path / "mount", 3, "[route]\nweights = { chalenger = 1 }\n")
        until(lambda: changes().get('ekiben_route_changes_total{what="refused"}'), PATIENCE_S)
        assert changes() == {
            'ekiben_route_changes_total{what="refused"}': 1.0,
            'ekiben_route_changes_total{what="taken"}': 1.0,
        }
        assert arm() == "challenger"
        mounted(tmp_path / "mount", 4, '[route]\nweights = { champion = 1 }\nshadows = ["challenger"]\n')
        until(lambda: arm() == "champion", PATIENCE_S)
        text = 'ekiben_answers_total{arm="challenger",code="ok",endpoint="shadow"}'
        until(lambda: arm() and text in http.get("/metrics").text, PATIENCE_S)


def test_a_file_says_which_arm_answers(packages, row, tmp_path):
    folder = ek.scaffold(
        tmp_path / "both", arms=packages, route=ek.canary(stable="champion", canary="challenger", percent=0)
    )
    (tmp_path / "route.toml").write_text("[route]\nweights = { champion = 0, challenger = 1 }\n")
    told = {"EKIBEN_ROUTE_FILE": str(tmp_path / "route.toml")}
    with ek.serve(folder, environment=told) as server, asked(server.port) as http:
        assert http.get("/routing").json()["weights"] == {"challenger": 1.0, "champion": 0.0}
        assert http.post("/predict", json={"rows": [row]}).json()["arm"] == "challenger"
    (tmp_path / "route.toml").write_text("[route]\nweights = { chalenger = 1 }\n")
    with pytest.raises(ek.EkibenError, match=r"route\.toml: route\.weights\.chalenger must be an arm"):
        ek.serve(folder, environment=told)
    with pytest.raises(ek.EkibenError, match="EKIBEN_ROUTE_FILE must name a file"):
        ek.serve(folder, environment={"EKIBEN_ROUTE_FILE": os.devnull + "/x"})
