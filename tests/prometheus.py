"""A real Prometheus server of a test's own: it scrapes one address, evaluates rules, and is asked."""

import json
import shutil
import socket
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest

from traffic.faults import until

EVERY = "500ms"


def program(name="prometheus"):
    """Find a program of Debian's package of Prometheus, or skip the test."""
    return shutil.which(name) or pytest.skip(f"{name} is not installed: apt-get install prometheus")


@contextmanager
def prometheus(folder, *, scrapes, rules):
    """Run a server in a folder, which scrapes a URL's `/metrics` and evaluates a file of rules."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    target = scrapes.removeprefix("http://")
    settings = {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "ekiben", "static_configs": [{"targets": [target]}]}],
    }
    config = folder / "prometheus.json"  # JSON is YAML
    config.write_text(json.dumps(settings))
    command = [program(), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=10) as http:
            until(lambda: _is_ready(http, process, folder))
            yield SimpleNamespace(
                query=lambda expression: _told(http, "query", query=expression)["result"],
                rules=lambda: [rule for group in _told(http, "rules")["groups"] for rule in group["rules"]],
            )
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(http, process, folder):
    assert process.poll() is None, (folder / "prometheus.log").read_text()
    try:
        return http.get("/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _told(http, path, **asked):
    answer = http.get(f"/api/v1/{path}", params=asked).json()
    assert answer["status"] == "success", answer
    return answer["data"]
