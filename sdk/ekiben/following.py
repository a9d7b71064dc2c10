"""End with the process that started this one, however it ends: nobody is left behind to hold a port, or memory."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

PARENT_DEATH_SIGNAL = 1  # as Linux calls it for prctl
CALLER = "EKIBEN_CALLER"  # the pipe whose other end is held by who started a server for as long as they live


def end_with_parent(told: int, parent: int) -> None:
    """Be sent a signal when the parent dies, and at once if it has died already; on Linux alone.

    Parameters
    ----------
    told
        The signal.
    parent
        The process id that the parent told of itself.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, told)
    if os.getppid() != parent:
        os.kill(os.getpid(), told)


def end_with_caller() -> None:
    """Be told to end, as by SIGTERM, once the process that started this server is gone, where it gave a pipe for that."""
    told = os.environ.pop(CALLER, "")  # what this process starts has no such pipe
    if told.isdigit():
        os.set_inheritable(int(told), False)
        threading.Thread(target=_end_after, args=(int(told),), daemon=True, name="ekiben-caller").start()


def _end_after(pipe: int) -> None:
    """Wait until nobody holds the other end of a pipe: nothing is ever written to it."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
