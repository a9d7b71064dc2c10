"""Clients of others that cannot stand beside our own versions: each in an environment of its own, asked by a program in it.

Versions and hashes are in <name>/requirements.txt, which `python -m strangers` in tests/ writes from <name>/requirements.in.
"""

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bench import environments, servers

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".strangers"
NAMES = ("clouds", "kserve", "mlserver")


def environment(name):
    """Give a stranger's environment, which is built once; a test that needs it is skipped where no registry answers."""
    try:
        return environments.build(name, CACHE, folder=HERE)
    except environments.UnavailableError as reason:
        pytest.skip(f"{name} cannot be installed here: {reason}")


def ask(name, document):
    """Run a stranger's program on a document of JSON, and give the one that it prints."""
    command = [environment(name).python, HERE / name / "asks.py"]
    done = subprocess.run(
        command, input=json.dumps(document), env=alone(), capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def running(command, *, folder, ready):
    """Run a server of others until the block ends; `command` makes its words from a port. Give its address."""
    port = servers.free_port()
    address = f"http://127.0.0.1:{port}"
    tree = servers.start(command(port), port=port, folder=folder, environment=alone(), log=folder / "server.log")
    try:
        servers.wait(tree, lambda: _answers(f"{address}{ready}"))
        yield address
    finally:
        tree.end()


def alone():
    """Give this process's environment, without what would let another interpreter find our packages."""
    told = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    return told | {"PATH": os.pathsep.join([str(environments.OURS.python.parent), told["PATH"]])}


def _answers(address):
    try:
        return httpx.get(address, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
