"""Medians of what was measured, by model and contender."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.results import Results

HEADLINE = 16  # clients at once, for the one figure that stands for a contender

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Figures:
    """What the tables, the goals and the picture are made of. None is what was not measured, or cannot be compared."""

    results: Results

    def loads(self, case: str, contender: str, clients: int) -> list[Record]:
        """Give the rounds of one contender; none if its answers are not the model's."""
        wanted = {"case": case, "contender": contender, "clients": clients}
        return chosen(self.results.loads, wanted) if self.agrees(case, contender) else []

    def agrees(self, case: str, contender: str) -> bool:
        found = chosen(self.results.agreement, {"case": case, "contender": contender})
        return bool(found) and bool(found[0]["agrees"])

    def cpu_us(self, case: str, contender: str, clients: int = HEADLINE) -> float | None:
        """Give microseconds of CPU a request."""
        return median(each["cpu_us"] for each in self.loads(case, contender, clients))

    def per_second(self, case: str, contender: str, clients: int) -> float | None:
        """Give answers a second."""
        return median(each["answered"] / each["seconds"] for each in self.loads(case, contender, clients))

    def latency_ms(self, case: str, contender: str, clients: int, percentile: str) -> float | None:
        """Give `p50` or `p99`."""
        return median(each[f"{percentile}_ms"] for each in self.loads(case, contender, clients))

    def memory_mib(self, case: str, contender: str) -> float | None:
        """Give the memory of the tree after it was busy."""
        return median(each["memory_mib"] for each in self.loads(case, contender, HEADLINE))

    def start_cpu_s(self, case: str, contender: str, of: str = "cpu_s") -> float | None:
        """Give CPU seconds from start to first answer, of the whole tree or (`worker_cpu_s`) of its busiest process."""
        return median(each[of] for each in chosen(self.results.starts, {"case": case, "contender": contender}))

    def neighbour_ms(self, contender: str, what: str) -> float | None:
        """Give a percentile of the cheap model: `alone_p99_ms`, `p50_ms` or `p99_ms`."""
        return median(each[what] for each in chosen(self.results.neighbours, {"contender": contender}))

    def inside_us(self, case: str, n_rows: int, through: str) -> float | None:
        """Give microseconds of CPU a call, through the `model` or the `package`."""
        wanted = {"case": case, "rows": n_rows, "through": through}
        return median(each["cpu_us"] for each in chosen(self.results.inside, wanted))

    def speedup(self, case: str, n_rows: int) -> float | None:
        """Give how many times longer the model takes than what was packed of it."""
        model, package = (self.inside_us(case, n_rows, through) for through in ("model", "package"))
        return model / package if model and package else None


def chosen(records: Iterable[Record], wanted: Record) -> list[Record]:
    """Give the records that hold these values."""
    return [each for each in records if all(each[name] == value for name, value in wanted.items())]


def median(values: Iterable[float | None]) -> float | None:
    """Give the median of what there is.

    >>> median([3, None, 1, 2]), median([])
    (2, None)
    """
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None
