"""What a file of rows costs: `ekiben.scoring.score` beside the model itself with the rows in memory, and beside a loop by hand.

Run alone: `cd tests && python -m bench.bench_batch a b s --rows 1000000`. The model is asked for probabilities in batches of the
same size; it reads nothing, writes nothing and checks nothing. A loop as in a notebook reads the whole file, asks the model, and
writes. Nothing here passes or fails on a clock.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import ekiben as ek
from bench import models, ours
from bench.models import Case
from ekiben.scoring import N_ROWS, score

ROWS, ROUNDS = 1_000_000, 3
NAMES = ("model", "hand", "file")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The seconds that one pass over the rows took."""

    wall: float
    cpu: float


def small() -> Case:
    """Fit a model that takes next to nothing, so that reading and writing is nearly all of the work."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(rng.normal(size=(6000, 4)), columns=["a", "b", "c", "d"])
    target = (frame.sum(axis=1) + rng.normal(size=len(frame)) > 0).astype(int)
    model = LogisticRegression().fit(frame, target)
    return Case(key="s", title="logistic regression on 4 floats", model=model, frame=frame, target=target)


CASES: dict[str, Callable[[], Case]] = {**models.CASES, "s": small}


def rows_of(case: Case, n_rows: int) -> pd.DataFrame:
    """Give so many rows, those of the case again and again, with an id beside them."""
    picked = np.random.default_rng(0).integers(0, len(case.frame), n_rows)
    return case.frame.iloc[picked].reset_index(drop=True).assign(id=np.arange(n_rows))


def timed(act: Callable[[], object]) -> Taken:
    """Time an act."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return Taken(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def by_model(case: Case, frame: pd.DataFrame) -> Callable[[], object]:
    """Ask the model about batches that lie in memory, in the form that it takes at the least cost."""
    given = frame[list(case.frame)].to_numpy() if case.as_array else frame[list(case.frame)]
    parts = [given[start : start + N_ROWS] for start in range(0, len(given), N_ROWS)]
    return lambda: [case.model.predict_proba(part) for part in parts]


def by_hand(case: Case, source: Path, out: Path) -> Callable[[], object]:
    """Do what a notebook does: read all of the file, ask the model, and write its answers beside the id."""

    def scored() -> None:
        frame = pd.read_parquet(source)
        given = frame[list(case.frame)]
        found = case.model.predict_proba(given.to_numpy() if case.as_array else given)
        scores = {f"score_{label}": found[:, i] for i, label in enumerate(case.model.classes_)}
        labels = case.model.classes_.take(found.argmax(axis=1))
        pd.DataFrame({"id": frame["id"], "label": labels, **scores}).to_parquet(out, index=False)

    return scored


def measured(case: Case, n_rows: int, rounds: int) -> Iterator[dict[str, Taken]]:
    """Time both in turn, over the same rows."""
    with tempfile.TemporaryDirectory(prefix="ekiben-bench-") as place:
        source, out, packed = Path(place) / "in.parquet", Path(place) / "out.parquet", Path(place) / "package"
        frame = rows_of(case, n_rows)
        frame.to_parquet(source, index=False)
        ours.packed(case).save(packed)
        package = ek.load(packed)
        acts = {
            "model": by_model(case, frame),
            "hand": by_hand(case, source, out),
            "file": lambda: score(package, source, out, keep=["id"]),
        }
        for i in range(rounds + 1):
            taken = {name: timed(act) for name, act in acts.items()}
            if i:  # the first round warms up
                yield taken


def prepared(key: str, n_rows: str, place: str) -> None:
    """Write a file of rows and pack the model, in a process that ends."""
    case = CASES[key]()
    rows_of(case, int(n_rows)).to_parquet(Path(place) / "in.parquet", index=False)
    ours.packed(case).save(Path(place) / "package")


SCORING = """
import sys
import ekiben as ek
from ekiben.scoring import score
place = sys.argv[1]
score(ek.load(f"{place}/package"), f"{place}/in.parquet", f"{place}/out.parquet", keep=["id"])
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def most_mib(key: str, n_rows: int) -> float:
    """Give the memory that a process holds at most which scores so many rows, and does nothing else."""
    preparing = "import sys; from bench import bench_batch; bench_batch.prepared(*sys.argv[1:])"
    with tempfile.TemporaryDirectory(prefix="ekiben-bench-") as place:
        subprocess.run([sys.executable, "-c", preparing, key, str(n_rows), place], check=True)
        done = subprocess.run([sys.executable, "-c", SCORING, place], check=True, capture_output=True, text=True)
    return float(done.stdout)


def report(key: str, found: Sequence[dict[str, Taken]]) -> None:
    """Print medians, and those of the ratios within each round."""
    for what in ("wall", "cpu"):
        model, hand, ours_s = (statistics.median(getattr(each[name], what) for each in found) for name in NAMES)
        to_model, to_hand = (
            statistics.median(getattr(each[name], what) / getattr(each["file"], what) for each in found)
            for name in ("model", "hand")
        )
        print(
            f"{key} {what:4s} model {model:.2f} s   by hand {hand:.2f} s   file {ours_s:.2f} s   "
            f"{to_model:.2f} of the model's speed, {to_hand:.2f} of the loop's",
            flush=True,
        )


def main() -> None:
    """Measure each case, and the memory of a quarter of the rows and of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=["a", "b", "s"], help="of a, b, c, d, and s, a model of nothing")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    for key in asked.cases:
        report(key, list(measured(CASES[key](), asked.rows, asked.rounds)))
        few, all_of_them = (most_mib(key, n) for n in (asked.rows // 4, asked.rows))
        print(f"{key} at most {few:.0f} MiB for a quarter of the rows, {all_of_them:.0f} for all", flush=True)


if __name__ == "__main__":
    main()
