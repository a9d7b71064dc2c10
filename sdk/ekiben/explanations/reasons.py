"""Reasons in plain words, with the columns' own labels and units: what a person who was decided upon can be told."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ekiben.errors import SpecError, nearest

WORDS = Path(__file__).parent / "words"
Side = Literal["raised", "lowered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason for an answer: the column, which way it moved the answer and by how much, in the explanation's units.

    Examples
    --------
    >>> str(Reason(column="debt", side="raised", amount=0.4, text="Debt (2,500 EUR) raised the chance of 'bad'."))
    "Debt (2,500 EUR) raised the chance of 'bad'."
    """

    column: str
    side: Side
    amount: float
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The row that was explained: its values, and the labels and units of its columns where the contract declares them."""

    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def languages() -> tuple[str, ...]:
    """List the languages in which reasons are given.

    >>> languages()
    ('en', 'fr')
    """
    return tuple(sorted(path.stem for path in WORDS.glob("*.toml")))


@dataclass(frozen=True, slots=True)
class Speaker:
    """Says things in one language.

    Examples
    --------
    >>> Speaker.of("fr").number(2500.5)
    '2\u202f500,5'
    """

    words: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, language: str) -> Speaker:
        """Speak a language.

        Raises
        ------
        SpecError
            If there are no words of it.
        """
        known = languages()
        if language not in known:
            listed = ", ".join(map(repr, known))
            raise SpecError(f"The 'language' must be one of {listed}. Got {language!r}.{nearest(str(language), known)}")
        return cls(_read(language))

    def reason(self, side: Side, column: str, what: str) -> str:
        """Say that a column moved something."""
        return self.words["reason"][side].format(column=column, what=what)

    def what(self, units: str, label: Any) -> str:
        """Say what is explained: the chance or the score of a label, or the answer."""
        if label is None:
            return self.words["what"]["value"]
        kind = "probability" if units in ("probability", "log-odds") else "score"
        return self.words["what"][kind].format(label=repr(label))

    def column(self, name: str, subject: Subject) -> str:
        """Say a column by its label, with the row's value where that is known."""
        words, label = self.words["column"], subject.labels.get(name, name)
        if name not in subject.values:
            return words["plain"].format(label=label)
        value = subject.values[name]
        if value is None or value != value:
            return words["missing"].format(label=label)
        told, unit = self.value(value), subject.units.get(name)
        return words["valued"].format(
            label=label, value=words["measured"].format(value=told, unit=unit) if unit else told
        )

    def value(self, value: Any) -> str:
        """Say a value: a number as it is written here, anything else as it is."""
        if isinstance(value, bool):
            return self.words["column"]["yes" if value else "no"]
        return self.number(value) if isinstance(value, int | float) else str(value)

    def number(self, value: float) -> str:
        """Write a number with at most two decimals, or three digits where it is below 1."""
        told = f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
        if "." in told and "e" not in told:
            told = told.rstrip("0").rstrip(".")
        signs = {",": self.words["numbers"]["thousands"], ".": self.words["numbers"]["decimal"]}
        return "".join(signs.get(sign, sign) for sign in told)


@cache
def _read(language: str) -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads((WORDS / f"{language}.toml").read_text(encoding="utf-8"))
