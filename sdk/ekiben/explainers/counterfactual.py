"""Counterfactuals: the smallest plausible changes of a row after which the model answers as wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ekiben.compiling import NO_ANSWER
from ekiben.errors import SpecError
from ekiben.explainers._context import Context, Matrix
from ekiben.explainers._header import read_header, write_header
from ekiben.explainers.alternatives.actions import Action, Room, checked, said_of
from ekiben.explainers.alternatives.asking import Asking
from ekiben.explainers.alternatives.reference import Reference
from ekiben.explainers.alternatives.searching import Search
from ekiben.explainers.alternatives.space import changed, points
from ekiben.explainers.alternatives.wanted import Answered, Wanted, read_wanted, wanted_to_json
from ekiben.explanations import Alternative, Change, Counterfactual, Explanation
from ekiben.explanations.counterfactual import Outcome
from ekiben.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

MOST_WAYS = 20


@dataclass(frozen=True, kw_only=True)
class Counterfactuals:
    """The nearest rows that are answered as wanted [1]_, sparse and several [2]_, from rows that were seen [3]_.

    Columns are changed one at a time, then several together, and reference rows with a wanted answer are brought into what
    the constraints allow; of what the model answers as wanted, columns that are not needed are put back, and numbers brought
    as close to the row's own as the answer allows. The fewest columns count first, then the sum of their changes in spreads
    of the reference, with 1 for another category. What may change is said by the contract and by `actions` [4]_: by default
    to values within what was seen, and never to a missing one. Every alternative was asked again, alone.

    References
    ----------
    .. [1] Wachter, Mittelstadt, Russell, "Counterfactual Explanations without Opening the Black Box", 2017.
    .. [2] Mothilal, Sharma, Tan, "Explaining Machine Learning Classifiers through Diverse Counterfactual Explanations", 2020.
    .. [3] Poyiadzi et al., "FACE: Feasible and Actionable Counterfactual Explanations", 2020.
    .. [4] Ustun, Spangher, Liu, "Actionable Recourse in Linear Classification", 2019.
    """

    method: ClassVar[str] = "counterfactual"

    context: Context
    reference: Reference
    wanted: Wanted | None = None
    actions: Mapping[str, Action] = field(default_factory=dict)
    n: int = 3

    @classmethod
    def fit(cls, context: Context, *, wanted: Any = None, actions: Any = None, n: int = 3) -> Counterfactuals:
        """Keep the reference rows; `adjusted` says what the settings are."""
        if wanted is None:
            read_wanted(None, context)  # of a value it must be told
        reference = Reference.fit(cls.method, context)
        bare = cls(context=context, reference=reference, actions=said_of({}, context.schema))
        return bare.adjusted(wanted=wanted, actions=actions, n=n)

    def adjusted(self, *, wanted: Any = None, actions: Any = None, n: int | None = None) -> Counterfactuals:
        """Give the same with other settings; what is left out stays.

        Parameters
        ----------
        wanted
            A label; `(low, high)` for a value, None for an open end; `{label: (low, high)}` for a label's probability. By
            default any other label.
        actions
            For a column what it may become: `"never"`, `"up"`, `"down"`, `"free"`, a list of categories, or a table of
            `change`, `minimum`, `maximum`, `categories` and `step`.
        n
            How many alternatives are given, at most 20.

        Raises
        ------
        SpecError
            If the model or a column cannot be asked so.
        """
        made = self
        if wanted is not None:
            made = replace(made, wanted=read_wanted(wanted, self.context))
        if actions is not None:
            read = said_of(actions, self.context.schema, made.actions)
            checked(read, self.reference.space.axes)
            made = replace(made, actions=read)
        if n is not None:
            if type(n) is not int or not 1 <= n <= MOST_WAYS:
                raise SpecError(f"The 'n' of counterfactuals must be from 1 to {MOST_WAYS}. Got {n!r}.")
            made = replace(made, n=n)
        return made

    def explain(self, frame: pd.DataFrame, *, seed: int = 0) -> list[Explanation]:
        """Find alternatives to each row."""
        from ekiben.tables import as_columns

        return self.explain_columns(as_columns(self.context.rows(frame)), len(frame), seed=seed)

    def explain_columns(self, columns: Sequence[Sequence[Any]], n_rows: int, *, seed: int = 0) -> list[Explanation]:
        """Find alternatives to rows that come as columns of plain values."""
        return [self._explain([_plain(column[i]) for column in columns], seed) for i in range(n_rows)]

    def _explain(self, row: list[Any], seed: int) -> Counterfactual:
        started = perf_counter()
        wanted = self.wanted or read_wanted(None, self.context)
        one = _Row(explainer=self, row=row, wanted=wanted)
        outcome, alternatives, error = one.searched(np.random.default_rng(seed))
        return Counterfactual(
            method=self.method,
            output=one.asking.output,
            before=one.now,
            score=one.score,
            wanted=wanted.sentence(self.context.classes),
            outcome=outcome,
            alternatives=tuple(alternatives),
            n_asked=one.n_asked,
            faithfulness_error=error,
            elapsed_ms=(perf_counter() - started) * 1e3,
        )

    def save(self, folder: Path) -> None:
        """Write the reference rows, and what is wanted and may change."""
        said = {name: _said(action) for name, action in self.actions.items()}
        wanted = None if self.wanted is None else wanted_to_json(self.wanted)
        write_header(folder, self.method, wanted=wanted, actions=said, n=self.n)
        self.reference.save(folder)

    @classmethod
    def load(cls, folder: Path, context: Context) -> Counterfactuals:
        """Read what `save` wrote; no reference is needed."""
        header = read_header(folder)
        bare = cls(context=context, reference=Reference.load(folder, context), actions=said_of({}, context.schema))
        return bare.adjusted(wanted=header["wanted"], actions=header["actions"], n=header["n"])


def _plain(value: Any) -> Any:
    return None if is_missing(value) else value


def _said(action: Action) -> dict[str, Any]:
    told = {key: value for key, value in asdict(action).items() if value is not None}
    return {key: list(value) if key == "categories" else value for key, value in told.items()}


@dataclass(kw_only=True)
class _Row:
    """One row: what it is answered now, what it may become, and what was found."""

    explainer: Counterfactuals
    row: list[Any]
    wanted: Wanted
    n_asked: int = 0
    unanswered: list[tuple[int, float]] = field(default_factory=list)  # a column, and what of it the model refuses

    def __post_init__(self) -> None:
        context, self.reference = self.explainer.context, self.explainer.reference
        self.classes = context.classes
        self.asking = Asking(context)
        self.own = points(self.reference.space.axes, [[value] for value in self.row])[0]
        self.first = self.asking.alone([[value] for value in self.row], 1)
        self.now, self.score = self._told(self.first, 0)

    def _told(self, answered: Answered, i: int) -> tuple[Any, float | None]:
        return answered.told(i, self.classes, scored="scores" in self.explainer.context.output.parts)

    def _values(self, codes: Matrix) -> list[list[Any]]:
        return self.reference.space.values(codes, self.row, self.own)

    def _gaps(self, codes: Matrix) -> Matrix:
        """Ask the model; a row that it has no answer for is as far as can be from what is wanted."""
        far = np.full(len(codes), np.inf)
        known = ~np.logical_or.reduce([codes[:, i] == code for i, code in self.unanswered], axis=0)
        if not known.all():
            far[known] = self._gaps(codes[known]) if known.any() else far[known]
            return far
        try:
            return self.wanted.gaps(self.asking.many(self._values(codes), len(codes)), self.now, self.classes)
        except NO_ANSWER:
            if len(codes) == 1:
                if len(moved := np.flatnonzero(changed(codes[0], self.own))) == 1:
                    self.unanswered.append((int(moved[0]), float(codes[0, moved[0]])))
                return far
        half = len(codes) // 2
        return np.concatenate([self._gaps(codes[:half]), self._gaps(codes[half:])])

    @cached_property
    def nearest(self) -> Matrix:
        """The reference rows with a wanted answer."""
        there = self.wanted.gaps(self.reference.answered, self.now, self.classes) == 0
        return np.asarray(self.reference.space.points[there])

    def searched(self, rng: np.random.Generator) -> tuple[Outcome, list[Alternative], float]:
        """Search, and ask again for what was found, each row alone."""
        if self.wanted.gaps(self.first, self.now, self.classes)[0] == 0:  # never so where another label is wanted
            return "held already", [], 0.0
        room = Room.of(self.reference.space, self.own, self.explainer.actions)
        search = Search(room, self._gaps, self.nearest, rng, self.explainer.n)
        ways, is_empty = search.run()
        self.n_asked = search.n_asked
        alternatives, error = self._verified(room, np.array(ways)) if ways else ([], 0.0)
        if alternatives:
            return "found", alternatives, error
        return ("none exists" if is_empty else "none found"), [], 0.0

    def _verified(self, room: Room, ways: Matrix) -> tuple[list[Alternative], float]:
        """Keep what the model, asked alone, answers as wanted; and tell by how much it then differed from the search."""
        columns = self._values(ways)
        together, alone = self.asking.many(columns, len(ways)), self.asking.alone(columns, len(ways))
        there = self.wanted.gaps(alone, self.now, self.classes) == 0
        narrowed = self.reference.space.narrowed(columns)
        if narrowed != columns:  # a frame holds fewer digits than JSON: both must be answered so
            there &= self.wanted.gaps(self.asking.alone(narrowed, len(ways)), self.now, self.classes) == 0
        rows = list(zip(*columns, strict=True))
        kept = [i for i in range(len(ways)) if there[i] and room.holds(ways[i], rows[i])]
        error = float(np.abs(alone.numbers - together.numbers)[kept].max(initial=0.0))
        return [self._alternative(ways[i], rows[i], self._told(together, i)) for i in kept], error

    def _alternative(self, way: Matrix, values: Sequence[Any], told: tuple[Any, float | None]) -> Alternative:
        space, names = self.reference.space, self.explainer.context.names
        places = np.flatnonzero(changed(way, self.own)).tolist()
        near = space.gower(self.nearest, way).min() if len(self.nearest) else None
        return Alternative(
            changes=tuple(Change(column=names[i], before=self.row[i], after=values[i]) for i in places),
            answer=told[0],
            score=told[1],
            n_changed=len(places),
            distance=float(space.effort(way[None], self.own)[0]),
            nearest_distance=None if near is None else float(near),
            verified=True,
        )
