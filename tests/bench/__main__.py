"""Measure ekiben beside its peers; run by `make bench`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results import Results, Stressed

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".bench"
ANCHORS = ROOT / "docs" / "reference" / "anchors.md"
ATTRIBUTIONS = ROOT / "docs" / "reference" / "attributions.md"
PROMISES = ROOT / "docs" / "reference" / "promises.md"
PAGE, PICTURE = ROOT / "docs" / "reference" / "benchmarks.md", ROOT / "docs" / "images" / "benchmarks.svg"

HELP = """\
Serve the same four models with ekiben and its peers, and measure what a row costs.

Each peer is built once, in an environment of its own under .bench/, from the versions that
tests/bench/peers/<peer>/requirements.txt names. Then, for each model, all are started, their answers are held against
the model's own, and they are measured in interleaved rounds. A peer that cannot take part is named with the reason.

With --stress it measures no cost, but what becomes of promises: each contender, alone, is sent malformed bodies, loses a
process under load, is offered ten times what it can answer, is restarted behind a balancer, and asked without keys. The run
ends with an error where ekiben breaks a promise that is a count.
"""
EXAMPLES = """\
examples:
  make bench                                        all of it; writes docs/reference/benchmarks.md and its picture
  make bench ARGS=--short                           fewer and shorter rounds, with the peers that are built; writes no page
  make bench ARGS='--short --only ekiben,fastapi,null --cases a,b'
  make bench ARGS='--again .bench/results/….json'   the page once more from what was measured before
  make bench ARGS=--stress                          the promises, in some hours; writes docs/reference/promises.md
  make bench ARGS='--stress --short --only ekiben,bentoml --scenarios attacks,doors'
  make bench ARGS=--attributions                    what exact attributions cost; writes docs/reference/attributions.md
  make bench ARGS=--anchors                         explanations by rules beside alibi's; writes docs/reference/anchors.md
  make bench ARGS='--stress --again .bench/results/….json,.bench/results/….json'   one page from several runs

It measures CPU, so other work on the machine disturbs it little; latencies and requests a second want an idle machine.
It runs on Linux, needs a package registry the first time, and about 3 GiB of disk.
"""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=HELP, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="3 rounds of half a second instead of 5 of two")
    parser.add_argument(
        "--only", metavar="NAMES", default="", help="contenders to measure, such as ekiben,fastapi,null"
    )
    parser.add_argument("--stress", action="store_true", help="hold all to the promises, instead of measuring cost")
    parser.add_argument("--attributions", action="store_true", help="measure exact attributions beside XGBoost's own")
    parser.add_argument("--anchors", action="store_true", help="measure rules beside alibi's; cases a and b")
    parser.add_argument(
        "--scenarios",
        metavar="NAMES",
        default="",
        help="of attacks, kills, overloads, restarts and doors; with --stress",
    )
    parser.add_argument("--cases", metavar="KEYS", default="a,b,c,d", help="models to serve, of a, b, c and d")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contender is measured")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long each time")
    parser.add_argument("--write", action="store_true", help="write the page and the picture after a short run too")
    parser.add_argument(
        "--again",
        metavar="FILE",
        default="",
        help="measure nothing; write the page from these results, below this project",
    )
    return parser.parse_args(given)


def main() -> None:
    """Measure, keep what was measured, and write the page."""
    asked = arguments()
    enter()
    if asked.attributions:
        attributions()
    elif asked.anchors:
        anchors(asked)
    elif asked.stress:
        stress(asked)
    else:
        cost(asked)


def cost(asked: argparse.Namespace) -> None:
    """Measure what a row costs."""
    from bench import reporting
    from bench.results import read

    if asked.again:
        path = ROOT / asked.again
        results = read(path)
    else:
        results, path = run(asked)
    print(reporting.summary(results))
    print(f"\nAll figures: {path.resolve().relative_to(ROOT)}")
    if asked.again or asked.write or not asked.short:
        write(results)


def attributions() -> None:
    """Measure what each column added, and write the page."""
    from bench import attributions as bench
    from bench.running import machine

    found, apart = bench.measured()
    print(bench.summary(found, apart))
    about = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}."
    ATTRIBUTIONS.write_text(bench.page(found, apart, about), encoding="utf-8")
    print(f"Written: {ATTRIBUTIONS.relative_to(ROOT)}")


def anchors(asked: argparse.Namespace) -> None:
    """Measure rules beside alibi's, and write the page."""
    from bench import anchors as bench
    from bench.running import machine

    found = bench.measure([key for key in split(asked.cases) if key in bench.TITLES], short=asked.short, say=narrator())
    print(bench.summary(found))
    if asked.write or not asked.short:
        about = f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}."
        ANCHORS.write_text(bench.page(found, about), encoding="utf-8")
        print(f"Written: {ANCHORS.relative_to(ROOT)}")


def stress(asked: argparse.Namespace) -> None:
    """Hold all to the promises, write the page, and end with an error where ekiben broke one."""
    from bench.results import SCENARIOS, Stressed, joined, read
    from bench.stress import promises, report

    if unknown := {*split(asked.scenarios)} - {*SCENARIOS}:
        sys.exit(f"The scenarios must be some of {', '.join(SCENARIOS)}. Got {', '.join(sorted(unknown))}.")
    files = [ROOT / name for name in split(asked.again)]
    results = joined([read(file, Stressed) for file in files]) if files else try_promises(asked)
    print(report.summary(results))
    if files or asked.write or not asked.short:
        PROMISES.write_text(report.page(results), encoding="utf-8")
        print(f"Written: {PROMISES.relative_to(ROOT)}")
    if broken := list(promises.broken(results)):
        sys.exit("ekiben broke what it promises.\n" + "\n".join(broken))


def try_promises(asked: argparse.Namespace) -> Stressed:
    """Take contenders through the scenarios."""
    from bench.contenders import Place
    from bench.measuring import Run
    from bench.results import Stressed
    from bench.stress import running

    plan = running.SHORT if asked.short else running.FULL
    going = Run(plan=plan, place=Place(CACHE), results=Stressed(), say=narrator())
    path = kept_at(going.place.results)
    try:
        running.measure(going, split(asked.only), split(asked.scenarios), only_built=asked.short)
    finally:
        going.results.keep(path)
        print(f"\nAll figures: {path.relative_to(ROOT)}")
    return going.results


def enter() -> None:
    """Set what libraries read when they are imported: stores of the run's own, one thread, no telemetry."""
    stores = {"BENTOML_HOME": CACHE / "bentoml", "EKIBEN_HOME": CACHE / "ekiben", "MPLCONFIGDIR": CACHE / "matplotlib"}
    for name, folder in stores.items():
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ |= {"OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1", "MPLBACKEND": "agg"}
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def run(asked: argparse.Namespace) -> tuple[Results, Path]:
    """Measure what was asked for."""
    from bench import running
    from bench.contenders import Place
    from bench.measuring import Run
    from bench.results import Results

    plan = running.SHORT if asked.short else running.FULL
    plan = replace(plan, rounds=asked.rounds or plan.rounds, seconds=asked.seconds or plan.seconds)
    going = Run(plan=plan, place=Place(CACHE), results=Results(), say=narrator())
    path = kept_at(going.place.results)
    try:
        running.measure(going, split(asked.cases), split(asked.only), only_built=asked.short)
    finally:  # what was measured until it broke off is kept
        going.results.keep(path)
    return going.results, path


def narrator() -> Callable[[str], None]:
    """Give a function that says how far the run is."""
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", file=sys.stderr, flush=True)

    return say


def kept_at(folder: Path) -> Path:
    """Name the file of a run's results."""
    return folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"


def split(names: str) -> list[str]:
    """Part names at their commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


def write(results: Results) -> None:
    """Write the page and its picture."""
    from bench import drawing, reporting

    PAGE.write_text(reporting.page(results), encoding="utf-8")
    drawing.draw(results, PICTURE)
    print(f"Written: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
