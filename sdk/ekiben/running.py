"""Start a real BentoML server as a child process, wait until it is ready, and stop it."""

from __future__ import annotations

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from ekiben import draining, following, keys, recording, rooting, spec, starting
from ekiben.client import Client
from ekiben.errors import BuildError, NotFoundError, SpecError
from ekiben.progress import Progress, show_link, shown

READY_S = 120.0
STOP_S = 20.0
LOG_LINES = 25
COLOURED = ("FORCE_COLOR", "CLICOLOR_FORCE")  # what a child says is read: a colour within it would be taken for a part
PORTS = range(20_000, 32_000)  # no connection is given one of these, as one above may be before the server listens
REFUSED = "ekiben.serving.ServiceError: "  # how a worker says why it does not start

TRIED = {
    recording.HOME: "off",
    keys.TEXT: keys.OFF,
    keys.FILE: keys.OFF,
}  # of a server that is only tried: no records, no keys


class Server(Client):
    """A BentoML server that was started here, and a client of it; leaving the `with` block stops it.

    Parameters
    ----------
    target
        A service's folder, or the tag of a bento.
    port
        The port on 127.0.0.1; any free one by default.
    environment
        More variables for the server's environment.
    supervised
        Whether a supervisor stands beside a single worker.

    Raises
    ------
    BuildError
        If the server does not start, with the end of its own log.
    """

    _again = "start it again, by ek.serve(folder)"

    def __init__(
        self,
        target: str,
        *,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        supervised: bool = False,
    ) -> None:
        self.port = _free_port(port or 0)
        self.log = Path(tempfile.mkstemp(prefix="ekiben-serve-", suffix=".log")[1])
        super().__init__(f"http://127.0.0.1:{self.port}")
        self._metrics = tempfile.mkdtemp(prefix="ekiben-metrics-")
        command = _command(target, self.port, supervised=supervised)
        told = {starting.BENTO: target, starting.METRICS: self._metrics, draining.SECONDS: "0"}  # nobody is sent here
        self._process, self._pipe = _start(command, target, self.log, {**told, **(environment or {})})
        atexit.register(self.stop)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id of the server's supervisor, or of its one worker, where it has none."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """What the server's process ended with, below 0 for a signal; None while it lives."""
        return self._process.poll()

    @property
    def last_error(self) -> str:
        """What the last error in the server's log says; nothing where there is none."""
        errors = re.findall(r"\[ERROR\](?: \[\S+\])? (.*)", self.log.read_text(errors="replace"))
        return str(errors[-1]) if errors else ""

    def stop(self) -> None:
        """Stop the server and wait until it is gone; calling it twice does no harm."""
        atexit.unregister(self.stop)
        self.close()
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # workers that outlived a killed supervisor
        shutil.rmtree(self._metrics, ignore_errors=True)
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.url} {'running' if self.is_running else 'stopped'}>"

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if not self.is_running:
                raise BuildError(
                    f"The server must start. It ended with code {self._process.returncode}:\n{self._tail()}"
                )
            if self._is_ready():
                return
            time.sleep(0.1)
        raise BuildError(f"The server must be ready within {READY_S:.0f} s. It was not:\n{self._tail()}")

    def _is_ready(self) -> bool:
        try:
            return bool(self._http.get("/readyz", timeout=2).status_code == httpx.codes.OK)
        except httpx.TransportError:
            return False

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        ours = dict.fromkeys(line.removeprefix(REFUSED) for line in lines if line.startswith(REFUSED))
        told = [line for line in lines if line.startswith("Error:")]  # BentoML's last word, when it has one
        return "\n".join(ours or told or lines[-LOG_LINES:])


def serve(
    target: str | Path,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    supervised: bool = False,
    progress: Progress | bool | None = None,
) -> Server:
    """Start a real BentoML server on this machine and give a client of it.

    A folder with one worker is served as its image is: by that worker alone, in half the time. `bentoml serve` by hand puts
    a supervisor beside it.

    Parameters
    ----------
    target
        A service's folder as `scaffold` writes it, or the tag of a bento.
    port
        The port on 127.0.0.1; any free one by default.
    environment
        More variables for the server's environment.
    supervised
        Whether BentoML's supervisor stands beside a single worker, and starts another when it dies; several always have it.
    progress
        Called with a few words while the server starts; a notebook shows the address by itself, unless it is False.

    Returns
    -------
    A client that stops the server when its `with` block ends, `stop()` is called, or Python exits.

    Raises
    ------
    NotFoundError
        If there is no such folder or bento.
    SpecError
        If the port is none, or taken.
    BuildError
        If the server does not start, with the end of its own log.

    Examples
    --------
    >>> serve("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A service's folder must hold service.py. Got 'no/such/folder', which has none.
    """
    if not isinstance(target, str | Path):
        raise SpecError(
            f"What is served must be a folder that ek.scaffold wrote, or a bento's tag. Got {type(target).__name__}."
        )
    is_folder = isinstance(target, Path) or ":" not in target
    if is_folder and not (Path(target) / "service.py").is_file():
        near = spec.beside(Path(target))
        raise NotFoundError(f"A service's folder must hold service.py. Got {str(target)!r}, which has none.{near}")
    if not is_folder and "BENTOML_HOME" not in (environment or {}):
        from ekiben import storing  # no folder is kept waiting for BentoML

        storing.known_bento(str(target))  # BentoML takes a tag that it does not know for a module, and runs that
    named = str(Path(target).resolve()) if is_folder else str(target)
    with shown(progress) as say:
        say("starting the service")
        server = Server(named, port=port, environment=environment, supervised=supervised)
    if progress in (None, True):
        show_link(server.url)
    return server


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give a child process this interpreter's own commands first, no telemetry, no colours, which notebooks ask for, and whole paths."""
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
    plain = {name: value for name, value in os.environ.items() if name not in COLOURED}
    told = {**plain, "PATH": path, "BENTOML_DO_NOT_TRACK": "True", **(extra or {})}
    return told | rooting.rooted(told)


def _command(target: str, port: int, *, supervised: bool) -> list[str]:
    """Give the command that serves: one worker of a folder needs nobody beside it."""
    folder, listens = Path(target), ["--host", "127.0.0.1", "--port", str(port)]
    if supervised or os.name != "posix" or not folder.is_dir() or starting.wanted(folder) != 1:
        return [sys.executable, "-m", "bentoml", "serve", target, *listens]
    return [sys.executable, "-m", starting.__name__, *listens]


def _start(
    command: list[str], target: str, log: Path, extra: Mapping[str, str]
) -> tuple[subprocess.Popen[Any], int | None]:
    """Start a server that ends with this process, and give the end of the pipe that closes then."""
    directory = target if Path(target).is_dir() else None
    theirs, ours = os.pipe() if os.name == "posix" else (None, None)
    told = {} if theirs is None else {following.CALLER: str(theirs)}
    try:
        with log.open("wb") as sink:
            return subprocess.Popen(
                command,
                cwd=directory,
                env=child_environment({**told, **extra}),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if theirs is None else (theirs,),
            ), ours
    except BaseException:
        if ours is not None:
            os.close(ours)
        raise
    finally:
        if theirs is not None:
            os.close(theirs)


def _free_port(wanted: int) -> int:
    """Give the wanted port, or any for 0; a port that somebody has is refused before their server answers for ours."""
    if type(wanted) is not int or not 0 <= wanted < 65_536:
        raise SpecError(
            f"The 'port' must be a whole number from 1 to 65,535. Got {wanted!r}. Leave it out to take any."
        )
    if not wanted:
        return next(filter(None, map(_port, [*random.SystemRandom().sample(PORTS, 20), 0])))
    if not _port(wanted):
        raise SpecError(f"The 'port' must be free. Got {wanted}, which is taken. Leave it out to take any.")
    return wanted


def _port(wanted: int) -> int | None:
    """Give a port, or any for 0, if nobody has it."""
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wanted))
        return int(probe.getsockname()[1])
    return None
