"""Try a plan against its model, and measure what rows cost by both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from ekiben import tables
from ekiben.compiling.costs import VERY_MANY, Costs
from ekiben.compiling.edges import edges, walk
from ekiben.compiling.framing import columns_of
from ekiben.compiling.nodes import Table
from ekiben.compiling.nodes.native import NativeStep
from ekiben.compiling.plans import NO_ANSWER, Plan
from ekiben.compiling.translating import NoPlan
from ekiben.models import Answers
from ekiben.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-6  # on scores, and on values relative to those above 1; a label may never change
MOST_ROWS = 5000  # of the reference
ALONE = 200  # rows that are also asked one by one
MOST_ASKED = 2000  # times, where rows without an answer must be found
MOST_LEFT = 100  # rows of the reference that are counted

Ask: TypeAlias = "Callable[[pd.DataFrame], tuple[Answers, ...]]"
Found: TypeAlias = "tuple[Answers, ...] | None"
Rows: TypeAlias = "Sequence[Mapping[str, Any]]"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was tried, and how far the plan was from its model.

    Parameters
    ----------
    reference_rows, edge_rows
        Real rows, and rows made from the contract: missing, unseen, extreme, at and beside split points.
    split_points, split_points_tried
        Values at or beside the thresholds of the plan's splits: how many there are, and how many a row stood at.
    refused_rows
        Rows that the plan leaves to the model.
    largest_difference
        Of scores in [0, 1], and of values relative to those above 1.
    changed_labels, changed_refusals
        Rows with another label; rows that one answers and the other does not.
    """

    reference_rows: int
    edge_rows: int
    split_points: int
    split_points_tried: int
    refused_rows: int
    largest_difference: float
    changed_labels: int
    changed_refusals: int

    @property
    def holds(self) -> bool:
        """Whether the plan may serve."""
        return self.largest_difference <= TOLERANCE and not self.changed_labels and not self.changed_refusals

    def __str__(self) -> str:
        tried = self.reference_rows + self.edge_rows
        apart = (
            "equal to the last bit" if not self.largest_difference else f"{self.largest_difference:.0e} at most apart"
        )
        return f"{tried:,} rows tried, {apart}, {self.changed_labels + self.changed_refusals} answers changed"

    def to_json(self) -> dict[str, Any]:
        """Give it as a plan's folder holds it."""
        return {"tolerance": TOLERANCE, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Certificate:
        """Read it back."""
        return cls(**{name: value for name, value in document.items() if name != "tolerance"})


def certify(
    plan: Plan, ask: Ask, contract: Schema, reference: pd.DataFrame, unseen: Callable[[Column, Any], Sequence[str]]
) -> Certificate:
    """Try a plan on reference rows and on edge rows, as one table and row by row.

    Parameters
    ----------
    plan
        The plan.
    ask
        Asks the model itself about a frame of the contract.
    contract
        What the columns take.
    reference
        Rows of shape (n_rows, n_columns) that fit the contract.
    unseen
        Gives texts that a column has not seen, for one that it has.

    Raises
    ------
    NoPlan
        If the plan leaves rows of the reference to the model, the model refuses too many rows, or answers some otherwise
        alone than among others, and so otherwise than any plan.
    """
    real = reference.head(MOST_ROWS)
    rows = tables.as_rows(real)
    made = edges(plan, contract, rows, unseen)
    tally = _Tally(plan, ask, contract)
    tally.whole(rows, real)
    for group in (made.special, made.splits):
        tally.tried(group)
    step = max(1, len(rows) // ALONE)
    for row in (*rows[::step], *made.special, *made.splits[:: max(1, len(made.splits) // ALONE)]):
        tally.alone(row)
    found = Certificate(
        reference_rows=len(rows),
        edge_rows=len(made.special) + len(made.splits),
        split_points=made.n_points,
        split_points_tried=made.n_tried,
        refused_rows=tally.refused,
        largest_difference=_up(tally.largest),
        changed_labels=tally.labels,
        changed_refusals=tally.refusals,
    )
    if not found.holds and tally.wavers(rows[::step]):
        raise NoPlan("it answers rows otherwise alone than among others itself")
    return found


def _up(value: float) -> float:
    """Round up to one digit: what is said of two machines' last bits is the same."""
    if not value or not math.isfinite(value):
        return value
    return float(f"{math.ceil(value / 10 ** math.floor(math.log10(value)))}e{math.floor(math.log10(value))}")


class _Tally:
    """What became of the rows that were tried."""

    def __init__(self, plan: Plan, ask: Ask, contract: Schema) -> None:
        self.plan, self.ask, self.contract = plan, ask, contract
        self.largest, self.labels, self.refusals, self.refused = 0.0, 0, 0, 0
        self._steps = [node for node in walk(plan) if isinstance(node, NativeStep)]
        self._known: dict[int, Found] = {}
        self._asked = 0

    def whole(self, rows: Rows, frame: pd.DataFrame) -> None:
        """Ask both about rows of the reference, which both must answer, and the plan about their frame too."""
        ours, native = self._ours(rows), self._native(rows)
        if native is None:
            raise NoPlan("it refuses rows of the reference")
        if ours is None:
            raise NoPlan(f"its plan would have no answer for {self._left(rows)} rows of the reference")
        self._agree(rows, ours, native)
        self._compare(native, self.plan.answers_by_column(columns_of(frame), len(frame)))

    def _left(self, rows: Rows) -> str:
        """Count rows that the plan leaves to the model, as far as one cares."""
        left = 0
        for some, ours in self._planned(rows):
            left += len(some) if ours is None else 0
            if left > MOST_LEFT:
                return f"more than {MOST_LEFT}"
        return str(left)

    def tried(self, rows: Rows) -> None:
        """Ask the plan about rows at once, and the model about those that it answers.

        What the plan leaves needs no answer: a plan may leave a row to the model, and never answer one that the model does not.
        """
        for some, ours in self._planned(rows):
            if ours is None:
                self.refused += len(some)
            else:
                self._beside(some, ours)

    def alone(self, row: Mapping[str, Any]) -> None:
        """Ask the plan about one row by itself, which was tried among others."""
        if self.refusals:
            return
        try:
            ours = self.plan.answers_by_row([tuple(row[name] for name in self.plan.names)])
        except NO_ANSWER:
            return
        if id(row) not in self._known:
            self._known[id(row)] = self._native([row])
        self._compare(self._known[id(row)], ours)

    def wavers(self, rows: Rows) -> bool:
        """Tell whether the model answers one of these rows otherwise alone than it did among others."""
        return any(self._changes(self._known.get(id(row)), self._native([row])) for row in rows)

    def _changes(self, among: Found, alone: Found) -> bool:
        """Tell whether the scores or values of a row are further apart than a plan's may be from its model's."""
        if among is None or alone is None:
            return among is not alone
        return any(
            x is not None and _apart(x, y) > TOLERANCE
            for a, b in zip(among, alone, strict=True)
            for x, y in ((a.scores, b.scores), (a.values, b.values))
        )

    def _planned(self, rows: Rows) -> Iterator[tuple[Rows, Found]]:
        """Ask the plan about rows; where it has no answer, first leave those that steps of the model refuse by themselves.

        Rows that are alike to the step that refuses come together: what it refused once it refuses again.
        """
        found = self._ours(rows) if rows else None
        if found is not None:
            yield rows, found
            return
        for step in self._steps:
            gone = set[int]()
            for alike in self._refused(step, rows):
                yield alike, None
                gone.update(map(id, alike))
            rows = [row for row in rows if id(row) not in gone]
        yield from self._parted(self._ours, rows)

    def _refused(self, step: NativeStep, rows: Rows) -> Iterator[Rows]:
        """Find rows that a step of the model refuses by itself: of those that are alike to it, one is asked."""
        names = [self.plan.names[place] for place in step.places]
        alike: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows if names else ():
            alike.setdefault(repr([row[name] for name in names]), []).append(row)
        for firsts, found in self._parted(partial(self._stepped, step), [each[0] for each in alike.values()]):
            if found is None:
                yield alike[repr([firsts[0][name] for name in names])]

    def _beside(self, rows: Rows, ours: tuple[Answers, ...]) -> None:
        """Ask the model about rows that the plan answers; one that it refuses is enough to refuse the plan."""
        start = 0
        for some, native in self._parted(self._native, rows):
            if native is None:
                self.refusals += 1
                return
            self._agree(some, tuple(_of(answers, start, start + len(some)) for answers in ours), native)
            start += len(some)

    def _agree(self, rows: Rows, ours: tuple[Answers, ...], native: tuple[Answers, ...]) -> None:
        self._compare(native, ours)
        for i, row in enumerate(rows):
            self._known[id(row)] = tuple(_of(answers, i, i + 1) for answers in native)

    def _parted(self, ask: Callable[[Rows], T | None], rows: Rows) -> Iterator[tuple[Rows, T | None]]:
        """Ask about rows at once; where there is no answer, about halves of them, and so on."""
        if not rows:
            return
        self._asked += 1
        if self._asked > MOST_ASKED:
            raise NoPlan("it refuses too many rows that fit its contract")
        found = ask(rows)
        if found is not None or len(rows) == 1:
            yield rows, found
            return
        half = len(rows) // 2
        yield from self._parted(ask, rows[:half])
        yield from self._parted(ask, rows[half:])

    def _stepped(self, step: NativeStep, rows: Rows) -> Any:
        try:
            return step.block(Table([[row[name] for row in rows] for name in self.plan.names], len(rows)))
        except NO_ANSWER:
            return None

    def _native(self, rows: Rows) -> Found:
        frame = tables.as_frame({name: [row[name] for row in rows] for name in self.contract.names}, self.contract)
        try:
            found = self.ask(frame)
        except Exception:  # noqa: BLE001 -- whatever a model raises at such a row, it has no answer
            return None
        return found if all(_finite(answers) for answers in found) else None

    def _ours(self, rows: Rows) -> Found:
        try:
            return self.plan.answers_by_column([[row[name] for row in rows] for name in self.plan.names], len(rows))
        except NO_ANSWER:
            return None

    def _compare(self, native: Found, ours: tuple[Answers, ...]) -> None:
        if native is None:
            self.refusals += 1
            return
        for head, a, b in zip(self.plan.heads, ours, native, strict=True):
            if "label" in head.output.parts:
                self.labels += int((np.asarray(a.labels, dtype=object) != np.asarray(b.labels, dtype=object)).sum())
            for part, x, y in (("scores", a.scores, b.scores), ("value", a.values, b.values)):
                if part in head.output.parts:
                    self.largest = max(self.largest, _apart(x, y))


def _of(answers: Answers, start: int, stop: int) -> Answers:
    parts = {name: getattr(answers, name) for name in ("labels", "scores", "values")}
    return replace(answers, **{name: part[start:stop] for name, part in parts.items() if part is not None})


def _finite(answers: Answers) -> bool:
    return all(np.isfinite(part).all() for part in (answers.scores, answers.values) if part is not None)


def _apart(ours: Any, native: Any) -> float:
    scale = np.maximum(1.0, np.abs(native))
    return float(np.max(np.abs(np.asarray(ours) - native) / scale, initial=0.0))


# ── what rows cost ──────────────────────────────────────────────────────────────────────────────────────────────────

SIZES = (1, 32, 1024)
LARGE, LITTLE_US = 8192, 25_000  # so many rows are measured too where 1,024 take so little: noise hides the slope else
FRAMES, MOST_FRAME_US = (VERY_MANY, SIZES[-1]), 100_000  # sizes of a frame, which may take the model so long
ENOUGH_S, MOST_S = 0.01, 0.15  # of one measurement, which is three calls or more unless they take long
Measured = Mapping[int, float]  # microseconds by the number of rows


def measure(plan: Plan, ask: Ask, reference: pd.DataFrame, contract: Schema) -> Costs:
    """Measure one row, some rows and many, by the plan and by the model itself."""
    real = [tuple(row[name] for name in plan.names) for row in tables.as_rows(reference.head(LARGE))]
    ours: dict[int, float] = {}
    native: dict[int, float] = {}
    for size in (*SIZES, LARGE):
        if size == LARGE and max(ours[SIZES[-1]], native[SIZES[-1]]) > LITTLE_US:
            break
        rows = (real * (size // len(real) + 1))[:size]
        values = {name: [row[i] for row in rows] for i, name in enumerate(plan.names)}
        frame = tables.as_frame(values, contract)
        ours[size], native[size] = _us(partial(_columns_answered, plan, rows)), _us(partial(ask, frame))
    framed = next((n for n in FRAMES if _slope(native) * n < MOST_FRAME_US), FRAMES[-1])
    many = reference.iloc[np.arange(framed) % len(real)]
    row_us = _us(lambda: plan.answers_by_row(real[:1]))
    return Costs(
        row_us=round(row_us, 1),
        many_us=round(_slope(ours), 3),
        few=_few(row_us, ours),
        native_row_us=round(native[1], 1),
        native_many_us=round(_slope(native), 3),
        crossover=_crossover(ours, native),
        frame_us=round(_us(lambda: plan.answers_by_column(columns_of(many), framed)) / framed, 3),
        native_frame_us=round(_us(partial(ask, many)) / framed, 3),
    )


def _columns_answered(plan: Plan, rows: Sequence[Sequence[Any]]) -> tuple[Answers, ...]:
    return plan.answers_by_column(list(zip(*rows, strict=True)), len(rows))


def _us(act: Callable[[], Any]) -> float:
    """Give microseconds a call: the least of some, for others run on this machine too."""
    act()
    taken: list[float] = []
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < MOST_S and (len(taken) < 3 or spent < ENOUGH_S):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return min(taken) * 1e6


def _slope(costs: Measured) -> float:
    (least, first), (most, last) = min(costs.items()), max(costs.items())
    return max((last - first) / (most - least), 0.001)


def _few(row_us: float, ours: Measured) -> int:
    """Tell up to how many rows are quicker one by one."""
    gained, most = row_us - _slope(ours), SIZES[-1]
    return most if gained <= 0 else max(1, min(most, int(ours[1] / gained)))


def _crossover(ours: Measured, native: Measured) -> int | None:
    """Find from how many rows on the model itself is quicker, on the lines between what was measured and on behind them."""
    points = [(size, ours[size], native[size]) for size in ours]
    for (n, a, b), (m, c, d) in pairwise(points):
        if a > b:
            return n
        if c > d:
            return math.ceil(n + (m - n) * (b - a) / ((b - a) + (c - d)))
    slower, (most, ours_us, native_us) = _slope(ours) - _slope(native), points[-1]
    return None if slower <= 0 else math.ceil(most + (native_us - ours_us) / slower)
