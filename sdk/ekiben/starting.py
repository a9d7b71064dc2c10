"""The first process of an image, and of `ek.serve`: `python -m ekiben.starting [serve] [--port N]`; its health check is `--health`.

With one worker it becomes that worker, and there is no supervisor beside it: half the memory, half the time to start. A
worker that dies ends the container then, and who runs it starts another. With several it becomes BentoML's supervisor.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import os
import runpy
import signal
import socket
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ekiben import bounds, following, rooting

WORKER = "_bentoml_impl.worker.service"
ASKED_AT = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "PORT")  # SageMaker, Vertex, and those that run any container
OWN = "BENTOML_PORT"
PORT, SAGEMAKERS = 3000, 8080  # SageMaker runs an image with `serve`, and asks there
HOST, ANY = "BENTOML_HOST", "0.0.0.0"  # noqa: S104 -- a container's port is published where who runs it says
FIRST = Path("/proc/1/cmdline")
BENTO = "BENTO_PATH"
BACKLOG = 2048
METRICS = "PROMETHEUS_MULTIPROC_DIR"  # where a process keeps its counters; a folder of its own where nothing is said


def main() -> None:
    """Serve the bento, or the service's folder, that the environment names; or ask it whether it is ready."""
    told = _told(sys.argv[1:])
    if told.health:
        served = told if told.port or told.command else _told(_of_the_first())
        sys.exit(0 if is_ready(served.port or port(served.command), served.host) else 1)
    number = told.port or port(told.command)
    signal.signal(signal.SIGTERM, _end)  # the kernel gives the first process no handler of its own
    following.end_with_caller()
    gc.disable()  # nothing that is imported becomes garbage; the worker switches it on when it is ready
    bento = os.environ.get(BENTO, ".")
    n_workers = bounds.workers(wanted(Path(bento)))
    os.environ |= {bounds.WORKERS: str(n_workers), **rooting.rooted(os.environ)}
    become(arguments(bento, told.host, number, n_workers))


def _told(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ekiben.starting", description="Serve the bento of this image.")
    parser.add_argument(
        "command", nargs="?", choices=["serve"], help="what SageMaker adds, which asks at port 8080 then"
    )
    parser.add_argument("--host", default=os.environ.get(HOST, ANY), help="the address to listen on")
    parser.add_argument("--port", type=int, help="the port to listen on; by default the environment says which")
    parser.add_argument("--health", action="store_true", help="exit with 0 if the service that runs here is ready")
    return parser.parse_args(given)


def _of_the_first() -> list[str]:
    """Give what the first process of this container was started with, if it is of this module: the port may stand there alone."""
    try:
        words = FIRST.read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []
    return words[3:] if words[1:3] == ["-m", "ekiben.starting"] else []


def port(command: str | None = None) -> int:
    """Read the port from the environment, as the platforms and BentoML name it; the first that is set counts.

    >>> port(), port("serve")
    (3000, 8080)
    """
    names, otherwise = (ASKED_AT, SAGEMAKERS) if command else ((*ASKED_AT, OWN), PORT)
    given = (os.environ.get(name, "") for name in names)
    return next((int(each) for each in given if each.isdigit()), otherwise)


def is_ready(number: int, host: str = ANY) -> bool:
    """Ask `/readyz` where the service listens; on this machine's own address where it listens on all."""
    asked = http.client.HTTPConnection({ANY: "127.0.0.1", "::": "::1"}.get(host, host), number, timeout=2)
    try:
        asked.request("GET", "/readyz")
        return asked.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        asked.close()


def wanted(bento: Path) -> int:
    """Read how many workers the spec of a bento, or of a service's folder, wants; one, which then says what is wrong, of a spec that cannot be read."""
    source = bento / "src" if (bento / "src").is_dir() else bento
    try:
        with (source / "ekiben.toml").open("rb") as file:
            return int(tomllib.load(file).get("workers", 1))
    except (OSError, ValueError, TypeError):
        return 1


def arguments(bento: str, host: str, number: int, n_workers: int) -> list[str]:
    """Give the module to become, and its arguments."""
    if n_workers > 1:
        return ["bentoml", "serve", str(Path(bento).absolute()), "--host", host, "--port", str(number)]
    os.environ[METRICS] = os.environ.get(METRICS) or tempfile.mkdtemp(prefix="prometheus-")
    Path(os.environ[METRICS]).mkdir(parents=True, exist_ok=True)  # without it every path would answer 500
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, number))  # the worker listens once it is ready: until then nobody is kept waiting
    return [WORKER, bento, "--fd", str(bound.detach()), "--backlog", str(BACKLOG), "--worker-id", "1"]


def become(command: list[str]) -> None:
    """Run a module in the place of this one."""
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End: at once while the service is being read, as a library that is imported may take an exception for a fault of its own.

    Once it lives the server has its own handler; it calls this one last, when what is still to be written must be.
    """
    front = getattr(sys.modules.get("ekiben.front"), "Front", None)
    if front is None or front.live is None:
        os._exit(0)
    sys.exit(0)


if __name__ == "__main__":
    main()
