"""A real Prometheus server of a test's own: it scrapes one address, evaluates rules, and is asked."""

import fcntl
import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from ekiben.running import _free_port
from traffic.faults import until

EVERY = "500ms"
UNPACKED = Path(__file__).parents[1] / ".strangers" / "prometheus"


def program(name="prometheus"):
    """Find a program of Debian's package of Prometheus, or unpack it beside the tests; skip where there is none to be had."""
    if installed := shutil.which(name):
        return installed
    found = UNPACKED / "usr" / "bin" / name
    UNPACKED.parent.mkdir(exist_ok=True)
    with (UNPACKED.parent / "prometheus.lock").open("w") as lock:  # of the processes that test, one unpacks it
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not found.exists():
                _unpack()
        except (OSError, subprocess.SubprocessError) as reason:
            pytest.skip(f"{name} is not installed, and Debian's package cannot be had: {reason}")
    return str(found)


def _unpack():
    """Download Debian's package and unpack it; nothing of the system is changed but its lists of packages."""
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "-qq", "prometheus"]
        if subprocess.run(download, cwd=folder, check=False, capture_output=True, timeout=300).returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True, timeout=300)
            subprocess.run(download, cwd=folder, check=True, capture_output=True, timeout=300)
        (package,) = Path(folder).glob("*.deb")
        beside = UNPACKED.with_suffix(".part")
        shutil.rmtree(beside, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", package, beside], check=True, capture_output=True, timeout=300)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        beside.rename(UNPACKED)


@contextmanager
def prometheus(folder, *, scrapes, rules):
    """Run a server in a folder, which scrapes a URL's `/metrics` and evaluates a file of rules."""
    address = f"127.0.0.1:{_free_port(0)}"
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
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=60) as http:
            until(lambda: _is_ready(http, process, folder))
            yield SimpleNamespace(
                query=lambda expression: _told(http, "query", query=expression)["result"],
                rules=lambda: [rule for group in _told(http, "rules")["groups"] for rule in group["rules"]],
            )
    finally:
        process.terminate()
        process.wait(60)


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
