"""The smallest changes of one row after which a model answers otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from ekiben.digits import digits
from ekiben.drawing import UP
from ekiben.explanations.reasons import Subject
from ekiben.explanations.rule import Label
from ekiben.explanations.showing import Shown

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure

Outcome: TypeAlias = Literal["found", "held already", "none exists", "none found"]

SAYINGS = {
    "held already": "The row has the wanted answer already.",
    "none exists": "No row within the constraints has the wanted answer: every one was asked.",
    "none found": "No row within the constraints was found to have the wanted answer; one may exist.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one column: values as JSON has them, None for a missing one."""

    column: str
    before: Any
    after: Any

    def sentence(self) -> str:
        """Say the change.

        >>> Change(column="Income", before=80, after=112.5).sentence()
        'Income 80 → 112.5'
        """
        say = teller((self.before, self.after))
        return f"{self.column} {say(self.before)} → {say(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One changed row, and what the model answers to it.

    Parameters
    ----------
    changes
        The columns that change; the others stay.
    answer, score
        What the model answers, and its score of that label; of a value there is none.
    n_changed
        How many columns change.
    distance
        How far: the sum of each change in spreads of the reference, and 1 for another category.
    nearest_distance
        How far the nearest reference row with a wanted answer lies, from 0 to 1: a row far from all of them is less plausible.
    verified
        Whether the model was asked for this very row again, and gave the wanted answer.
    """

    changes: tuple[Change, ...]
    answer: Label
    score: float | None
    n_changed: int
    distance: float
    nearest_distance: float | None
    verified: bool

    def sentence(self) -> str:
        """Say what changes, and what comes of it."""
        score = "" if self.score is None else f" ({self.score:.2f})"
        return f"{', '.join(change.sentence() for change in self.changes)} gives {said(self.answer)}{score}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual(Shown):
    """The smallest plausible changes of one row after which the model gives a wanted answer.

    `before` and `score` are what it answers now. `outcome` is `found`; or it says that the row `held already` the wanted
    answer, that `none exists` within the constraints (every row was asked), or that `none` was `found` among the `n_asked`
    rows that were asked. `faithfulness_error` is the largest difference between a told score or value and what the model
    gave for that very row, asked alone.

    Examples
    --------
    >>> raised = Change(column="Income", before=80, after=112)
    >>> other = Alternative(
    ...     changes=(raised,),
    ...     answer="good",
    ...     score=0.52,
    ...     n_changed=1,
    ...     distance=0.4,
    ...     nearest_distance=0.1,
    ...     verified=True,
    ... )
    >>> one = Counterfactual(
    ...     method="counterfactual",
    ...     output="the label",
    ...     before="bad",
    ...     score=0.61,
    ...     wanted="another label",
    ...     outcome="found",
    ...     alternatives=(other,),
    ...     n_asked=400,
    ...     faithfulness_error=0.0,
    ...     elapsed_ms=9.0,
    ... )
    >>> print(one.sentence())
    'bad' (0.61), wanted another label: Income 80 → 112 gives 'good' (0.52).
    """

    kind: ClassVar[str] = "counterfactual"

    method: str
    output: str
    before: Label
    score: float | None
    wanted: str
    outcome: Outcome
    alternatives: tuple[Alternative, ...]
    n_asked: int
    faithfulness_error: float
    elapsed_ms: float
    subject: Subject = field(default_factory=Subject, compare=False, repr=False)

    def sentence(self) -> str:
        """Say what the answer is, what was wanted, and what gives it."""
        score = "" if self.score is None else f" ({self.score:.2f})"
        ways = "; or ".join(each.sentence() for each in self.alternatives)
        return f"{said(self.before)}{score}, wanted {self.wanted}: {f'{ways}.' if ways else SAYINGS[self.outcome]}"

    def __str__(self) -> str:
        return self.sentence()

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Counterfactual:
        """Read the values of its fields back from JSON."""
        return cls(**{**values, "alternatives": tuple(map(_alternative, values["alternatives"]))})

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: `before`, `wanted`, `outcome`, and the first alternative's changes, answer and distance."""
        first = self.alternatives[0] if self.alternatives else None
        return {
            "before": self.before,
            "wanted": self.wanted,
            "outcome": self.outcome,
            "changes": self._sentence(first) if first else None,
            "answer": first.answer if first else None,
            "distance": first.distance if first else None,
            "n_alternatives": len(self.alternatives),
        }

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, from where, to where, and by which changes."""
        ways = "; or ".join(map(self._sentence, self.alternatives))
        after = said(self.alternatives[0].answer) if self.alternatives else ""
        return self.output, said(self.before), after, ways or SAYINGS[self.outcome]

    def _sentence(self, way: Alternative) -> str:
        told = self.subject.told
        return ", ".join(
            replace(each, before=told(each.column, each.before), after=told(each.column, each.after)).sentence()
            for each in way.changes
        )

    def _column(self, name: str) -> str:
        label, unit = self.subject.label(name), self.subject.units.get(name)
        return f"{label} ({unit})" if unit else label

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw the row beside its alternatives, with what changes marked; `ax` as in every `plot`."""
        from ekiben.plots.cards import Cell, table

        names = list(dict.fromkeys(change.column for way in self.alternatives for change in way.changes))
        ways = [{change.column: change for change in way.changes} for way in self.alternatives]
        rows = []
        for name in names:
            before = next(way[name].before for way in ways if name in way)
            told = partial(self.subject.told, name)
            say = teller((told(before), *(told(way[name].after) for way in ways if name in way)))
            afters = [
                Cell(text=say(told(way[name].after)), mark=UP, bold=True) if name in way else Cell() for way in ways
            ]
            rows.append([Cell(text=self._column(name)), Cell(text=say(told(before))), *afters])
        answers = [_scored(self.before, self.score), *(_scored(way.answer, way.score) for way in self.alternatives)]
        rows.append([Cell(text="answer"), *(Cell(text=each, bold=True) for each in answers)])
        if ways:
            far = [Cell(text=f"{way.distance:.2g}") for way in self.alternatives]
            rows.append([Cell(text="distance"), Cell(), *far])
        heads = ["column", "now", *(f"alternative {n}" for n in range(1, len(ways) + 1))]
        title = f"{_scored(self.before, self.score)}, wanted {self.wanted}"
        return table(heads, rows, title=title, note="" if ways else SAYINGS.get(self.outcome, ""), ax=ax)


def said(value: Any) -> str:
    """Say a value: a text in quotes, a number in a few digits.

    >>> said("fixed"), said(1234.5678), said(True), said(None)
    ("'fixed'", '1234.57', 'True', 'missing')
    """
    if value is None:
        return "missing"
    return digits(value, 6) if isinstance(value, float) else repr(value)


def teller(values: Collection[Any]) -> Callable[[Any], str]:
    """Give what says values so that those that differ are told apart, with all of their digits where few do not.

    >>> list(map(teller((1234.5678, 1234.5679)), (1234.5678, None)))
    ['1234.5678', 'missing']
    """
    return said if len({*map(said, values)}) == len({*map(repr, values)}) else _exactly


def _exactly(value: Any) -> str:
    return repr(value) if isinstance(value, float) else said(value)


def _alternative(told: Mapping[str, Any]) -> Alternative:
    return Alternative(**{**told, "changes": tuple(Change(**each) for each in told["changes"])})


def _scored(answer: Label, score: float | None) -> str:
    return said(answer) if score is None else f"{said(answer)} ({score:.2f})"
