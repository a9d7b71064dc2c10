"""What goes wrong with a running service: processes die, disks are full."""

from __future__ import annotations

import random
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psutil

from ekiben import bounds

T = TypeVar("T")
EXPLAINS, ALONE = "ekiben.explaining.child", "ekiben.starting"


def workers_of(pid: int) -> list[psutil.Process]:
    """Give the worker processes that a server has now, without those that explain beside them; without a supervisor it is one."""
    server = psutil.Process(pid)
    if ALONE in server.cmdline() and server.environ().get(bounds.WORKERS, "1") == "1":
        return [server]
    return [each for each in server.children(recursive=True) if works(each)]


def worker_of(pid: int) -> psutil.Process:
    """Give the one worker process of a server, as soon as it is alone: what explains is born as another one."""
    (alone,) = until(lambda: now if len(now := workers_of(pid)) == 1 else [])
    return alone


def works(process: psutil.Process) -> bool:
    """Tell a process that answers from one that has ended, and from one that explains beside it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and EXPLAINS not in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def kill(*processes: psutil.Process) -> None:
    """End processes as the system does when it is out of memory: they do not hear of it."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)


def draw_victims(pid: int, draw: random.Random) -> list[psutil.Process]:
    """Draw who is to die: three times in four a worker, as soon as there is one; or the supervisor, alone or with them all."""
    kind, which, supervisor = draw.random(), draw.random(), psutil.Process(pid)
    if kind < 0.25:
        return [supervisor, *(workers_of(pid) if kind < 0.125 else ())]
    workers = until(lambda: workers_of(pid))
    return [workers[int(which * len(workers))]]


def is_free(port: int) -> bool:
    """Tell whether nobody listens at a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


@contextmanager
def full_disk(process: psutil.Process) -> Iterator[None]:
    """Let a process write nothing into files for a while."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def until(holds: Callable[[], T], patience_s: float = 120) -> T:
    """Wait for something that will be, and give it."""
    end = time.monotonic() + patience_s
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"It did not come to pass within {patience_s:g} s.")
        time.sleep(0.01)
    return found
