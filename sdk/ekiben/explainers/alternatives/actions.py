"""What may change in a row: the words of a user, and the room that they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, get_args

import numpy as np

from ekiben.errors import SpecError, nearest
from ekiben.explainers._context import Matrix
from ekiben.explainers._settings import is_finite
from ekiben.explainers.alternatives.space import Axis, Space
from ekiben.moments import DAY
from ekiben.schema import Bound, Change, Column, Schema, place
from ekiben.values import misfit

LONGEST = 2**63  # of the steps of integers and dates: a longer one leads out of every range as well
STEP_DIGITS = 12  # after the point, of a value some steps away
WORDS = ("change", "minimum", "maximum", "categories", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What may become of one column.

    Parameters
    ----------
    change
        `free`, `never`, or only `up` or `down`.
    minimum, maximum
        The range that a changed value keeps to; by default what was seen.
    categories
        The values that it may change to; by default those that were seen.
    step
        A change is a whole number of steps.
    """

    change: Change = "free"
    minimum: Bound | None = None
    maximum: Bound | None = None
    categories: tuple[Any, ...] | None = None
    step: float | None = None


def said_of(words: Any, schema: Schema, before: Mapping[str, Action] | None = None) -> dict[str, Action]:
    """Read what a user says of some columns; of the others it is what was said before, or what the contract says.

    Parameters
    ----------
    words
        For a column a word (`"never"`, `"up"`, …), a list of values, or a table of `change`, `minimum`, `maximum`,
        `categories` and `step`.

    Raises
    ------
    SpecError
        If there is no such column or word, or the column cannot hold to it.

    Examples
    --------
    >>> from ekiben.schema import Column
    >>> age = Schema(columns=(Column(name="age", kind="integer", dtype="int64", nullable=False),))
    >>> said_of({"age": {"change": "up", "maximum": 70}}, age)["age"].maximum
    70
    >>> said_of({"age": "upward"}, age)
    Traceback (most recent call last):
    ...
    ekiben.errors.SpecError: The 'change' of 'age' must be one of 'free', 'never', 'up', 'down'. Got 'upward'.
    """
    if not isinstance(words, Mapping):
        raise SpecError(
            f"The 'actions' must be a table of columns, such as {{'age': 'never'}}. Got {type(words).__name__}."
        )
    unknown = sorted(str(name) for name in words if name not in schema.names)
    if unknown:
        raise SpecError(
            f"The 'actions' must name columns of the contract. Got {unknown}.{nearest(unknown[0], schema.names)}"
        )
    said = dict(before or {column.name: Action(change=column.change) for column in schema.columns})
    return said | {name: _read(name, told, said[name]) for name, told in words.items()}


def _read(name: str, told: Any, said: Action) -> Action:
    if isinstance(told, str):
        told = {"change": told}
    if isinstance(told, list | tuple):
        told = {"categories": told}
    if not isinstance(told, Mapping) or not {*told} <= {*WORDS}:
        raise SpecError(
            f"The action of {name!r} must be a word, a list of values, or a table of {', '.join(WORDS)}. Got another."
        )
    if not isinstance(told.get("categories", ()), list | tuple):
        raise SpecError(
            f"The 'categories' of {name!r} must be a list of values. Got {type(told['categories']).__name__}."
        )
    changes: dict[str, Any] = dict(told)
    if "categories" in changes:
        changes["categories"] = tuple(changes["categories"])
    made = replace(said, **changes)
    known = get_args(Change)
    if made.change not in known:
        words = ", ".join(map(repr, known))
        hint = nearest(str(made.change), known)
        raise SpecError(f"The 'change' of {name!r} must be one of {words}. Got {made.change!r}.{hint}")
    return made


def broken(action: Action, column: Column, before: Any, after: Any) -> bool:
    """Tell whether a change of plain values is one that an action does not allow.

    >>> age = Column(name="age", kind="integer", dtype="int64", nullable=False)
    >>> [broken(Action(change="up", maximum=70), age, 30, after) for after in (29, 31, 71)]
    [True, False, True]
    """
    if after is None or (action.categories is not None and after not in action.categories):
        return True
    if action.change in ("never", "free") and action.minimum is None and action.maximum is None:
        return action.change == "never"
    if action.change != "free" and before is None:
        return True
    was: Any = None if before is None else _place(column, before)
    now: Any = _place(column, after)
    low, high = (None if bound is None else place(bound) for bound in (action.minimum, action.maximum))
    wrong = {"up": was is not None and now <= was, "down": was is not None and now >= was}.get(action.change, False)
    return wrong or (low is not None and now < low) or (high is not None and now > high)


def _place(column: Column, value: Any) -> Any:
    """Give where a value lies in its order."""
    return (column.categories or ()).index(value) if column.kind == "category" else place(value)


def checked(actions: Mapping[str, Action], axes: Sequence[Axis]) -> None:
    """See that each column can hold to what is said of it."""
    for axis in axes:
        for fault in _faults(axis, actions[axis.column.name]):
            raise SpecError(fault)


def _faults(axis: Axis, action: Action) -> Iterator[str]:
    name = axis.column.name
    limits = {"minimum": action.minimum, "maximum": action.maximum, "step": action.step}
    given = [key for key, value in limits.items() if value is not None]
    if given and not axis.is_ordered:
        yield f"A {given[0]!r} needs a column of numbers or dates. Got it for {name!r}."
    if action.change in ("up", "down") and not _has_direction(axis):
        yield f"A direction needs a column that has an order. Got {action.change!r} for {name!r}."
    if action.categories is not None and axis.is_ordered:
        yield f"Numbers and dates have a range and no 'categories'. Got them for {name!r}."
    values = [value for value in (action.minimum, action.maximum, *(action.categories or ())) if value is not None]
    taken = (
        replace(axis.column, kind="number") if axis.column.kind == "integer" else axis.column
    )  # a bound may have a fraction
    for got in filter(None, (misfit(taken, value) for value in values)):
        yield f"What {name!r} may become must be what the contract takes. Got {got}."
    if action.categories is not None and (axis.codes(action.categories) < 0).any():
        yield f"The 'categories' of {name!r} must be values that the reference holds. Got others as well."
    if action.step is not None and not _is_a_step(action.step):
        yield f"The 'step' of {name!r} must be a number above 0. Got {action.step!r}."
    if action.minimum is not None and action.maximum is not None:
        low, high = axis.codes([action.minimum, action.maximum])
        if low > high:
            yield f"The 'minimum' of {name!r} must not lie above its 'maximum'. Got {low:g} and {high:g}."


def _is_a_step(step: Any) -> bool:
    return is_finite(step) and step > 0


def _has_direction(axis: Axis) -> bool:
    return axis.is_ordered or (axis.column.kind == "category" and axis.column.ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one column of a row may become: a range of numbers, or some choices."""

    axis: Axis
    own: float
    low: float = np.nan
    high: float = np.nan
    step: float = 1.0
    start: float = 0.0
    digits: int = 0
    choices: Matrix = field(default_factory=lambda: np.empty(0))

    @property
    def is_free(self) -> bool:
        """Whether it may become anything else."""
        if not self.axis.is_ordered:
            return len(self.choices) > 0
        first, last = self._ends()
        return bool(first <= last) and not (first == last and self._at(np.array(first)) == self.own)

    @property
    def n_values(self) -> float:
        """How many values it may have, its own among them."""
        if not self.is_free:
            return 1.0
        first, last = self._ends() if self.axis.is_ordered else (1, len(self.choices))
        return last - first + 2

    def _ends(self) -> tuple[float, float]:
        """Give the first and the last step within the range."""
        slack = 1e-9
        first = np.ceil((self.low - self.start) / self.step - slack)
        return float(first), float(np.floor((self.high - self.start) / self.step + slack))

    def _at(self, steps: Matrix) -> Matrix:
        return np.asarray(np.round(self.start + steps * self.step, self.digits))

    def fitting(self, codes: Matrix) -> Matrix:
        """Bring numbers to the nearest that the column may become; what is its own stays."""
        if not self.is_free:
            return np.full(len(codes), self.own)
        if not self.axis.is_ordered:
            return np.where(np.isin(codes, self.choices), codes, self.own)
        first, last = self._ends()
        steps = np.clip(np.round((codes - self.start) / self.step), first, last)
        return np.where(np.isnan(codes) | (codes == self.own), self.own, self._at(steps))

    def every(self) -> Matrix:
        """List all that it may become, its own first."""
        if not self.is_free:
            return np.array([self.own])
        first, last = self._ends() if self.axis.is_ordered else (0.0, 0.0)
        others = self._at(np.arange(first, last + 1)) if self.axis.is_ordered else self.choices
        return np.array([self.own, *others[others != self.own]])

    def some(self, most: int) -> Matrix:
        """List values to try: all choices, or numbers spread as they were seen."""
        if not self.is_free:
            return np.empty(0)
        if not self.axis.is_ordered:
            return self.choices[:most]
        within = self.axis.seen[(self.axis.seen >= self.low) & (self.axis.seen <= self.high)]
        places = np.linspace(0, len(within) - 1, min(most, len(within))).round().astype(int)
        made = np.unique(self.fitting(np.array([self.low, *within[places], self.high])))
        return np.asarray(made[made != self.own])

    def holds(self, code: float, value: Any) -> bool:
        """Tell whether a value is its own, or one that it may become."""
        if code == self.own or (code != code and self.own != self.own):
            return True
        if not self.is_free or code != code or misfit(self.axis.column, value) is not None:
            return False
        if not self.axis.is_ordered:
            return code in self.choices
        return bool(self.low <= code <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one row may become: a side for each column."""

    space: Space
    own: Matrix
    sides: tuple[Side, ...]

    @classmethod
    def of(cls, space: Space, own: Matrix, actions: Mapping[str, Action]) -> Room:
        """Find the room that the actions leave a row."""
        pairs = zip(space.axes, own.tolist(), strict=True)
        return cls(
            space=space, own=own, sides=tuple(_side(axis, code, actions[axis.column.name]) for axis, code in pairs)
        )

    @property
    def free(self) -> list[int]:
        """The columns that may change."""
        return [i for i, side in enumerate(self.sides) if side.is_free]

    @property
    def n_rows(self) -> float:
        """How many rows it may become."""
        return float(np.prod([side.n_values for side in self.sides]))

    def fitting(self, codes: Matrix) -> Matrix:
        """Bring points into the room."""
        return np.column_stack([side.fitting(codes[:, i]) for i, side in enumerate(self.sides)])

    def every(self) -> Matrix:
        """List every row that it may become."""
        free = self.free
        listed = np.meshgrid(*[self.sides[i].every() for i in free], indexing="ij")
        made = np.tile(self.own, (listed[0].size, 1))
        made[:, free] = np.column_stack([each.ravel() for each in listed])
        return made

    def holds(self, codes: Matrix, values: Sequence[Any]) -> bool:
        """Tell whether a row keeps to all of it."""
        return all(
            side.holds(code, value) for side, code, value in zip(self.sides, codes.tolist(), values, strict=True)
        )


def _side(axis: Axis, own: float, action: Action) -> Side:
    if action.change == "never" or (action.change != "free" and own != own):  # what is missing has no direction
        return Side(axis=axis, own=own)
    if not axis.is_ordered:
        choices = _choices(axis, action)
        within = {"up": choices > own, "down": choices < own, "free": choices != own}[action.change]
        return Side(axis=axis, own=own, choices=choices[within])
    low, high = _range(axis, action)
    low = max(low, own) if action.change == "up" else low
    high = min(high, own) if action.change == "down" else high
    if action.step is None:
        return Side(axis=axis, own=own, low=low, high=high, step=axis.grid, digits=axis.digits)
    start, digits = 0.0 if own != own else own, max(axis.digits, STEP_DIGITS)
    return Side(axis=axis, own=own, low=low, high=high, step=_step(axis, action.step), start=start, digits=digits)


def _step(axis: Axis, step: float) -> float:
    """Give a step in the axis's own: of dates it is told in days; of them and of integers the least multiple that is whole."""
    if axis.column.kind == "number":
        return float(step)
    scale = DAY // axis.step_ns if axis.column.kind == "datetime" else 1
    return float(min((Fraction(float(step)).limit_denominator() * scale).numerator or 1, LONGEST))


def _range(axis: Axis, action: Action) -> tuple[float, float]:
    """Give the range of a changed value: what is said, or what was seen, within what the contract takes."""
    column = axis.column
    sampled = (axis.seen[0], axis.seen[-1]) if len(axis.seen) else (np.nan, np.nan)
    seen = axis.codes([column.low, column.high])
    said = axis.codes([action.minimum, action.maximum])
    lowest, highest = axis.codes([column.minimum, column.maximum])
    low, high = (_first(*each) for each in zip(said, seen, sampled, strict=True))
    return float(np.fmax(low, lowest)), float(np.fmin(high, highest))


def _first(*bounds: float) -> float:
    """Give the first bound that is told."""
    return next((bound for bound in bounds if bound == bound), np.nan)


def _choices(axis: Axis, action: Action) -> Matrix:
    """List the places that a column may change to: what is said, or what was seen; free text and lists stay as they are."""
    if action.categories is not None:
        return axis.codes(action.categories)
    known = axis.column.kind in ("boolean", "category") or axis.column.categories is not None
    return np.arange(len(axis.choices or ()), dtype=np.float64) if known else np.empty(0)
