"""Who is measured: how each peer is started, how it is asked for a row, and where its answer holds the probability."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.environments import Environment
from bench.models import Case, Row

Answer = Any


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a peer is started with."""

    environment: Environment
    serves: str  # keys of the models, parted by commas
    port: int
    models: Path
    work: Path  # a folder of its own
    workers: int = 1  # processes that compute
    limit: int | None = None  # requests that a process takes at once

    def command(self, name: str) -> str:
        return self.environment.command(name)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to serve a model over HTTP."""

    key: str
    title: str
    says: str  # how it is set up, for the reader of the figures
    command: Callable[[Start], list[str]]
    path: Callable[[Case], str]
    body: Callable[[Case, Row], dict[str, Any]]
    chance: Callable[[Answer], float]
    prepare: str | None = None  # a script that writes the model in the peer's own format
    serves_many: bool = True  # whether one server holds several models
    settings: Mapping[str, str] = field(default_factory=dict)

    def asked(self, case: Case) -> list[str]:
        """Write the rows that are asked for, each as one body."""
        return [json.dumps(self.body(case, row)) for row in case.rows]


# ── how a row is written ──


def rows(case: Case, row: Row) -> dict[str, Any]:
    return {"rows": [list(row.values()) if case.as_array else row]}


def named_rows(case: Case, row: Row) -> dict[str, Any]:
    return {"rows": [row]}


def split_frame(case: Case, row: Row) -> dict[str, Any]:
    if case.as_array:
        return {"inputs": [list(row.values())]}
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}


def tensors(case: Case, row: Row) -> dict[str, Any]:
    """Write a row in the Open Inference Protocol."""
    wanted = {"outputs": [{"name": "predict_proba"}]}
    if case.as_array:
        values = list(row.values())
        return {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": values}], **wanted}
    columns = [tensor(name, value) for name, value in row.items()]
    return {"parameters": {"content_type": "pd"}, "inputs": columns, **wanted}


def tensor(name: str, value: Any) -> dict[str, Any]:
    told = {"name": name, "shape": [1], "data": [value]}
    if isinstance(value, str):
        return {**told, "datatype": "BYTES", "parameters": {"content_type": "str"}}
    return {**told, "datatype": "INT64" if isinstance(value, int) else "FP64"}


# ── how each is started ──


def uvicorn(*more: str) -> Callable[[Start], list[str]]:
    return lambda start: [start.command("uvicorn"), "server:app", *at(start), *bounds(start), *more]


def script(start: Start) -> list[str]:
    return [start.command("python"), "server.py", str(start.port)]


def bentoml(start: Start) -> list[str]:
    return [start.command("bentoml"), "serve", "service:ByHand", *at(start)]


def mlflow(start: Start) -> list[str]:
    model = ["--model-uri", str(start.models / start.serves / "mlflow"), "--env-manager", "local"]
    return [start.command("mlflow"), "models", "serve", *model, *at(start), "--workers", str(start.workers)]


def mlserver(start: Start) -> list[str]:
    return [start.command("mlserver"), "start", str(start.work)]


def bounds(start: Start) -> list[str]:
    workers = ["--workers", str(start.workers)] if start.workers > 1 else []
    return [*workers, *(["--limit-concurrency", str(start.limit)] if start.limit else [])]


def at(start: Start) -> list[str]:
    return ["--host", "127.0.0.1", "--port", str(start.port)]


# ── the table ──

NULL = Peer(
    key="null",
    title="null server",
    says="uvicorn with uvloop and httptools, no access log; reads the body and answers constant bytes: the floor",
    command=uvicorn("--no-access-log"),
    path=lambda case: "/",
    body=named_rows,
    chance=lambda answer: answer["probabilities"][0],
)

FASTAPI = Peer(
    key="fastapi",
    title="FastAPI by hand",
    says="typed rows, `def` endpoints, uvicorn with uvloop and httptools; access log as by default: on",
    command=uvicorn(),
    path=lambda case: f"/{case.key}",
    body=rows,
    chance=lambda answer: answer["probabilities"][0],
)

BENTOML = Peer(
    key="bentoml",
    title="plain BentoML",
    says="`@bentoml.api` over a frame, or an array with its type and shape; access log, metrics and threads as by default",
    command=bentoml,
    path=lambda case: f"/{case.key}",
    body=rows,
    chance=lambda answer: answer[0],
    settings={"BENTOML_DO_NOT_TRACK": "True"},
)

LITSERVE = Peer(
    key="litserve",
    title="LitServe",
    says="one worker a model, one API server; access log as by default: on",
    command=script,
    path=lambda case: f"/{case.key}",
    body=rows,
    chance=lambda answer: answer["probabilities"][0],
)

MLFLOW = Peer(
    key="mlflow",
    title="mlflow models serve",
    says="a model saved with its signature, `predict_proba`, one worker; access log as by default",
    command=mlflow,
    path=lambda case: "/invocations",
    body=split_frame,
    chance=lambda answer: answer["predictions"][0][1],
    prepare="prepare.py",
    serves_many=False,
    settings={"MLFLOW_DISABLE_TELEMETRY": "true"},
)

MLSERVER = Peer(
    key="mlserver",
    title="MLServer",
    says="its runtimes for scikit-learn and XGBoost, inference in the server's process; access log as by default",
    command=mlserver,
    path=lambda case: f"/v2/models/{case.key}/infer",
    body=tensors,
    chance=lambda answer: answer["outputs"][0]["data"][-1],
    prepare="prepare.py",
)

RAY = Peer(
    key="ray",
    title="Ray Serve",
    says="one replica a model behind its HTTP proxy, on a cluster of this machine; access log as by default: on",
    command=script,
    path=lambda case: f"/{case.key}",
    body=rows,
    chance=lambda answer: answer["probabilities"][0],
    settings={
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_failure_threshold": "100000",  # a cluster that was paused takes none of its parts for dead
        "RAY_raylet_start_wait_time_s": "150",  # on a busy machine
    },
)

PEERS = {peer.key: peer for peer in (NULL, FASTAPI, BENTOML, LITSERVE, MLFLOW, MLSERVER, RAY)}
