"""Write what became of the promises as a page of the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.reporting import NOTHING, number, setup_table, table
from bench.results import Stressed
from bench.stress.promises import PROMISES, broken, outcome

Told = Mapping[str, Any]
MARKS = {True: "✓", False: "✗", None: NOTHING}

OPENING = """# Promises under stress

What ekiben promises under attack, load and faults, and what came of it, beside others that serve the same models. This page is
written by the run that measured it:

```console
$ make bench ARGS=--stress
```

`make bench ARGS='--stress --short'` tries less. A run in which ekiben breaks a promise that is a count ends with an error, after it
has written the page; promises of time are shown, and not asserted: they hang on the machine."""

BUSY = """Counts and ratios are what counts here. Seconds and milliseconds want an idle machine, and this one may have had other work."""

ATTACKS = """Requests that no service should accept, or only some: values that are missing, nested, infinite or of another type, what
is no JSON, other encodings, odd headers, pickles, addresses. The stream is the same for everyone, each in its own spelling of rows, and
drawn from one seed. *Taken* is answered with 2xx although ekiben's contract refuses it; others promise less, and some of it may be their
intent, such as columns that are ignored. *Dropped* has no whole answer within thirty seconds; where that is as often as 5xx, the server may
have closed a kept connection after its failure without saying so, which was not traced. Who is slow is sent fewer. *Leaking* answers repeat a value that was
sent, or show a traceback or a path."""

KINDS = """The same by kind of attack: 5xx / taken, of so many that were sent."""

KILLS = """Eight clients ask two processes that compute, in a closed loop, and the busiest is killed with SIGKILL. *Back* is from when
on 80 % of the requests a second from before are answered again, over two seconds; *replaced*, when a new process computes. ekiben's
answers are held against its records: each id that was heard must be there once."""

OVERLOAD = """Requests of {n_rows} rows for a slow model. A closed loop of eight clients says what the capacity is; then ten times as much
arrives for {seconds:g} s, whether or not it is answered. Where it comes back, the capacity is taken again after that, for a machine has quick and
slow minutes. *Goodput* is what was answered within a second, as a share of the mean of both; well above 100 %, the server was still warming up,
or the machine busy, when its capacity was taken, and nothing is shown. *Late* came after
that second, or not within ten. *Limited* is the same server, told to take nine requests at once (`limits.concurrency`,
`--limit-concurrency`, `max_concurrency`). *Back* is from when on 90 % of the capacity is answered again. Memory is before, at
the end of the overload, and after."""

RESTARTS = """Two servers behind a balancer that asks each ten times a second whether it is ready; fifty requests a second arrive. In turn
one is told to end by SIGTERM, killed if it has not ended after fifteen seconds (-9), and started again. *Blind* are callers who came while
neither was ready. On a busy machine fifty a second are much for whoever needs ten milliseconds of CPU for one, and has to start a second
server beside it: look at *closed*, not at *timeout*. ekiben has `EKIBEN_DRAIN_S=3`, its default."""

DOORS = """Each method and path that the server's own OpenAPI document lists, and the usual ones that it has; probes (`/livez`, `/ping`
and the like) may answer anybody. How many answer with something else than 401 or 403 to each key that may not."""


def page(results: Stressed) -> str:
    """Write the whole page."""
    about = results.about
    parts = [
        OPENING,
        f"Measured on {about['day']}: {about['machine']}. {tried(about)} {BUSY}",
        "## Promises",
        promise_table(results),
        *(f"**Broken: {says}.**" for says in broken(results)),
        "## Malformed bodies",
        ATTACKS,
        rows_of(results, "attacks", ATTACK_HEADS, attack_row),
        KINDS,
        kind_table(results),
        "## A process is killed",
        KILLS,
        rows_of(results, "kills", KILL_HEADS, kill_row),
        "## Overload",
        OVERLOAD.format(n_rows=about["n_rows"], seconds=about["offered_s"]),
        rows_of(results, "overloads", OVERLOAD_HEADS, overload_row),
        "## Restarts",
        RESTARTS,
        rows_of(results, "restarts", RESTART_HEADS, restart_row),
        "## Doors",
        DOORS,
        rows_of(results, "doors", DOOR_HEADS, door_row),
        *missing(results),
        "## How each is set up",
        setup_table(results),
        *(f"Model {case['key'].upper()}: {case['title']}." for case in about["cases"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def tried(about: Told) -> str:
    """Say how much was tried."""
    much = (
        f"{about['n_attacks']:,} malformed bodies, {about['offered_s']:g} s of overload, {about['n_restarts']} restarts"
    )
    told = f"Tried with each: {much}; seed {about['seed']}. Who is not in a table was not tried there."
    if (n := about.get("runs", 1)) > 1:
        told += f" Joined from {n} runs, at different times and beside other work: rates and times of two contenders do not compare."
    return told


def titles(results: Stressed) -> dict[str, str]:
    return {each["key"]: each["title"] for each in results.about["contenders"]}


def promise_table(results: Stressed) -> str:
    named = titles(results)
    rows = [
        (promise.says, "count" if promise.must else "time", *(MARKS[outcome(promise, results, key)] for key in named))
        for promise in PROMISES
    ]
    return table(("", "of", *named.values()), rows)


def rows_of(results: Stressed, scenario: str, heads: tuple[str, ...], row: Callable[[Told], tuple[str, ...]]) -> str:
    """Lay out one scenario, a line for each that was tried."""
    named = titles(results)
    told = getattr(results, scenario)
    return table(("", *heads), ((f"{named[each['contender']]}{variant(each)}", *row(each)) for each in told))


def variant(told: Told) -> str:
    if told.get("contained"):
        return ", in a container"
    return ", limited" if told.get("limit") else ""


# ── malformed bodies ──

ATTACK_HEADS = ("sent", "5xx", "dropped", "taken", "leaking", "calls out", "unpickled", "lives")


def attack_row(told: Told) -> tuple[str, ...]:
    counts = (share(told[name], told["sent"]) for name in ("failed", "dropped", "taken", "leaking"))
    return (f"{told['sent']:,}", *counts, str(told["outbound"]), yes(told["unpickled"]), yes(told["lives"]))


def share(n: int, of: int) -> str:
    """Write a count, and its share where there is one.

    >>> share(48, 661), share(0, 661)
    ('48 (7 %)', '0')
    """
    return f"{n:,} ({n / of:.0%})".replace("%", " %") if n else "0"


def kind_table(results: Stressed) -> str:
    named = {each["contender"]: each["by_kind"] for each in results.attacks}
    kinds = sorted({kind for counts in named.values() for kind in counts})
    heads = ("", *(titles(results)[key] for key in named))
    return table(heads, ((kind, *(kind_cell(counts.get(kind)) for counts in named.values())) for kind in kinds))


def kind_cell(told: Told | None) -> str:
    if told is None:
        return NOTHING
    return f"{told['failed']} / {told['taken']} of {told['sent']}"


# ── faults and load ──

KILL_HEADS = ("requests/s before", "failed", "as", "back after s", "replaced after s", "records: missing, doubled")


def kill_row(told: Told) -> tuple[str, ...]:
    records = f"{told['missing']}, {told['doubled']}" if "missing" in told else "keeps none"
    returns = (seconds(told["back_s"]), seconds(told["replaced_s"]))
    return number(told["before_per_s"]), f"{told['failed']:,}", counted(told["outcomes"]), *returns, records


OVERLOAD_HEADS = (
    *(
        "warmed up s",
        "capacity/s",
        "offered",
        "goodput",
        "late",
        "refused",
        "of them without `Retry-After`",
        "failed or dropped",
    ),
    *("median refusal ms", "back after s", "memory MiB"),
)


def overload_row(told: Told) -> tuple[str, ...]:
    memory = " → ".join(number(told[name]) for name in ("memory_mib", "memory_most_mib", "memory_after_mib"))
    counts = (f"{told[name]:,}" for name in ("late", "refused", "without_retry_after"))
    failed = f"{told['failed'] + told['dropped']:,}"
    goodput = f"{told['goodput'] * 100:.0f} %"
    capacity = " → ".join(number(told[name]) for name in ("capacity", "capacity_after"))
    offered = f"{told['offered']:,}"
    return (
        f"{told['warm_s']:g}",
        capacity,
        offered,
        goodput,
        *counts,
        failed,
        number(told["refusal_ms"]),
        seconds(told["back_s"]),
        memory,
    )


RESTART_HEADS = ("asked for readiness", "restarts", "sent", "failed", "a restart", "as", "blind", "exit codes")


def restart_row(told: Told) -> tuple[str, ...]:
    each = number(told["failed"] / told["restarts"]) if told["failed"] else "0"
    codes = counted(Counter(map(str, told["exit_codes"])))
    blind = NOTHING if told["blind"] is None else str(told["blind"])
    probe, counts = f"`{told['probe']}`", (f"{told['sent']:,}", f"{told['failed']:,}")
    return probe, str(told["restarts"]), *counts, each, counted(told["outcomes"]), blind, codes


# ── doors ──

CREDENTIALS = ("no key", "unknown", "ended", "for something else")
DOOR_HEADS = ("routes", *CREDENTIALS, "keys")


def door_row(told: Told) -> tuple[str, ...]:
    opened = (str(told["open"][name]) if name in told["open"] else NOTHING for name in CREDENTIALS)
    return str(told["doors"]), *opened, told["says"]


# ── words ──


def missing(results: Stressed) -> Iterator[str]:
    """Name who could not take part, with the reason."""
    for each in results.missing:
        where = f" in {each['case']}" if each["case"] else ""
        yield f"**Not tried{where}: {titles(results).get(each['contender'], each['contender'])}.** {each['why']}"


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def yes(value: bool) -> str:
    return "yes" if value else "no"


def counted(counts: Mapping[str, int]) -> str:
    """Write outcomes with their counts.

    >>> counted({"closed": 3, "503": 1})
    '3 closed, 1 503'
    """
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda one: -one[1])) or NOTHING


def summary(results: Stressed) -> str:
    """Say in a few lines, for a terminal, which promises ekiben held."""
    lines = [f"  {MARKS[outcome(each, results, 'ekiben')]}  {each.scenario}: {each.says}" for each in PROMISES]
    return "\n".join(["", "ekiben", *lines])
