"""What goes wrong with a running service: processes die, disks are full."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

EXPLAINS = "ekiben.explaining.child"


def workers_of(pid: int) -> list[psutil.Process]:
    """Give the worker processes that a supervisor has now, without those that explain beside them."""
    return [each for each in psutil.Process(pid).children(recursive=True) if _works(each)]


def _works(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and EXPLAINS not in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def kill(*processes: psutil.Process) -> None:
    """End processes as the system does when it is out of memory: they do not hear of it."""
    for each in processes:
        each.send_signal(signal.SIGKILL)


@contextmanager
def full_disk(process: psutil.Process) -> Iterator[None]:
    """Let a process write nothing into files for a while."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def until(holds: Callable[[], object], patience_s: float = 60) -> None:
    """Wait for something that will be."""
    end = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"It did not come to pass within {patience_s:g} s.")
        time.sleep(0.01)
