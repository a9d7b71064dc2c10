"""Conditions on raw columns under which a model keeps giving the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ekiben.digits import digits
from ekiben.explanations.cards import column_of
from ekiben.explanations.reasons import Speaker, Subject
from ekiben.explanations.showing import Shown

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure

Label: TypeAlias = str | int | float | bool
Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Shown):
    """Conditions on raw columns under which the model keeps giving the same answer.

    `precision` [0, 1] is the share of `n_samples` fresh rows under the rule that got `label`; `coverage` [0, 1] is the
    share of reference rows that the rule speaks of; each has its 95 % interval beside it. `reached` tells whether the
    precision is at least the `threshold` that was searched for; where no rule found reaches it, the nearest is given.
    `faithfulness_error` is 1 - precision. Of a value, `label` is the row's, and any within the `tolerance` is the same answer.

    Examples
    --------
    >>> rule = Rule(
    ...     method="anchor",
    ...     label="good",
    ...     conditions=("Job == 'fixed'", "Income > 105.00"),
    ...     threshold=0.95,
    ...     reached=True,
    ...     precision=0.97,
    ...     precision_interval=(0.957, 0.979),
    ...     coverage=0.2,
    ...     coverage_interval=(0.176, 0.226),
    ...     n_samples=1000,
    ...     faithfulness_error=0.03,
    ...     elapsed_ms=90.0,
    ... )
    >>> rule.sentence()
    "If Job == 'fixed' and Income > 105.00, then 'good'."
    """

    kind: ClassVar[str] = "rule"

    method: str
    label: Label
    tolerance: float | None = None
    conditions: tuple[str, ...]
    threshold: float
    reached: bool
    precision: float
    precision_interval: Interval
    coverage: float
    coverage_interval: Interval
    n_samples: int
    faithfulness_error: float
    elapsed_ms: float
    subject: Subject = field(default_factory=Subject, compare=False, repr=False)

    def sentence(self) -> str:
        """Say the rule, and how often it holds where that is less than was asked for."""
        if not self.conditions:
            return f"{self._always()}."
        return f"If {' and '.join(self.conditions)}, then {self._kept()}."

    def __str__(self) -> str:
        return self.line()[-1]

    def _always(self) -> str:
        if not self.reached:
            return f"No rule was found: of all rows {self.precision:.0%} get {self._told()}"
        return f"Always {self._told()}, whatever the columns hold"

    def _kept(self) -> str:
        return self._told() if self.reached else f"{self._told()} in {self.precision:.0%} of cases only"

    def _told(self) -> str:
        return (
            repr(self.label)
            if self.tolerance is None
            else f"{digits(float(self.label), 4)} ± {digits(self.tolerance, 3)}"
        )

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Rule:
        """Read the values of its fields back from JSON."""
        tuples = ("conditions", "precision_interval", "coverage_interval")
        return cls(**{**values, **{name: tuple(values[name]) for name in tuples}})

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: `label`, `rule`, `reached`, and both shares with the ends of their intervals."""
        told: dict[str, Any] = {"label": self.label}
        told |= {} if self.tolerance is None else {"tolerance": self.tolerance}
        told |= {"rule": " and ".join(self.conditions), "reached": self.reached}
        for name, share, (low, high) in (
            ("precision", self.precision, self.precision_interval),
            ("coverage", self.coverage, self.coverage_interval),
        ):
            told |= {name: share, f"{name}_low": low, f"{name}_high": high}
        return told

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, and because of what."""
        measured = f"precision {self.precision:.2f}, coverage {self.coverage:.2f}{self._missed(', ')}"
        what = "target" if self.tolerance is not None else f"class {self.label!r}"
        return what, "", "", f"{self.sentence()} ({measured})"

    def _missed(self, before: str) -> str:
        return "" if self.reached else f"{before}below the {self.threshold:g} asked for"

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw the conditions with the row's values, and what was measured with its intervals; `ax` as in every `plot`."""
        from ekiben.plots import cards

        speaker = Speaker.of("en")
        named = [(each, column_of(each, self.subject)) for each in self.conditions]
        title = f"As long as this holds, then {self._kept()}" if self.conditions else self._always()
        shares = [
            cards.Share(name=name, share=share, low=low, high=high)
            for name, share, (low, high) in (
                ("precision", self.precision, self.precision_interval),
                ("coverage", self.coverage, self.coverage_interval),
            )
        ]
        lines = [(each, "" if name is None else speaker.measured(name, self.subject)) for each, name in named]
        return cards.rule(lines, title=title, shares=shares, threshold=self.threshold, ax=ax)
