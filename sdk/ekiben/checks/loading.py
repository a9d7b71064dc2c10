"""What a running service costs: the memory of its processes, and the processor's time that a request takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one row over HTTP took, one request after the other, and what the service held meanwhile.

    `cpu_ms` is the processor's time of all processes for a request, `memory_mb` their memory in MB, shared pages counted
    once; each is None where the system does not tell.

    >>> Load(p50_ms=2.5, p99_ms=6.0).cpu_ms is None
    True
    """

    p50_ms: float
    p99_ms: float
    cpu_ms: float | None = None
    memory_mb: float | None = None


def cpu_s(pid: int) -> float | None:
    """Tell the seconds of the processor that a process and those below it have had; None where the system does not tell."""
    try:
        return sum(sum(map(int, _stat(each)[11:13])) for each in _family(pid)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def memory_mb(pid: int) -> float | None:
    """Tell the memory in MB of a process and those below it, shared pages counted once; None where the system does not tell."""
    try:
        return sum(_share_kb(each) for each in _family(pid)) * 1024 / 1e6
    except (OSError, ValueError, StopIteration):
        return None


def _family(pid: int) -> list[int]:
    parents = dict(_parents())
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):  # it has ended since
                continue


def _stat(pid: int) -> list[str]:
    """Give the fields of `/proc/<pid>/stat` after the name, which may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _share_kb(pid: int) -> int:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
