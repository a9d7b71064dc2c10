"""What ekiben promises under stress, as predicates over what was measured: those of counts must hold, those of times are goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.results import Stressed

Told = Mapping[str, Any]


MOST_GOODPUT = 1.2  # of a capacity that was taken well; more says nothing

Some = Callable[[Sequence[Told]], Sequence[Told]]


def all_of(told: Sequence[Told]) -> Sequence[Told]:
    return told


def ours(told: Sequence[Told]) -> Sequence[Told]:
    """Only ekiben promises a form of its refusals."""
    return [each for each in told if each["contender"] == "ekiben"]


def recorded(told: Sequence[Told]) -> Sequence[Told]:
    """Leave out who keeps no records."""
    return [each for each in told if "missing" in each]


def limited(told: Sequence[Told]) -> Sequence[Told]:
    """Take the server that was told how much to take at once, where there is one."""
    return [each for each in told if each["limit"]] or told


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that is promised of a scenario, and how to tell whether it was held."""

    scenario: str
    says: str
    holds: Callable[[Told], bool]
    of: Some = all_of
    must: bool = True  # whether a run that breaks it fails: counts do, times hang on the machine


def at_most(value: float | None, most: float) -> bool:
    """Tell whether something came, and is small enough.

    >>> at_most(2, 3), at_most(None, 3)
    (True, False)
    """
    return value is not None and value <= most


def none_of(*names: str) -> Callable[[Told], bool]:
    """Tell whether all of these are 0, none, or not so."""
    return lambda told: not any(told[name] for name in names)


def goal(scenario: str, says: str, holds: Callable[[Told], bool], of: Some = limited) -> Promise:
    """Promise a time, or what hangs on one."""
    return Promise(scenario, says, holds, of, must=False)


PROMISES = (
    Promise("attacks", "no answer of 5xx, no dropped connection", none_of("failed", "dropped")),
    Promise("attacks", "nothing is taken that the contract refuses", none_of("taken")),
    Promise("attacks", "every refusal is well made, and one that is due", none_of("faults", "unexpected"), ours),
    Promise("attacks", "no answer gives a value, a traceback or a path away", none_of("leaking")),
    Promise("attacks", "nothing is fetched, nothing unpickled", none_of("outbound", "unpickled")),
    Promise("attacks", "the server lives on", lambda told: told["lives"]),
    Promise("kills", "the capacity is back, and the process replaced", lambda told: None not in _returns(told)),
    Promise("kills", "what was answered is in the records, once", none_of("missing", "doubled"), recorded),
    goal("kills", "the capacity is back within 10 s", lambda told: at_most(told["back_s"], 10), all_of),
    Promise(
        "overloads", "what is refused is told 429 or 503 with `Retry-After`", none_of("failed", "without_retry_after")
    ),
    Promise("overloads", "no connection is dropped", none_of("dropped")),
    goal("overloads", "goodput is 90 % of the capacity", lambda told: 0.9 <= told["goodput"] <= MOST_GOODPUT),
    goal("overloads", "a refusal takes 20 ms", lambda told: at_most(told["refusal_ms"], 20)),
    goal("overloads", "memory grows by 20 % at most", lambda told: told["memory_most_mib"] <= 1.2 * told["memory_mib"]),
    goal("overloads", "all is as before within 5 s", lambda told: at_most(told["back_s"], 5)),
    Promise("restarts", "no request fails", none_of("failed")),
    Promise("restarts", "each process ends with 0", none_of("exit_codes_not_0")),
    Promise(
        "doors", "no route but the probes answers without a key that may", lambda told: not any(told["open"].values())
    ),
)


def _returns(told: Told) -> tuple[float | None, float | None]:
    return told["back_s"], told["replaced_s"]


def outcome(promise: Promise, results: Stressed, contender: str) -> bool | None:
    """Tell whether a contender held a promise; None where it was not tried."""
    told = promise.of([each for each in getattr(results, promise.scenario) if each["contender"] == contender])
    return all(promise.holds(each) for each in told) if told else None


def broken(results: Stressed, contender: str = "ekiben") -> Iterator[str]:
    """Name the promises that must hold and did not, and what broke off."""
    for promise in PROMISES:
        if promise.must and outcome(promise, results, contender) is False:
            yield f"{promise.scenario}: {promise.says}"
    for each in results.missing:
        if each["contender"] == contender:
            yield f"{each['case']}: it could not be tried. {each['why']}"
