"""What ekiben promises under stress, as predicates over what was measured: those of counts must hold, those of times are goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.results import Stressed

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that is promised of a scenario, and how to tell whether it was held."""

    scenario: str
    says: str
    holds: Callable[[Told], bool]
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


def limited(holds: Callable[[Told], bool]) -> Callable[[Told], bool]:
    """Ask it only of a server that was told how much to take at once."""
    return lambda told: told["limit"] is None or holds(told)


PROMISES = (
    Promise("attacks", "no answer of 5xx, no dropped connection", none_of("failed", "dropped")),
    Promise("attacks", "nothing is taken that the contract refuses", none_of("taken", "unexpected")),
    Promise("attacks", "no answer gives a value, a traceback or a path away", none_of("leaking")),
    Promise("attacks", "every refusal is well made", none_of("faults")),
    Promise("attacks", "nothing is fetched, nothing unpickled", none_of("outbound", "unpickled")),
    Promise("attacks", "the server lives on", lambda told: told["lives"]),
    Promise("kills", "the capacity is back, and the process replaced", lambda told: None not in _returns(told)),
    Promise("kills", "what was answered is in the records, once", none_of("missing", "doubled")),
    Promise("kills", "the capacity is back within 10 s", lambda told: at_most(max_of(_returns(told)), 10), must=False),
    Promise("overloads", "every refusal is a 429 or 503 with `Retry-After`", none_of("failed", "without_retry_after")),
    Promise("overloads", "no connection is dropped", none_of("dropped")),
    Promise("overloads", "goodput is 90 % of the capacity", limited(lambda told: told["goodput"] >= 0.9), must=False),
    Promise("overloads", "a refusal takes 20 ms", limited(lambda told: at_most(told["refusal_ms"], 20)), must=False),
    Promise(
        "overloads",
        "memory grows by 20 % at most",
        limited(lambda told: told["memory_most_mib"] <= 1.2 * told["memory_mib"]),
        must=False,
    ),
    Promise("overloads", "all is as before within 5 s", limited(lambda told: at_most(told["back_s"], 5)), must=False),
    Promise("restarts", "no request fails", none_of("failed")),
    Promise("restarts", "each process ends with 0", none_of("exit_codes_not_0")),
    Promise(
        "doors", "no route but the probes answers without a key that may", lambda told: not any(told["open"].values())
    ),
)


def _returns(told: Told) -> tuple[float | None, float | None]:
    return told["back_s"], told["replaced_s"]


def max_of(values: tuple[float | None, ...]) -> float | None:
    """Give the largest, or None if one is None."""
    return None if None in values else max(value for value in values if value is not None)


def outcome(promise: Promise, results: Stressed, contender: str) -> bool | None:
    """Tell whether a contender held a promise; None where it was not tried."""
    told = [each for each in getattr(results, promise.scenario) if each["contender"] == contender]
    return all(promise.holds(each) for each in told) if told else None


def broken(results: Stressed, contender: str = "ekiben") -> Iterator[str]:
    """Name the promises that must hold and did not, and what broke off."""
    for promise in PROMISES:
        if promise.must and outcome(promise, results, contender) is False:
            yield f"{promise.scenario}: {promise.says}"
    for each in results.missing:
        if each["contender"] == contender:
            yield f"{each['case']}: it could not be tried. {each['why']}"
