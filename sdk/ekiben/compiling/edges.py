"""Rows at the edges of what a contract takes: where a plan that is wrong would differ from its model."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ekiben.compiling.nodes import Node
from ekiben.compiling.nodes.columns import Columns, Join, Select, Shared
from ekiben.compiling.nodes.numbers import Impute, Round, Scale, Stretch
from ekiben.compiling.plans import Plan
from ekiben.schema import Column, Schema
from ekiben.values import bounds, misfit

MOST_MIXED = 3000  # rows of which every column is at or beside one of its split points
MOST_SINGLE = 1500  # rows of which one column is, the others as they were in a real row
BASES = 12  # real rows that are changed in one column
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
    points = {name: values for name, values in points.items() if values}
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
    elif column.kind == "boolean":
        yield from (True, False)
    else:
        yield from column.categories or ()
        seen = next((row[column.name] for row in rows if row[column.name] is not None), None)
        if not column.is_closed and column.kind == "text":
            yield from unseen(column, seen)


def _extremes(column: Column) -> list[float]:
    low, high = (float(end) if isinstance(end, int | float) else 0.0 for end in (column.low, column.high))
    span = (high - low) or max(abs(high), 1.0)
    ends = [float(end) for end in (column.minimum, column.maximum) if isinstance(end, int | float)]
    return [low, high, low - span, high + span, low - 1000 * span, high + 1000 * span, 0.0, -0.0, *ends]


def _fitting(column: Column, values: Sequence[float]) -> list[Any]:
    """Keep what the contract takes; of integers the whole numbers around each value."""
    if column.kind == "boolean":
        return []
    if column.kind == "integer":
        whole = {int(each) for value in values if abs(value) < 2**62 for each in (math.floor(value), math.ceil(value))}
        return [value for value in sorted(whole) if misfit(column, value) is None]
    low, high = bounds(column)
    return sorted({float(value) for value in values if math.isfinite(value) and low <= value <= high})


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
    every = [(name, value) for name, values in points.items() for value in values]
    for name, value in every if len(every) <= MOST_SINGLE else draws.sample(every, MOST_SINGLE):
        yield name, value, {**draws.choice(rows), name: value}


# ── where a plan changes its mind ───────────────────────────────────────────────────────────────────────────────────

Inverse = Callable[[float], float]


def split_points(plan: Plan) -> dict[str, list[float]]:
    """Give, for each column, the values at which a split changes its mind, and the next ones on both sides."""
    found: dict[str, set[float]] = {}
    for node in walk(plan):
        for number, thresholds in node.thresholds().items():
            source = _source(node.of, number) if hasattr(node, "of") else None
            if source is not None:
                place, inverse = source
                values = found.setdefault(plan.names[place], set())
                for threshold in thresholds:
                    values.update(_beside(inverse(threshold)))
    return {name: sorted(values) for name, values in found.items()}


def _beside(value: float) -> list[float]:
    """Give a value and its neighbours, in 64 bits and in 32."""
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
        below, above = np.nextafter(narrow, np.float32(-np.inf)), np.nextafter(narrow, np.float32(np.inf))
    wide = (value, math.nextafter(value, -math.inf), math.nextafter(value, math.inf))
    return [each for each in (*wide, float(narrow), float(below), float(above)) if math.isfinite(each)]


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
