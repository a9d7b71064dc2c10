"""Write what was measured as a page of the documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.environments import pinned
from bench.figures import HEADLINE, Figures
from bench.goals import goals, over, ratio
from bench.results import Results

NOTHING = "–"

Row = Sequence[str]


def page(results: Results) -> str:
    """Write the whole page."""
    figures = Figures(results)
    parts = [
        opening(results),
        "## Goals",
        GOALS,
        table(("", "measured", "goal", ""), goal_rows(figures)),
    ]
    for case in results.about["cases"]:
        parts += [f"## {case['key'].upper()}: {case['title']}", case_table(figures, case["key"])]
        parts += notes(figures, case["key"])
    parts += ["## Start", START, start_table(figures), "## Beside a slow model", BESIDE, beside_table(figures)]
    parts += ["## Inside one process", INSIDE, inside_table(figures)]
    parts += ["## How each is set up", SETUP, setup_table(results), *missing(results)]
    parts += ["## How it is measured", method(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


GOALS = "Ratios of medians within one run. A goal is what we want, not what a test asserts."
START = (
    "CPU seconds of all processes from start to the first answer to a row, those of the process that used most in "
    "parentheses, and resident memory at that moment, shared pages counted once."
)
BESIDE = (
    "One client asks A, while 16 clients keep D busy in the same server. Milliseconds. `mlflow models serve` holds one model "
    "a server."
)
INSIDE = (
    "Microseconds of CPU a call without HTTP, one thread: the model itself, given rows in the form it takes at the least cost, "
    "and what ekiben packed of it: its plan, given rows as a request has them, or the model where that is quicker or all there is."
)
SETUP = "All have one worker, `OMP_NUM_THREADS=1`, and the same versions of the libraries that the models need."


def opening(results: Results) -> str:
    """Say what the page is."""
    return f"""# Benchmarks

What one row costs over HTTP, served by ekiben and by others. This page is written by the run that measured it:

```console
$ make bench
```

`make bench ARGS=--short` takes minutes, `make bench ARGS=--help` tells the rest. Every contender but ekiben is built in an
environment of its own from `tests/bench/peers/`. Figures of different machines, or days, do not compare; ratios of one run do.

![CPU a request, by model and contender](../images/benchmarks.svg)

Measured on {results.about["day"]}: {results.about["machine"]}."""


# ── tables ──


def goal_rows(figures: Figures) -> Iterator[Row]:
    marks = {True: "✓", False: "not yet", None: "not measured"}
    for goal in goals(figures):
        yield goal.says, ratio(goal.measured), goal.wanted, marks[goal.is_met]


def case_table(figures: Figures, case: str) -> str:
    """Tell cost, speed, latency and memory of each contender."""
    clients = figures.results.about["clients"]
    heads = ["", f"CPU µs a request, {HEADLINE} clients", "to ekiben's"]
    heads += [f"requests/s, {n}" for n in clients] + [f"p50 / p99 ms, {n}" for n in clients] + ["memory MiB"]
    rows = [
        case_row(figures, case, each["key"], each["title"])
        for each in figures.results.about["contenders"]
        if figures.loads(case, each["key"], HEADLINE)
    ]
    return table(heads, rows)


def case_row(figures: Figures, case: str, key: str, title: str) -> Row:
    clients, cost = figures.results.about["clients"], figures.cpu_us(case, key)
    speeds = [number(figures.per_second(case, key, n)) for n in clients]
    latencies = [
        f"{number(figures.latency_ms(case, key, n, 'p50'))} / {number(figures.latency_ms(case, key, n, 'p99'))}"
        for n in clients
    ]
    compared = ratio(over(cost, figures.cpu_us(case, "ekiben")))
    return title, number(cost), compared, *speeds, *latencies, number(figures.memory_mib(case, key))


def notes(figures: Figures, case: str) -> Iterator[str]:
    """Say who answers otherwise than the model, and whose requests were not all answered."""
    titles = {each["key"]: each["title"] for each in figures.results.about["contenders"]}
    for each in figures.results.agreement:
        if each["case"] == case and not each["agrees"]:
            why = each.get("why") or f"its answers differ from the model's by {each['difference']:.1e}"
            yield f"{titles[each['contender']]} is not compared: {why}."
    for key, title in titles.items():
        rounds = [each for each in figures.results.loads if each["case"] == case and each["contender"] == key]
        failed = sum(each["refused"] + each["lost"] for each in rounds)
        if failed:
            yield f"{title} did not answer {failed} of {sum(each['sent'] for each in rounds)} requests with 200."


def start_table(figures: Figures) -> str:
    cases = [case["key"] for case in figures.results.about["cases"]]
    heads = ["", *(f"{case.upper()}, CPU s" for case in cases), *(f"{case.upper()}, MiB" for case in cases)]
    return table(heads, start_rows(figures, cases))


def start_rows(figures: Figures, cases: Sequence[str]) -> Iterator[Row]:
    for each in figures.results.about["contenders"]:
        key = each["key"]
        costs = [(figures.start_cpu_s(case, key), figures.start_cpu_s(case, key, "worker_cpu_s")) for case in cases]
        memory = [figures.start_cpu_s(case, key, "memory_mib") for case in cases]
        if any(whole for whole, _ in costs):
            shown = [f"{number(whole)} ({number(worker)})" if whole else NOTHING for whole, worker in costs]
            yield each["title"], *shown, *map(number, memory)


def beside_table(figures: Figures) -> str:
    names = ("alone_p99_ms", "p50_ms", "p99_ms")
    found = [
        (each["title"], *(number(figures.neighbour_ms(each["key"], name)) for name in names))
        for each in figures.results.about["contenders"]
        if figures.neighbour_ms(each["key"], "p99_ms") is not None
    ]
    return table(("", "A alone, p99", "A beside D, p50", "A beside D, p99"), found)


def inside_table(figures: Figures) -> str:
    sizes = sorted({each["rows"] for each in figures.results.inside})
    heads = ["", *(f"{n} row{'s' * (n > 1)}: model, ekiben, ratio" for n in sizes)]
    return table(heads, (inside_row(figures, case["key"], sizes) for case in figures.results.about["cases"]))


def inside_row(figures: Figures, case: str, sizes: Sequence[int]) -> Row:
    cells = []
    for n in sizes:
        model, package = (number(figures.inside_us(case, n, through)) for through in ("model", "package"))
        cells.append(f"{model}, {package}, {ratio(figures.speedup(case, n))}")
    return case.upper(), *cells


def setup_table(results: Results) -> str:
    rows = [
        (each["title"], told_versions(each["key"], results.versions.get(each["key"], {})), each["says"])
        for each in results.about["contenders"]
    ]
    return table(("", "versions", "how"), rows, column="---")


def told_versions(key: str, installed: dict[str, str]) -> str:
    names = ["ekiben", "bentoml"] if key.startswith("ekiben") else pinned(key)
    return ", ".join(f"{name} {installed[name]}" for name in names if name in installed)


def missing(results: Results) -> Iterator[str]:
    """Name who could not take part, with the reason."""
    titles = {each["key"]: each["title"] for each in results.about["contenders"]}
    for each in results.missing:
        where = f", model {each['case'].upper()}" if each["case"] else ""
        yield f"**Not measured: {titles.get(each['contender'], each['contender'])}{where}.** {each['why']}"


def method(results: Results) -> str:
    """Tell how the figures came about."""
    about = results.about
    libraries = results.versions.get("ekiben", {})
    shared = ", ".join(
        f"{name} {libraries[name]}" for name in ("scikit-learn", "xgboost", "pandas", "numpy") if name in libraries
    )
    where = (
        "the server is kept on one core and the client on the other"
        if about["pinned"]
        else "nothing is kept on a core of its own"
    )
    return f"""- {about["rounds"]} rounds of {about["seconds"]:g} s for each contender and number of clients. Within a round all contenders
  are asked in turn, and those that wait are stopped; {where}.
- Each client holds one connection, sends a row, waits for its answer, and sends the next of 16 different rows. Every request
  is counted, and so are those under way when the time is over. It waits awake: a server on the same machine would pay for
  waking it, but only where it is the slower of the two. Beside a slow model two clients share a core, and sleep.
- CPU is read from the clocks of all processes of a server, and divided by the requests it answered.
- Before anything is measured, each contender's probabilities of 16 rows are held against the model's own, to 1e-6. Who
  differs is named, and not compared.
- The models are trained by the run, with {shared}, on Python {about["python"]}."""


# ── words ──


def table(heads: Sequence[str], rows: Iterable[Row], *, column: str = "--:") -> str:
    """Lay rows out in Markdown; figures stand to the right, words (`---`) to the left."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{f'{column}|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) if len(lines) > 2 else "Not measured in this run."


def number(value: float | None) -> str:
    """Write three digits that say something.

    >>> number(14321.7), number(46.31), number(2.345), number(0.0123), number(None)
    ('14,322', '46', '2.3', '0.012', '–')
    """
    if value is None:
        return NOTHING
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def summary(results: Results) -> str:
    """Say the goals and the cost of a request in a few lines, for a terminal."""
    figures = Figures(results)
    cases = [case["key"] for case in results.about["cases"]]
    lines = [
        "",
        f"CPU µs a request, {HEADLINE} clients",
        f"  {'':26}" + "".join(f"{case.upper():>10}" for case in cases),
    ]
    for each in results.about["contenders"]:
        costs = [number(figures.cpu_us(case, each["key"])) for case in cases]
        lines.append(f"  {each['title']:26}" + "".join(f"{cost:>10}" for cost in costs))
    lines += ["", f"  {'':72} measured      goal"]
    lines += [f"  {says:72} {measured:>8}  {wanted:>8}  {mark}" for says, measured, wanted, mark in goal_rows(figures)]
    lines += [part.replace("**", "") for part in missing(results)]
    return "\n".join(lines)
