"""Reasons in plain words, with the columns' own labels and units: what a person who was decided upon can be told."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ekiben.digits import digits
from ekiben.errors import SpecError, nearest
from ekiben.moments import day

WORDS = Path(__file__).parent / "words"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*")
LARGEST_CODE = 100_000  # a year or a postal code lies below it
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
class Facts:
    """What is known of a decision beside what explains it; what is empty is not known.

    `prediction` is the answer as a service gives it, `at` when it was given, `digest` that of the model's package.
    """

    prediction: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    digest: str = ""
    arm: str = ""
    id: str = ""
    at: str = ""
    rung: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The row that was explained: its values, the labels and units of its columns where the contract declares them, and its decision.

    `days` are the columns whose dates are whole days, which are told without a time.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    days: frozenset[str] = frozenset()

    def label(self, name: str) -> str:
        """Give the label of a column."""
        return self.labels.get(name, name)

    def told(self, name: str, value: Any) -> Any:
        """Give a value of a column as it is told.

        >>> Subject(days=frozenset(["since"])).told("since", "2024-01-01T00:00:00")
        '2024-01-01'
        """
        return day(value) if name in self.days and isinstance(value, str) else value


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

    def scale(self, one: Any) -> str:
        """Say what is explained and in which units: of a class in these words, of a value by its own name."""
        told = self.words["scale"].get(getattr(one, "units", ""))
        label = getattr(one, "label", None)
        return (
            self.retold("output", str(one.output)) if told is None or label is None else told.format(label=repr(label))
        )

    def retold(self, part: str, english: str) -> str:
        """Say again what was said in English by the templates of a part; anything else stays as it is.

        >>> Speaker.of("fr").retold("wanted", "at least 0.8")
        'au moins 0,8'
        """
        for name, template in _templates(part).items():
            if found := template.fullmatch(english):
                told = {key: self._part(key, text) for key, text in found.groupdict().items()}
                return self.words[part][name].format(**told)
        return english

    def why(self, english: str) -> str:
        """Say again why an explanation stands on its rung."""
        return "; ".join(self.retold("why", each) for each in english.split("; "))

    def _part(self, key: str, text: str) -> str:
        if key == "range":
            return self.retold("wanted", text)
        if key == "units":
            return (
                repr(self.words["units"].get(text[1:-1], text[1:-1]))
                if text[:1] == "'"
                else self.words["units"].get(text, text)
            )
        return self.written(text) if key in ("low", "high") else text

    def column(self, name: str, subject: Subject) -> str:
        """Say a column by its label, with the row's value where that is known."""
        words, label = self.words["column"], subject.label(name)
        if name not in subject.values:
            return words["plain"].format(label=label)
        return words["valued"].format(label=label, value=self.measured(name, subject))

    def measured(self, name: str, subject: Subject) -> str:
        """Say the row's value of a column in its unit; empty where it is not known."""
        if name not in subject.values:
            return ""
        value, unit = subject.told(name, subject.values[name]), subject.units.get(name)
        if unit and not is_missing(value):
            return self.words["column"]["measured"].format(value=self.value(value), unit=unit)
        return f"{value + 0.0:.0f}" if _may_be_a_code(value) else self.value(value)

    def value(self, value: Any) -> str:
        """Say a value: a number as it is written here, anything else as it is."""
        if is_missing(value):
            return self.words["column"]["missing"]
        if isinstance(value, bool):
            return self.words["column"]["yes" if value else "no"]
        if isinstance(value, int | float):
            return self.number(value)
        return value.replace("T", " ", 1) if isinstance(value, str) and MOMENT.fullmatch(value) else str(value)

    def number(self, value: float) -> str:
        """Write a number with at most two decimals, or three digits where it is below 1."""
        value += 0.0  # no zero has a sign
        told = f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
        if "." in told and "e" not in told:
            told = told.rstrip("0").rstrip(".")
        return self.written(told)

    def amount(self, amount: float, sign: str = "") -> str:
        """Write what was added with three digits, and a minus that is as wide as the plus.

        >>> Speaker.of("fr").amount(-0.5, "+")
        '−0,500'
        """
        return self.written(digits(amount, 3, f"{sign}#").rstrip(".")).replace("-", "−")

    def pair(self, name: str, told: str) -> str:
        """Put a colon between what something is called and what it is.

        >>> Speaker.of("en").pair("Wanted", "good")
        'Wanted: good'
        """
        return self.words["page"]["pair"].format(name=name, told=told)

    def share(self, share: float) -> str:
        """Write a share of 1 as a percentage."""
        return self.words["numbers"]["percent"].format(number=self.written(f"{100 * share:.1f}"))

    def written(self, told: str) -> str:
        """Write a number as this language does."""
        signs = {",": self.words["numbers"]["thousands"], ".": self.words["numbers"]["decimal"]}
        return "".join(signs.get(sign, sign) for sign in told)


def english(part: str, name: str, **told: Any) -> str:
    """Say something in English, so that it can be said again in other languages.

    >>> english("why", "other", method=repr("sampling"))
    "'sampling' fits"
    """
    return _read("en")[part][name].format(**told)


def is_missing(value: Any) -> bool:
    """Tell whether a value is none: None, or not a number."""
    return value is None or (isinstance(value, float) and value != value)


def _may_be_a_code(value: Any) -> bool:
    """Tell whether a number without a unit may be a year or a postal code, which is written without separators."""
    return type(value) in (int, float) and 0 <= value < LARGEST_CODE and value == int(value)


@cache
def _read(language: str) -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads((WORDS / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _templates(part: str) -> Mapping[str, re.Pattern[str]]:
    """Give what recognises the English templates of a part."""
    return {
        name: re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(told)), re.DOTALL)
        for name, told in _read("en")[part].items()
    }
