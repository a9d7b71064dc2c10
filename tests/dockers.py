"""A Docker engine of a test's own: private data, socket and settings, nothing of the machine's."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ekiben.containers.engines import BUILDKIT

# Where `make engine` unpacks Debian's packages.
UNPACKED = Path(__file__).resolve().parents[1] / ".containers" / "docker" / "usr"
PATIENCE_S = 90


class Docker:
    """An engine without a bridge or rules of a firewall: its containers listen on the machine's own loopback."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ekiben-docker-"))
        folders = [str(UNPACKED / "bin"), str(UNPACKED / "sbin"), os.environ["PATH"]]
        self.environment = {
            "PATH": os.pathsep.join(folders),
            "DOCKER_HOST": f"unix://{self.folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self.folder / "client"),
        }
        plugins = UNPACKED / "libexec" / "docker" / "cli-plugins"
        if plugins.is_dir():
            (self.folder / "client").mkdir()
            (self.folder / "client" / "cli-plugins").symlink_to(plugins)
        self._process = None

    def start(self):
        """Start it, and wait until it answers; give the words it ends with where it does not."""
        if os.geteuid() != 0:
            raise OSError("dockerd must be started by root.")
        for name in ("dockerd", "containerd", "docker"):
            if shutil.which(name, path=self.environment["PATH"]) is None:
                raise OSError(f"{name} is not installed. To unpack it beside the tests, run: make engine")
        (self.folder / "daemon.json").write_text("{}")
        command = ["dockerd", "--host", self.environment["DOCKER_HOST"], "--bridge=none"]
        places = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "dockerd.pid"}
        command += [f"--{name}={self.folder / place}" for name, place in places.items()]
        command += [f"--{name}=false" for name in ("iptables", "ip6tables", "ip-forward", "ip-masq")]
        command += ["--default-ulimit", "nofile=4096:4096"]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)
        ends = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                said = (self.folder / "log").read_text().strip().splitlines()[-3:]
                self.remove()
                raise OSError("dockerd must start. It said: " + " ".join(said))
            time.sleep(0.1)
        return self

    def answers(self):
        done = subprocess.run(["docker", "version"], env={**os.environ, **self.environment}, capture_output=True)
        return done.returncode == 0

    def has_buildkit(self):
        own = {**os.environ, **self.environment, **BUILDKIT}
        told = subprocess.run(["docker", "build", "--help"], env=own, capture_output=True, text=True)
        return told.returncode == 0 and "--secret" in told.stdout

    def remove(self):
        """End it and what it mounted, and leave nothing of it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((each for each in mounted if each.startswith(str(self.folder))), reverse=True):
            subprocess.run(["umount", "--lazy", place], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
