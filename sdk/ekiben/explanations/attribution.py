"""What each raw column added to one prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import fsum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ekiben import fitting
from ekiben.digits import digits
from ekiben.errors import SpecError
from ekiben.explanations.cards import SHOWN_COLUMNS, n_shown
from ekiben.explanations.reasons import Reason, Side, Speaker, Subject
from ekiben.explanations.rule import Label
from ekiben.explanations.showing import Shown

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure

Units = Literal["log-odds", "margin", "probability", "indicator", "target"]

TEXT_WIDTH = 80  # columns of a terminal
TEXT_BAR = 18  # of them for the longest bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution(Shown):
    """What each raw column added to one prediction.

    `value` is `base_value` plus the sum of `contributions`, up to `faithfulness_error`, all in `units`.
    `standard_errors` is None for an exact method, and `label` for a value. `subject` is the row that was explained, where it
    is at hand: it takes no part in comparisons, and does not travel.

    Examples
    --------
    >>> one = Attribution.of(
    ...     method="linear-interventional",
    ...     output="log-odds of 'bad'",
    ...     units="log-odds",
    ...     base_value=-1.0,
    ...     value=0.5,
    ...     contributions={"age": 2.0, "income": -0.5},
    ...     elapsed_ms=0.1,
    ... )
    >>> one.faithfulness_error
    0.0
    """

    kind: ClassVar[str] = "attribution"

    method: str
    output: str
    units: Units
    base_value: float
    value: float
    contributions: Mapping[str, float]
    standard_errors: Mapping[str, float] | None = None
    label: Label | None = None
    faithfulness_error: float
    elapsed_ms: float
    subject: Subject = field(default_factory=Subject, compare=False, repr=False)

    @classmethod
    def of(cls, *, base_value: float, value: float, contributions: Mapping[str, float], **rest: Any) -> Attribution:
        """Make an attribution, and measure by how much it fails to add up."""
        error = gap(base_value, value, contributions.values())
        return cls(base_value=base_value, value=value, contributions=contributions, faithfulness_error=error, **rest)

    def strongest(self, n_columns: int = SHOWN_COLUMNS) -> list[tuple[str, float]]:
        """List the columns that moved the prediction most, the strongest first."""
        return sorted(self.contributions.items(), key=lambda item: -abs(item[1]))[:n_columns]

    def __str__(self) -> str:
        """Draw a bar for each column, as a terminal can.

        >>> print(
        ...     Attribution.of(
        ...         method="m",
        ...         output="target",
        ...         units="target",
        ...         base_value=1.0,
        ...         value=2.5,
        ...         contributions={"area": 2.0, "age": -0.5},
        ...         elapsed_ms=0.5,
        ...     )
        ... )
        target = 2.50 from a base of 1.00
        area                   |██████████████████ +2.00
        age                ████|                   −0.500
        """
        lines = _lines(self)
        longest = TEXT_WIDTH - 2 * TEXT_BAR - len(" | ") - max((len(_told(*line[1:])) for line in lines), default=0)
        lines = [(fitting.short(name, longest), amount, error) for name, amount, error in lines]
        wide, widest = max((fitting.width(name) for name, *_ in lines), default=0), _widest(lines)
        head = f"{self.output} = {_number(self.value)} from a base of {_number(self.base_value)}"
        return "\n".join([head, *(_text_bar(*line, wide, widest) for line in lines)])

    def reasons(self, language: str = "en", *, top: int = 4, side: Side | None = None) -> tuple[Reason, ...]:
        """Say in plain words what moved the answer most, the strongest first.

        Parameters
        ----------
        language
            `en` or `fr`.
        top
            How many reasons at most.
        side
            `raised` for what raised the answer, `lowered` for what lowered it; by default the side to which the answer lies
            from its base value, which is what a notice of a decision tells.

        Raises
        ------
        SpecError
            If there are no words of the language, or a parameter is another.

        Examples
        --------
        >>> one = Attribution.of(
        ...     method="m",
        ...     output="log-odds of 'bad'",
        ...     units="log-odds",
        ...     label="bad",
        ...     base_value=-1.0,
        ...     value=0.5,
        ...     contributions={"debt": 2.0, "income": -0.5},
        ...     elapsed_ms=0.1,
        ... )
        >>> print(*one.reasons())
        debt raised the chance of 'bad'.
        """
        speaker = Speaker.of(language)
        if side not in (None, "raised", "lowered"):
            raise SpecError(f"The 'side' must be 'raised' or 'lowered'. Got {side!r}.")
        if type(top) is not int or top < 1:
            raise SpecError(f"The 'top' must be a whole number of at least 1. Got {top!r}.")
        chosen: Side = side or ("raised" if self.value >= self.base_value else "lowered")
        sign = 1 if chosen == "raised" else -1
        what = speaker.what(self.units, self.label)
        told = self.subject.values or self.contributions  # what is told of other columns together is no reason
        ordered = self.strongest(len(self.contributions))
        moved = [(name, amount) for name, amount in ordered if sign * amount > 0 and name in told]
        return tuple(
            Reason(
                column=name,
                side=chosen,
                amount=amount,
                text=speaker.reason(chosen, speaker.column(name, self.subject), what),
            )
            for name, amount in moved[:top]
        )

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Attribution:
        """Read the values of its fields back from JSON."""
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """Give the cells of a table's row: a column for each raw column, then `base_value` and `value`.

        Where a raw column is called so, they are `the base_value` and `the value`.
        """
        totals = {"base_value": self.base_value, "value": self.value}
        return {**self.contributions, **{_beside(name, self.contributions): each for name, each in totals.items()}}

    def line(self) -> tuple[str, str, str, str]:
        """Say what is explained, from where, to where, and because of what."""
        because = ", ".join(f"{name} {digits(amount, 3, '+')}" for name, amount in self.strongest(4))
        return self.output, digits(self.base_value, 4), digits(self.value, 4), because

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw a bar for each column, each from where the last one ended, from the base value to the value.

        Parameters
        ----------
        ax
            Axes to draw on; by default those of a figure of its own.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> one = Attribution.of(
        ...     method="m",
        ...     output="rent",
        ...     units="target",
        ...     base_value=1.0,
        ...     value=2.5,
        ...     contributions={"area": 2.0, "age": -0.5},
        ...     elapsed_ms=0.5,
        ... )
        >>> one.plot().axes[0].get_title("left")
        'rent = 2.50'
        """
        from ekiben.plots.texts import LONGEST
        from ekiben.plots.waterfall import waterfall

        speaker, subject = Speaker.of("en"), self.subject
        told = [
            (fitting.named(subject.label(name), speaker.measured(name, subject), LONGEST), amount, error)
            for name, amount, error in _lines(self)
        ]
        return waterfall(
            told, base_value=self.base_value, value=self.value, output=self.output, units=self.units, ax=ax
        )


def _beside(name: str, columns: Mapping[str, float]) -> str:
    return name if name not in columns else _beside(f"the {name}", columns)


def gap(base_value: float, value: float, amounts: Iterable[float]) -> float:
    """Tell by how much contributions fail to add up."""
    return abs(value - fsum((base_value, *amounts)))


def template(*, method: str, output: str, units: Units, label: Label | None) -> dict[str, Any]:
    """Give what travels of every attribution that says the same of what it explains; its numbers are still to come."""
    blank = Attribution.of(
        method=method,
        output=output,
        units=units,
        label=label,
        base_value=0.0,
        value=0.0,
        contributions={},
        elapsed_ms=0.0,
    )
    return {"kind": Attribution.kind} | {each.name: getattr(blank, each.name) for each in fields(blank) if each.compare}


Line = tuple[str, float, float | None]  # a column, what it added, and the standard error of that


def _lines(one: Attribution) -> list[Line]:
    """Tell the strongest columns one by one, and the others together."""
    shown = one.strongest(n_shown(len(one.contributions)))
    rest = [amount for name, amount in one.contributions.items() if name not in dict(shown)]
    lines = [(name, amount, (one.standard_errors or {}).get(name)) for name, amount in shown]
    return [*lines, (f"{len(rest)} other columns", fsum(rest), None)] if rest else lines


def _widest(lines: Sequence[Line]) -> float:
    return max((abs(amount) for _, amount, _ in lines), default=0.0) or 1.0


def _text_bar(name: str, amount: float, error: float | None, wide: int, widest: float) -> str:
    bar = "█" * round(TEXT_BAR * abs(amount) / widest)
    left, right = ("", bar) if amount >= 0 else (bar, "")
    return f"{fitting.padded(name, wide)} {left:>{TEXT_BAR}}|{right:<{TEXT_BAR}} {_told(amount, error)}"


def _told(amount: float, error: float | None) -> str:
    return _number(amount, "+") + ("" if error is None else f" ± {digits(error, 2)}")


def _number(amount: float, sign: str = "") -> str:
    return digits(amount, 3, f"{sign}#").replace("-", "−")
