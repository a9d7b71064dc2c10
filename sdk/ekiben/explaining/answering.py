"""What explains within a time: the arms' methods, the ladder, and the processes that do the slow work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from time import monotonic, perf_counter
from typing import Any, Protocol

import msgspec

from ekiben.explainers import is_exact
from ekiben.explaining import rungs, wishes
from ekiben.explaining.apart import Job, Pool
from ekiben.explaining.messages import Done, Known, Task, Warm
from ekiben.explaining.nearby import Kept, Nearby, spans_of
from ekiben.explaining.rungs import Choice, Rung
from ekiben.explaining.tickets import Tickets
from ekiben.explaining.wishes import PLAIN, Wish
from ekiben.explanations import Attribution
from ekiben.explanations.reasons import english
from ekiben.packages import Package
from ekiben.spec import ServiceSpec

QUICK_MS = 1.0  # an explanation by the plan that takes longer is made apart too: predictions would wait for it
N_MEASURED = 3
STOPS_AT = 0.9  # of the time that is left, so that the answer arrives in it
LATER_S = 1.0  # how long a method that draws draws for a ticket, where the budget is no longer: others wait for it

Columns = Mapping[str, list[Any]]


class Counted(Protocol):
    """Who counts what becomes of explanations."""

    def explained(self, arm: str, method: str, rung: str, seconds: float) -> None:
        """Count an explanation, and how long it took."""

    def explained_here(self, arm: str, method: str, rung: str, seconds: float) -> None:
        """Take an explanation of a request that is still to be counted."""

    def killed(self, why: str) -> None:
        """Count an explaining process that was ended."""

    def explaining(self, n_busy: int, n_waiting: int) -> None:
        """Say how many processes are at work, and how many explanations wait."""

    def ticket(self, state: str) -> None:
        """Count a ticket that was given, or came to its end."""


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What explains some rows, on which rung, and what it takes to make it again."""

    arm: str
    method: str
    rung: Rung
    why: str
    explanations: Sequence[dict[str, Any]]
    elapsed_ms: float
    units: str | None = None
    seed: int = 0
    rounds: int | None = None
    distance: float | None = None
    made: Sequence[
        tuple[int, int | None]
    ] = ()  # the seed and the rounds of each, where they are not those that were asked for

    def told(self) -> dict[str, Any]:
        """Give what an answer says beside the explanations."""
        told: dict[str, Any] = {"rung": self.rung, "why": self.why, "elapsed_ms": round(self.elapsed_ms, 3)}
        if self.rounds is not None:
            told["rounds"] = self.rounds
        if self.distance is not None:
            told["distance"] = self.distance
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An explanation on its way."""

    arm: str
    columns: Columns
    wish: Wish
    choice: Choice
    job: Job
    of: Explaining
    began: float = field(default_factory=perf_counter)

    @property
    def is_later(self) -> bool:
        """Whether the caller comes back for it."""
        return self.choice.rung == "later"


class Explaining:
    """The explanations of one worker.

    Parameters
    ----------
    spec
        What is served.
    packages
        The package of each arm.
    counted
        Who counts.
    tickets
        Where what comes later is kept; None where nothing may.
    """

    def __init__(
        self, spec: ServiceSpec, packages: Mapping[str, Package], counted: Counted, tickets: Tickets | None = None
    ) -> None:
        self.spec, self.packages, self.counted, self.tickets = spec, packages, counted, tickets
        wishes.elsewhere()  # what is no address is refused now, and not where somebody asks
        self.budget_s = spec.budgets.explain_ms / 1000
        told = spec.explain
        self._nearby = None if told.nearest is None else Nearby(told.nearest)
        tried = {arm: quick_ms(package) for arm, package in packages.items()}
        self.quick = {arm: ms for arm, ms in tried.items() if ms is not None}  # and what a row takes there
        slow = [package for arm, package in packages.items() if arm not in self.quick]
        most_ms = spec.budgets.explain_ms / rungs.SLACK
        self.pool = Pool(
            told.processes,
            most_waiting=told.waiting,
            longest_s=told.longest_s,
            most_bytes=told.memory_mb * 1e6,
            warm=[Warm(folder=str(each.folder), digest=each.digest, most_ms=most_ms) for each in slow],
            killed=counted.killed,
        )
        if slow:
            self.pool.start()

    def is_quick(self, arm: str, wish: Wish = PLAIN) -> bool:
        """Tell whether the plan itself explains, in so little time that no other process is asked."""
        package = self.packages[arm]
        return arm in self.quick and wish.method in (None, package.method) and self._is_own_scale(package, wish)

    def _is_own_scale(self, package: Package, wish: Wish) -> bool:
        return wish.units is None or wish.units == getattr(package.explainer, "units", None)

    def begin(self, arm: str, columns: Columns, wish: Wish, left_s: float) -> Begun:
        """Choose what the time allows, and begin it.

        Raises
        ------
        Full
            If too many explanations wait already.
        """
        package = self.packages[arm]
        n_rows = len(next(iter(columns.values()), ()))
        choice = rungs.choose(
            packed=package.method,
            wished=wish.method,
            known=lambda method: self._known(package, method) if wish.units is None else Known(draws=True),
            n_rows=n_rows,
            left_ms=left_s * 1e3,
            waits_ms=self.pool.waits_ms(),
            is_warm=self.pool.is_warm,
        )
        if wish.units is not None:
            told = english("why", "unawaited") if left_s <= 0 else english("why", "scaling", units=repr(wish.units))
            choice = replace(choice, why=told)
        is_later = choice.rung == "later"
        until = None if is_later else monotonic() + STOPS_AT * left_s
        task = Task(
            folder=str(package.folder),
            digest=package.digest,
            method=choice.method,
            columns={name: columns[name] for name in package.schema.names},
            units=wish.units,
            is_named=wish.method is not None,
            seed=wish.seed,
            seconds=min(max(LATER_S, self.budget_s), self.spec.explain.longest_s / 2) if is_later else None,
        )
        draws = not is_later and (wish.units is not None or self._draws(package, choice.method))
        job = self.pool.submit(Job(task, until=until if draws else None), later=is_later)
        self.counted.explaining(self.pool.n_busy, self.pool.n_waiting)
        return Begun(arm=arm, columns=columns, wish=wish, choice=choice, job=job, of=self)

    def found(self, begun: Begun, done: Done) -> Found:
        """Tell what was explained, and remember it."""
        self.counted.explaining(self.pool.n_busy, self.pool.n_waiting)
        package, choice = self.packages[begun.arm], begun.choice
        units, why = begun.wish.units, choice.why
        rung: Rung = choice.rung
        if rung == "later" or units is not None:
            rung = "exact" if done.is_exact else "sampled"
        if units is not None:
            why = _of_units(units, done, package.method if begun.wish.method is None else done.method)
        seconds = perf_counter() - begun.began
        self.counted.explained(begun.arm, done.method, rung, seconds)
        # what columns added tells no value of a row; a rule, or what would change an answer, is of its own row alone
        if self._nearby is not None and all(each["kind"] == Attribution.kind for each in done.explanations):
            kept = [Kept(each, begun.wish.seed, done.rounds) for each in done.explanations]
            self._nearby.keep(_key(package, begun), _rows(begun), kept)
        return Found(
            arm=begun.arm,
            method=done.method,
            rung=rung,
            why=why,
            units=units,
            explanations=[wishes.told(each, begun.wish) for each in done.explanations],
            elapsed_ms=seconds * 1e3,
            seed=begun.wish.seed,
            rounds=done.rounds,
        )

    @property
    def knows_nearby(self) -> bool:
        """Whether an explanation of other rows may stand in."""
        return self._nearby is not None

    def nearest(self, begun: Begun) -> Found | None:
        """Give what explains the nearest rows that are known, where the spec allows one so far away.

        Whether the model answers the rows themselves is not asked here.
        """
        package, method = self.packages[begun.arm], begun.choice.method
        if self._nearby is None:
            return None
        found = self._nearby.find(_key(package, begun), _rows(begun), self._spans[begun.arm])
        if found is None:
            return None
        return Found(
            arm=begun.arm,
            method=method,
            rung="cached",
            why=f"{begun.choice.why}; {english('why', 'near')}",
            units=begun.wish.units,
            explanations=[wishes.told(each.explanation, begun.wish) for each in found[0]],
            elapsed_ms=(perf_counter() - begun.began) * 1e3,
            made=[(each.seed, each.rounds) for each in found[0]],
            distance=round(found[1], 6),
        )

    def expected_s(self, begun: Begun) -> float:
        """Estimate how long it takes until an explanation is there; 0 where nobody knows."""
        job = begun.job
        own = job.task.seconds if self._draws(self.packages[begun.arm], job.task.method) else None
        return self.pool.waits_ms() / 1e3 + (own if own is not None else self.pool.cost_ms(job) / 1e3)

    def audit(self, found: Found) -> list[dict[str, Any]]:
        """Say for each row what it takes to make its explanation again."""
        told: dict[str, Any] = {"method": found.method, "rung": found.rung}
        if found.units is not None:
            told["units"] = found.units
        told["seed"], told["rounds"], told["distance"] = found.seed, found.rounds, found.distance
        told["ekiben"], told["reference"] = self._made_with[found.arm]
        told["elapsed_ms"] = round(found.elapsed_ms, 3)
        if found.made:
            return [{"explanation": told | {"seed": seed, "rounds": rounds}} for seed, rounds in found.made]
        return [{"explanation": told}] * len(found.explanations)

    def close(self) -> None:
        """End the processes, and the tickets of what they were at."""
        self.pool.close()
        if self.tickets is not None:
            self.tickets.close()

    @cached_property
    def _made_with(self) -> dict[str, tuple[str, str]]:
        """Name the version of ekiben, and the digest of each arm's reference."""
        ours = version("ekiben")
        return {arm: (ours, package.manifest["data_digest"]) for arm, package in self.packages.items()}

    @cached_property
    def _spans(self) -> dict[str, list[float]]:
        return {arm: spans_of(each.profile, each.schema.names) for arm, each in self.packages.items()}

    def _known(self, package: Package, method: str) -> Known | None:
        return self.pool.known.get((package.digest, method))

    def _draws(self, package: Package, method: str) -> bool:
        known = self._known(package, method)
        return method == rungs.SAMPLING if known is None else known.draws


def here(
    package: Package,
    arm: str,
    explained: Sequence[dict[str, Any]],
    wish: Wish,
    seconds: float,
    explaining: Explaining | None = None,
) -> Found:
    """Tell what was explained in this process."""
    method = package.method
    rung, why = _fits(method)
    if explaining is not None:
        explaining.counted.explained_here(arm, method, rung, seconds)
    return Found(
        arm=arm,
        method=method,
        rung=rung,
        why=why,
        explanations=explained if wish is PLAIN else [wishes.told(each, wish) for each in explained],
        elapsed_ms=seconds * 1e3,
        seed=wish.seed,
    )


@cache
def _fits(method: str) -> tuple[Rung, str]:
    rung: Rung = "exact" if is_exact(method) else "sampled"
    return rung, rungs.said(method, rungs.FITS[rung])


def quick_ms(package: Package, clock: Callable[[], float] = perf_counter) -> float | None:
    """Tell how long a package's plan takes to explain a row, by trying it; None for one that it does not explain within milliseconds."""
    if not package.explains_by_plan:
        return None
    row = {name: [value] for name, value in package.examples[0]["row"].items()}
    times = []
    for _ in range(N_MEASURED):
        began = clock()
        package.explanations(row)
        times.append((clock() - began) * 1e3)
    return min(times) if min(times) <= QUICK_MS else None


def _of_units(units: str, done: Done, packed: str) -> str:
    """Say why a method explains on a scale: it can, or the packed one cannot."""
    told = english("why", "scaled", method=repr(done.method), units=repr(units))
    if done.method == packed:
        return told
    return f"{english('why', 'cannot', method=repr(packed), units=repr(units))}; {told}"


def _key(package: Package, begun: Begun) -> tuple[str, str]:
    units = begun.wish.units
    return package.digest, begun.choice.method if units is None else f"{begun.choice.method} {units}"


def _rows(begun: Begun) -> list[tuple[Any, ...]]:
    return list(zip(*begun.job.task.columns.values(), strict=True))
