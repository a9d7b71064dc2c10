"""End with the process that started this one, however it ends: nobody is left behind to hold a port, or memory."""

from __future__ import annotations

import ctypes
import os
import sys

PARENT_DEATH_SIGNAL = 1  # as Linux calls it for prctl


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
