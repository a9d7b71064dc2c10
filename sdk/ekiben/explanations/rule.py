"""Conditions on raw columns under which a model keeps giving the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, TypeAlias

Label: TypeAlias = str | int | float | bool
Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions on raw columns under which the model keeps giving the same answer.

    `precision` [0, 1] is the share of `n_samples` fresh rows under the rule that got `label`; `coverage` [0, 1] is the
    share of reference rows that the rule speaks of; each has its 95 % interval beside it. `reached` tells whether the
    precision is at least the `threshold` that was searched for; where no rule found reaches it, the nearest is given.
    `faithfulness_error` is 1 - precision.

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

    def sentence(self) -> str:
        """Say the rule."""
        return f"If {' and '.join(self.conditions)}, then {self.label!r}." if self.conditions else f"{self._always()}."

    def _always(self) -> str:
        return f"Always {self.label!r}, whatever the columns hold"

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Rule:
        """Read the values of its fields back from JSON."""
        tuples = ("conditions", "precision_interval", "coverage_interval")
        return cls(**{**values, **{name: tuple(values[name]) for name in tuples}})

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: `label`, `rule`, `reached`, and both shares with the ends of their intervals."""
        told: dict[str, Any] = {"label": self.label, "rule": " and ".join(self.conditions), "reached": self.reached}
        for name, share, (low, high) in (
            ("precision", self.precision, self.precision_interval),
            ("coverage", self.coverage, self.coverage_interval),
        ):
            told |= {name: share, f"{name}_low": low, f"{name}_high": high}
        return told

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, and because of what."""
        measured = f"precision {self.precision:.2f}, coverage {self.coverage:.2f}{self._missed(', ')}"
        return f"class {self.label!r}", "", "", f"{self.sentence()} ({measured})"

    def _missed(self, before: str) -> str:
        return "" if self.reached else f"{before}below the {self.threshold:g} asked for"

    def html(self) -> str:
        """Draw the rule with what was measured of it."""
        code = (
            '<code style="background:rgba(128,128,128,.18);padding:1px 5px;border-radius:4px;color:inherit">{}</code>'
        )
        said = " and ".join(code.format(escape(condition)) for condition in self.conditions)
        label = f"<b>{escape(repr(self.label))}</b>"
        sentence = f"If {said}, then {label}." if said else f"Always {label}, whatever the columns hold."
        return (
            f'<div>{sentence}</div><div style="opacity:.75;margin-top:4px">Holds for <b>{self.precision:.1%}</b> '
            f"({_span(self.precision_interval)}){self._missed(', ')} of {self.n_samples:,} fresh rows under the rule; covers "
            f"<b>{self.coverage:.1%}</b> ({_span(self.coverage_interval)}) of the reference.</div>"
        )


def _span(interval: Interval) -> str:
    return f"{interval[0]:.1%} to {interval[1]:.1%}"
