"""Start a server as a tree of processes, know what the tree costs, pause it, and stop all of it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.environments import UnavailableError, said

READY_S = 180.0
STOP_S = 15.0
LEFT_S = 2.0  # for processes that outlive their first one
MIB = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """A running server: its first process and all that came from it."""

    pid: int
    port: int
    stop: Callable[[], None] = field(repr=False)
    log: Path
    exit_code: Callable[[], int | None] = field(repr=False)  # of the first process; None while it lives

    def processes(self) -> list[psutil.Process]:
        """Give the processes that live now."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """Give the CPU seconds that the living processes have used since they started."""
        return sum(self.cpu_by_process().values())

    def cpu_by_process(self) -> dict[int, float]:
        return {each.pid: cpu_of(each.pid) for each in self.processes()}

    def cpu_since_start_s(self) -> float:
        """Give the CPU seconds of the tree with those of the children that have ended."""
        ended = 0.0
        for each in self.processes():
            with suppress(psutil.Error):
                times = each.cpu_times()
                ended += times.children_user + times.children_system
        return self.cpu_s() + ended

    def memory_mib(self) -> float:
        """Give the resident memory, each page that processes share counted once."""
        return sum(memory_of(each) for each in self.processes()) / MIB

    def pin(self, core: int) -> None:
        """Keep every thread on one core."""
        for each in self.processes():
            for thread in Path(f"/proc/{each.pid}/task").glob("*"):
                with suppress(OSError):
                    os.sched_setaffinity(int(thread.name), {core})

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Stop all of it: the first process politely, then what it left behind. What is paused would not hear of it."""
        self.resume()
        whole = self.processes()
        self.stop()
        for act in (psutil.Process.terminate, psutil.Process.kill):
            _, alive = psutil.wait_procs(whole, timeout=LEFT_S)
            for each in alive:
                with suppress(psutil.Error):
                    act(each)

    def _signal(self, what: int) -> None:
        for each in self.processes():
            with suppress(psutil.Error):
                each.send_signal(what)


def cpu_of(pid: int) -> float:
    """Read the CPU clock of a process: nanoseconds, with the threads that have ended."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) gives
    except OSError:
        return 0.0


def memory_of(process: psutil.Process) -> int:
    """Give bytes: the proportional share where the system tells it, else what is resident."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def free_port() -> int:
    """Find a port with two free ones above it: some servers want three."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # no connection is given one of these
        if all(is_free(port + i) for i in range(3)):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start(command: Sequence[str], *, port: int, folder: Path, environment: Mapping[str, str], log: Path) -> Tree:
    """Start a command in a process group of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Tree(pid=process.pid, port=port, stop=lambda: terminate(process), log=log, exit_code=process.poll)


def terminate(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and wait until it did."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait(tree: Tree, is_ready: Callable[[], bool]) -> None:
    """Wait until the server answers.

    Raises
    ------
    UnavailableError
        If it ends, or does not answer in time, with the end of its log.
    """
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if is_ready():
            return
        if not psutil.pid_exists(tree.pid) or psutil.Process(tree.pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    raise UnavailableError(f"It did not start: {said(tree.log.read_text(errors='replace'))}")
