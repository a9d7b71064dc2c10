"""What goes wrong with a running service: processes die, disks are full."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil


def workers_of(pid: int) -> list[psutil.Process]:
    """Give the worker processes that a supervisor has now."""
    return [each for each in psutil.Process(pid).children(recursive=True) if lives(each)]


def lives(process: psutil.Process) -> bool:
    """Tell whether a process still runs: nobody may have asked yet how it ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(*processes: psutil.Process) -> None:
    """End processes as the system does when it is out of memory: they do not hear of it."""
    for each in processes:
        each.send_signal(signal.SIGKILL)


def draw_one(pid: int, draw: random.Random, *, supervisor: float) -> psutil.Process:
    """Draw who is to die: the supervisor by a chance (0–1), or else one of its workers, as soon as it has one."""
    if draw.random() < supervisor:
        return psutil.Process(pid)
    until(lambda: workers_of(pid))
    return draw.choice(workers_of(pid))


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
