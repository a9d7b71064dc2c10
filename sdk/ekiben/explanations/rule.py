"""Conditions on raw columns under which a model keeps giving the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, TypeAlias

Label: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Conditions on raw columns under which the model keeps giving the same answer.

    `precision` [0, 1] is the share of `n_samples` fresh rows under the rule that got `label`; `coverage` [0, 1] is the
    share of reference rows that the rule speaks of. `faithfulness_error` is 1 - precision.

    Examples
    --------
    >>> rule = Rule(
    ...     method="anchor",
    ...     label="good",
    ...     conditions=("Job == 'fixed'", "Income > 105.00"),
    ...     precision=0.97,
    ...     coverage=0.2,
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
    precision: float
    coverage: float
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
        return cls(**{**values, "conditions": tuple(values["conditions"])})

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: `label`, `rule`, `precision` and `coverage`."""
        said = " and ".join(self.conditions)
        return {"label": self.label, "rule": said, "precision": self.precision, "coverage": self.coverage}

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, and because of what."""
        measured = f"precision {self.precision:.2f}, coverage {self.coverage:.2f}"
        return f"class {self.label!r}", "", "", f"{self.sentence()} ({measured})"

    def html(self) -> str:
        """Draw the rule with what was measured of it."""
        code = (
            '<code style="background:rgba(128,128,128,.18);padding:1px 5px;border-radius:4px;color:inherit">{}</code>'
        )
        said = " and ".join(code.format(escape(condition)) for condition in self.conditions)
        label = f"<b>{escape(repr(self.label))}</b>"
        sentence = f"If {said}, then {label}." if said else f"Always {label}, whatever the columns hold."
        return (
            f'<div>{sentence}</div><div style="opacity:.75;margin-top:4px">Holds for <b>{self.precision:.1%}</b> of '
            f"{self.n_samples:,} fresh rows under the rule; covers <b>{self.coverage:.1%}</b> of the reference.</div>"
        )
