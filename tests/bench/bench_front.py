"""What the front costs: server CPU a request over a null ASGI application, with every production feature on.

Run alone: `python tests/bench/bench_front.py`. A child process serves by uvicorn; its CPU comes from /proc, so this needs
Linux. The plan is a fake of about 3 µs. Nothing here passes or fails on a clock.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS, CALLS = 7, 3000
BODY = b'{"rows":[{"age":41,"income":3200.5,"job":"fixed","member":true}]}'


def application(kind: str):
    """Make what is served."""
    if kind == "null":

        async def null(scope, receive, send):
            if scope["type"] != "http":
                return
            await receive()
            start = [(b"content-type", b"application/json"), (b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": start})
            await send({"type": "http.response.body", "body": b"{}"})

        return null
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from types import SimpleNamespace

    from ekiben.dataplane import DataPlane, Hooks
    from ekiben.front import Front
    from ekiben.metering import meter
    from ekiben.pinning import Contract
    from ekiben.refs import parse
    from ekiben.routing import Route
    from ekiben.schema import Column, Output, Schema, Signature
    from ekiben.spec import ServiceSpec, parse_unit

    columns = (
        Column(name="age", kind="integer", dtype="int64", nullable=False),
        Column(name="income", kind="number", dtype="float64", nullable=True),
        Column(name="job", kind="text", dtype="object", nullable=False, categories=("fixed", "other")),
        Column(name="member", kind="boolean", dtype="bool", nullable=False),
    )
    output = Output(parts=("label", "scores"), classes=("bad", "good"))
    signature = Signature(inputs=Schema(columns=columns), task="classification", outputs=(output,))
    plan = SimpleNamespace(
        row_us=3.0,
        many_us=2.0,
        predictions=lambda rows: [{"label": "bad", "scores": {"bad": 1 / (1 + row[0]), "good": 0.3}} for row in rows],
    )
    manifest = {"kind": "sklearn"}
    package = SimpleNamespace(schema=signature.inputs, signature=signature, plan=plan, manifest=manifest)
    arms = ("champion", "challenger") if kind == "two arms" else ("champion",)
    spec = ServiceSpec(
        name="risk",
        arms={arm: parse(f"models:/risk/{i + 1}") for i, arm in enumerate(arms)},
        route=Route(dict.fromkeys(arms, 1.0)),
        unit=parse_unit("customer_id") if kind == "two arms" else None,
    )
    contract = Contract(signature=signature, pins={}, row={}, answer={})
    told = meter()
    Front.live = DataPlane(
        spec,
        contract,
        dict.fromkeys(arms, package),
        Hooks(),
        lambda endpoint, arm, answer, seconds: told.tell(endpoint, arm, answer.code, seconds),
        unseen=told.unseen,
    )
    return Front(application("null"))


def serve(kind: str, descriptor: int) -> None:
    """Serve by uvicorn as BentoML's worker does."""
    import uvicorn

    config = uvicorn.Config(application(kind), log_config=None, server_header=False, workers=1, timeout_keep_alive=600)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def cpu_us(pid: int) -> float:
    """Give the CPU time of a process and its threads, in microseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


class Asker:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: */*\r\nuser-agent: bench\r\n"
        trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        rest = f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        self.sent = (head + trace + rest).encode() + BODY

    def ask(self) -> bytes:
        self.connection.sendall(self.sent)
        return self.connection.recv(65536)


def main() -> None:
    """Serve each, ask them in turn, and tell what a request costs the server."""
    servers = {}
    for kind in ("null", "one arm", "two arms"):
        listening = socket.create_server(("127.0.0.1", 0))
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": tempfile.mkdtemp(prefix="ekiben-bench-")}
        child = subprocess.Popen(
            [sys.executable, __file__, kind, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        servers[kind] = (child, Asker(listening.getsockname()[1]))
    taken: dict[str, list[float]] = {kind: [] for kind in servers}
    try:
        for _, asker in servers.values():
            assert asker.ask().startswith(b"HTTP/1.1 200"), "the server must answer"
            for _ in range(CALLS):
                asker.ask()
        for _ in range(ROUNDS):
            for kind, (child, asker) in servers.items():
                began = cpu_us(child.pid)
                for _ in range(CALLS):
                    asker.ask()
                taken[kind].append((cpu_us(child.pid) - began) / CALLS)
    finally:
        for child, _ in servers.values():
            child.terminate()
            child.wait()
    for kind, costs in taken.items():
        over = statistics.median(cost - null for cost, null in zip(costs, taken["null"], strict=True))
        print(f"{kind:10s} {statistics.median(costs):7.1f} µs a request   {over:+6.1f} over null")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        main()
