"""What a record costs: server CPU and latency a request with records and without, and with each of them waited for on the disk.

Run alone: `cd tests && python -m bench.bench_records`. It needs Linux, and two cores: one for the server, one for who asks.
Nothing here passes or fails on a clock.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import asking, contenders, load, models
from bench.contenders import Place, Setting
from bench.models import Case
from bench.ours import Ekiben
from bench.servers import Tree
from ekiben import recording
from ekiben.spec import Records

ROUNDS, SECONDS, CLIENTS = 15, 0.5, 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Recorded(Ekiben):
    """A service of one arm that keeps its records in one way."""

    records: Records

    def served(self, cases: Sequence[Case]) -> Mapping[str, Any]:
        return {**super().served(cases), "records": self.records}


WAYS = {
    "none": Recorded(key="none", records=Records(to="off")),
    "written": Recorded(key="written", records=Records()),
    "on the disk": Recorded(key="on_the_disk", records=Records(sync=True)),
}


def asked(tree: Tree, way: Recorded, case: Case) -> dict[str, float]:
    """Give the server's CPU a request with many clients, and the latencies of one client alone."""
    busy = asking.cost(way, tree, case, clients=CLIENTS, seconds=SECONDS)
    alone = load.drive(asking.work_for(way, tree, case, clients=1, seconds=SECONDS))
    contenders.answers_first(tree, way, case, {})
    return {"cpu": busy["cpu_us"], "p50": alone.p50_ms, "p99": alone.p99_ms}


def main(case: Case) -> None:
    """Serve each way, ask them in turn, and tell what a request costs beside one that is not recorded."""
    with tempfile.TemporaryDirectory(prefix="ekiben-bench-") as folder:
        place, kept = Place(Path(folder)), {recording.HOME: f"{folder}/records"}
        trees: dict[str, Tree] = {}
        try:
            for name, way in WAYS.items():
                trees[name] = way.start([case], place, Setting(environment=kept))
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
            for i in range(ROUNDS + 1):
                for name, tree in trees.items():
                    found = asked(tree, WAYS[name], case)
                    taken[name] += [found] if i else []  # the first round warms up
        finally:
            for tree in trees.values():
                tree.end()
    report(taken)


def report(taken: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print medians, and those of the differences and ratios within each round."""
    for name, found in taken.items():
        cpu, p50, p99 = (statistics.median(each[what] for each in found) for what in ("cpu", "p50", "p99"))
        pairs = list(zip(found, taken["none"], strict=True))
        ratio = statistics.median(each["cpu"] / none["cpu"] for each, none in pairs)
        adds = statistics.median(each["p99"] - none["p99"] for each, none in pairs)
        print(
            f"{name:12s} {cpu:6.1f} µs of CPU, {ratio:.3f} of none   p50 {p50:.3f} ms   p99 {p99:.3f} ms, {adds:+.3f}"
        )


if __name__ == "__main__":
    main(models.CASES[sys.argv[1] if len(sys.argv) > 1 else "a"]())
