"""What a container may use: processors and memory as its cgroup says, and so how many workers are worth starting."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
WORKERS = "EKIBEN_WORKERS"  # how many, whatever the spec and the cgroup say
WORKER_MB = 160  # what a worker of plans takes; one of libraries takes more, and says so by being ended
UNLIMITED = 1 << 60  # what a cgroup of version 1 says where there is no limit is near 2 ** 63


def processors(root: Path = CGROUPS) -> float:
    """Give how many processors this process may use: of its quota and of those that it may run on, the fewer."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return min(float(here), quota) if quota is not None else float(here)


def _quota(root: Path) -> float | None:
    told = _read(root / "cpu.max").split()
    if len(told) == 2 and told[0].isdigit() and int(told[1]):
        return int(told[0]) / int(told[1])
    given = [_read(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    if all(each.isdigit() and int(each) > 0 for each in given):
        return int(given[0]) / int(given[1])
    return None


def memory(root: Path = CGROUPS) -> int | None:
    """Give how many bytes of memory this process may use; None where nothing limits it."""
    for told in (_read(root / "memory.max"), _read(root / "memory" / "memory.limit_in_bytes")):
        if told.isdigit() and int(told) < UNLIMITED:
            return int(told)
    return None


def workers(wanted: int, root: Path = CGROUPS) -> int:
    """Say how many workers to start of those that a spec wants: no more than there are processors, or memory for.

    >>> workers(1)
    1
    """
    told = os.environ.get(WORKERS, "")
    if told.isdigit() and int(told):
        return int(told)
    most = max(1, math.floor(processors(root)))
    if (limit := memory(root)) is not None:
        most = min(most, max(1, limit // (WORKER_MB * 1_000_000)))
    return min(wanted, most)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such controller here
        return ""
