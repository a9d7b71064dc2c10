"""Rows at the edges of what a contract takes: where a plan that is wrong would differ from its model."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import Node
from ekiben.compiling.nodes.columns import Columns, Join, Select, Shared
from ekiben.compiling.nodes.numbers import Impute, Round, Scale, Stretch
from ekiben.compiling.nodes.sides import Sides
from ekiben.compiling.plans import Plan
from ekiben.compiling.translating import ROUNDED
from ekiben.schema import Column, Schema
from ekiben.values import bounds, misfit

if TYPE_CHECKING:
    from ekiben.models import Array

MOST_MIXED = 3000  # rows of which every column is at or beside one of its split points
MOST_SINGLE = 1500  # rows of which one column is, the others as they were in a real row
BASES = 12  # real rows that are changed in one column
EXACT = 2**53  # from here on there are integers between two numbers of 64 bits
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Rows to try, and how many split points they stand at, of how many there are."""

    special: Rows
    splits: Rows
    n_points: int
    n_tried: int


def edges(plan: Plan, contract: Schema, rows: Rows, unseen: Callable[[Column, Any], Sequence[str]]) -> Edges:
    """Make rows from a contract and a plan: missing, unseen, extreme values, and values at and beside split points.

    Parameters
    ----------
    plan
        Its nodes say where they change their mind.
    contract
        What each column takes.
    rows
        Real rows, of which each edge row is a copy that was changed.
    unseen
        Gives texts that a column has not seen, for one that it has.
    """
    points = {name: _fitting(contract[name], values) for name, values in split_points(plan).items()}
    points = {name: values for name, values in points.items() if len(values)}
    draws = random.Random(0)  # noqa: S311 -- the same rows each time
    mixed = list(_mixed(points, rows))
    single = list(_single(points, rows, draws))
    reached = {(name, row[name]) for row in mixed for name in points} | {(name, value) for name, value, _ in single}
    return Edges(
        special=list(_special(contract, rows[:BASES], unseen)),
        splits=[*mixed, *(row for _, _, row in single)],
        n_points=sum(len(values) for values in points.values()),
        n_tried=len(reached),
    )


def _special(contract: Schema, rows: Rows, unseen: Callable[[Column, Any], Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Change one column of real rows to each value that is out of the ordinary, and all columns that may be missing at once."""
    for i, column in enumerate(contract.columns):
        for value in _odd(column, rows, unseen):
            yield {**rows[i % len(rows)], column.name: value}
    gaps = {column.name: None for column in contract.columns if column.nullable}
    if gaps:
        yield from ({**row, **gaps} for row in rows[:3])


def _odd(column: Column, rows: Rows, unseen: Callable[[Column, Any], Sequence[str]]) -> Iterator[Any]:
    if column.nullable:
        yield None
    if column.kind in ("number", "integer"):
        yield from _fitting(column, _extremes(column))
        yield from _fitting(column, np.array(_as_written(column, rows)))
    elif column.kind == "boolean":
        yield from (True, False)
    else:
        yield from column.categories or ()
        seen = next((row[column.name] for row in rows if row[column.name] is not None), None)
        if not column.is_closed and column.kind == "text":
            yield from unseen(column, seen)


def _as_written(column: Column, rows: Rows) -> list[float]:
    """Give numbers of a column of 32 bits as people write them: 0.1, which 64 bits hold otherwise."""
    seen = [row[column.name] for row in rows if row[column.name] is not None]
    return [float(str(np.float32(value))) for value in seen] if column.dtype.lower() in ROUNDED else []


def _extremes(column: Column) -> Array:
    low, high = (float(end) if isinstance(end, int | float) else 0.0 for end in (column.low, column.high))
    span = (high - low) or max(abs(high), 1.0)
    ends = [float(end) for end in (column.minimum, column.maximum) if isinstance(end, int | float)]
    return np.array([low, high, low - span, high + span, low - 1000 * span, high + 1000 * span, 0.0, -0.0, *ends])


def _fitting(column: Column, values: Array) -> list[Any]:
    """Keep what the contract takes, in rising order; of integers the whole numbers around each value, and beside a large one."""
    if column.kind == "boolean":
        return []
    if column.kind == "integer":
        near = values[np.abs(values) < 2.0**62]
        whole = {int(value) for value in np.unique(np.concatenate([np.floor(near), np.ceil(near)])).tolist()}
        whole |= {value + by for value in whole if abs(value) >= EXACT for by in (-1, 1)}
        return [value for value in sorted(whole) if misfit(column, value) is None]
    low, high = bounds(column)
    kept: list[float] = np.unique(values[np.isfinite(values) & (low <= values) & (values <= high)]).tolist()
    return kept


def _mixed(points: Mapping[str, list[Any]], rows: Rows) -> Iterator[dict[str, Any]]:
    most = max((len(values) for values in points.values()), default=0)
    for i in range(min(most, MOST_MIXED)):
        # a stride spreads a long list over the rows, and the column's own start keeps the columns from going in step
        yield rows[i % len(rows)] | {
            name: values[(i * max(1, len(values) // MOST_MIXED) + 7 * k) % len(values)]
            for k, (name, values) in enumerate(points.items())
        }


def _single(
    points: Mapping[str, list[Any]], rows: Rows, draws: random.Random
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    ends = list(accumulate(map(len, points.values())))
    total = ends[-1] if ends else 0
    names, columns = list(points), list(points.values())
    for number in range(total) if total <= MOST_SINGLE else draws.sample(range(total), MOST_SINGLE):
        place = bisect_right(ends, number)
        name, value = names[place], columns[place][number - ends[place]]
        yield name, value, {**draws.choice(rows), name: value}


# ── where a plan changes its mind ───────────────────────────────────────────────────────────────────────────────────

Inverse = Callable[[Any], Any]  # for a number, or an array of numbers


def split_points(plan: Plan) -> dict[str, Array]:
    """Give, for each column, the values at which a split changes its mind, and the next ones on both sides."""
    found: dict[str, list[Array]] = {}
    for node in walk(plan):
        for number, thresholds in node.thresholds().items():
            source = _source(node.of, number) if hasattr(node, "of") else None
            if source is not None:
                place, inverse = source
                values = np.unique(np.fromiter(thresholds, dtype=np.float64))
                found.setdefault(plan.names[place], []).append(_beside(inverse(values)))
    return {name: np.unique(np.concatenate(values)) for name, values in found.items()}


def _beside(values: Array) -> Array:
    """Give values and their neighbours, in 64 bits and in 32."""
    ends = np.inf, -np.inf
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        beside = [np.nextafter(narrow, np.float32(end)).astype(np.float64) for end in ends]
        made = np.concatenate([values, *(np.nextafter(values, end) for end in ends), narrow, *beside])
    kept: Array = made[np.isfinite(made)]
    return kept


def walk(plan: Plan) -> Iterator[Node]:
    """Go through every node of a plan once."""
    seen: set[int] = set()
    waiting: list[Node | None] = [node for head in plan.heads for node in (head.core, head.scores, head.value)]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        waiting += [*getattr(node, "parts", ()), getattr(node, "of", None)]
        yield node


def _source(node: Node, number: int) -> tuple[int, Inverse] | None:
    """Find the column that makes a number, and how to come back from the number to its value."""
    if isinstance(node, Columns):
        return node.places[number], lambda value: value
    if isinstance(node, Join):
        for part in node.parts:
            if number < part.width:
                return _source(part, number)
            number -= part.width
        return None
    if isinstance(node, Select):
        return _source(node.of, node.keep[number])
    if isinstance(node, Sides):
        return _source(node.of, number) if number < node.of.width else None
    if isinstance(node, Impute):
        return _source(node.of, node.keep[number]) if number < len(node.keep) else None
    if isinstance(node, Scale):
        return _undone(_source(node.of, number), *node.pairs[number])
    if isinstance(node, Stretch):
        scale, add = node.pairs[number]
        return _undone(_source(node.of, number), -add / scale, 1 / scale) if scale else None
    return _source(node.of, number) if isinstance(node, Round | Shared) else None


def _undone(source: tuple[int, Inverse] | None, shift: float, scale: float) -> tuple[int, Inverse] | None:
    if source is None:
        return None
    place, inverse = source
    return place, lambda value: inverse(value * scale + shift)
