"""What explains one prediction: values that travel as JSON, and that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from math import fsum
from typing import Any, Literal, TypeAlias, overload

from ekiben.errors import SpecError, nearest

Units = Literal["log-odds", "margin", "probability", "indicator", "target"]
Label: TypeAlias = str | int | float | bool

SHOWN_COLUMNS = 10
SHOWN_CARDS = 5
UP, DOWN = "#e8590c", "#1c7ed6"  # orange and blue: told apart on dark and light, and by the colour-blind


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What each raw column added to one prediction.

    `value` is `base_value` plus the sum of `contributions`, up to `faithfulness_error`, all in `units`.
    `standard_errors` is None for an exact method.

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

    method: str
    output: str
    units: Units
    base_value: float
    value: float
    contributions: Mapping[str, float]
    standard_errors: Mapping[str, float] | None = None
    faithfulness_error: float
    elapsed_ms: float

    @classmethod
    def of(cls, *, base_value: float, value: float, contributions: Mapping[str, float], **rest: Any) -> Attribution:
        """Make an attribution, and measure by how much it fails to add up."""
        error = abs(value - fsum((base_value, *contributions.values())))
        return cls(base_value=base_value, value=value, contributions=contributions, faithfulness_error=error, **rest)

    def strongest(self, n_columns: int = SHOWN_COLUMNS) -> list[tuple[str, float]]:
        """List the columns that moved the prediction most, the strongest first."""
        return sorted(self.contributions.items(), key=lambda item: -abs(item[1]))[:n_columns]


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


Explanation: TypeAlias = Attribution | Rule
KINDS: dict[str, type[Attribution] | type[Rule]] = {"attribution": Attribution, "rule": Rule}


def to_json(explanation: Explanation) -> dict[str, Any]:
    """Write an explanation as values that JSON knows; `from_json` reads back the same.

    Examples
    --------
    >>> one = Attribution.of(
    ...     method="m",
    ...     output="target",
    ...     units="target",
    ...     base_value=1.0,
    ...     value=3.0,
    ...     contributions={"a": 2.0},
    ...     elapsed_ms=0.5,
    ... )
    >>> from_json(to_json(one)) == one
    True
    """
    kind = next(name for name, known in KINDS.items() if isinstance(explanation, known))
    return {"kind": kind} | {field.name: _plain(getattr(explanation, field.name)) for field in fields(explanation)}


def _plain(item: Any) -> Any:
    if isinstance(item, Mapping):
        return dict(item)
    return list(item) if isinstance(item, tuple) else item


def from_json(document: Mapping[str, Any]) -> Explanation:
    """Read an explanation that `to_json` wrote.

    Raises
    ------
    SpecError
        If the kind is unknown, or a field is missing or unknown.

    Examples
    --------
    >>> from_json({"kind": "rul"})
    Traceback (most recent call last):
    ekiben.errors.SpecError: The 'kind' of an explanation must be 'attribution' or 'rule'. Got 'rul'. Did you mean 'rule'?
    """
    kind = document.get("kind")
    if kind not in KINDS:
        hint = nearest(str(kind), KINDS)
        raise SpecError(f"The 'kind' of an explanation must be 'attribution' or 'rule'. Got {kind!r}.{hint}")
    values = {key: item for key, item in document.items() if key != "kind"}
    wrong = sorted({field.name for field in fields(KINDS[kind])} ^ set(values))
    if wrong:
        raise SpecError(f"Every field of the {kind} must be there, and no other. Missing or unknown: {wrong}.")
    if kind == "attribution":
        return Attribution(**values)
    return Rule(**(values | {"conditions": tuple(values["conditions"])}))


class Explanations(Sequence[Explanation]):
    """Explanations of some rows, in the order of the rows.

    Examples
    --------
    >>> one = Attribution.of(
    ...     method="m",
    ...     output="target",
    ...     units="target",
    ...     base_value=1.0,
    ...     value=2.5,
    ...     contributions={"a": 2.0, "b": -0.5},
    ...     elapsed_ms=0.5,
    ... )
    >>> Explanations([one])
    row  explains  base  value  because
    0    target    1     2.5    a +2, b -0.5
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Explanation] = ()) -> None:
        self._items = tuple(items)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        return Explanations(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Explanations) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # an attribution holds a mapping

    def to_frame(self) -> Any:
        """Make a table: a row an explanation; a column a raw column, then `base_value` and `value`.

        A rule's row holds `label`, `rule`, `precision` and `coverage`.
        """
        import pandas as pd

        return pd.DataFrame([_record(one) for one in self._items])

    def __repr__(self) -> str:
        if not self._items:
            return "Explanations([])"
        return _aligned([("row", "explains", "base", "value", "because"), *map(_cells, range(len(self)), self._items)])

    def _repr_html_(self) -> str:
        cards = "".join(map(_card, self._items[:SHOWN_CARDS]))
        rest = len(self) - SHOWN_CARDS
        more = f'<div style="opacity:.65">… and {rest} more</div>' if rest > 0 else ""
        return f'<div style="font:13px/1.5 system-ui,sans-serif;max-width:46em;color:inherit">{cards}{more}</div>'


def _record(one: Explanation) -> dict[str, Any]:
    if isinstance(one, Rule):
        said = " and ".join(one.conditions)
        return {"label": one.label, "rule": said, "precision": one.precision, "coverage": one.coverage}
    return {**one.contributions, "base_value": one.base_value, "value": one.value}


def _cells(row: int, one: Explanation) -> tuple[str, ...]:
    if isinstance(one, Rule):
        measured = f"precision {one.precision:.2f}, coverage {one.coverage:.2f}"
        return (str(row), f"class {one.label!r}", "", "", f"{one.sentence()} ({measured})")
    because = ", ".join(f"{name} {amount:+.3g}" for name, amount in one.strongest(4))
    return (str(row), one.output, f"{one.base_value:.4g}", f"{one.value:.4g}", because)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _card(one: Explanation) -> str:
    body = _rule_html(one) if isinstance(one, Rule) else _bars_html(one)
    foot = f"{escape(one.method)} · error {one.faithfulness_error:.2g} · {one.elapsed_ms:.3g} ms"
    return (
        '<div style="padding:10px 14px;margin:6px 0;border:1px solid rgba(128,128,128,.35);border-radius:8px">'
        f'{body}<div style="opacity:.6;font-size:11px;margin-top:6px">{foot}</div></div>'
    )


def _rule_html(rule: Rule) -> str:
    code = '<code style="background:rgba(128,128,128,.18);padding:1px 5px;border-radius:4px;color:inherit">{}</code>'
    said = " and ".join(code.format(escape(condition)) for condition in rule.conditions)
    label = f"<b>{escape(repr(rule.label))}</b>"
    sentence = f"If {said}, then {label}." if said else f"Always {label}, whatever the columns hold."
    return (
        f'<div>{sentence}</div><div style="opacity:.75;margin-top:4px">Holds for <b>{rule.precision:.1%}</b> of '
        f"{rule.n_samples:,} fresh rows under the rule; covers <b>{rule.coverage:.1%}</b> of the reference.</div>"
    )


def _bars_html(one: Attribution) -> str:
    shown = one.strongest()
    rest = [amount for name, amount in one.contributions.items() if name not in dict(shown)]
    lines = [(name, amount, (one.standard_errors or {}).get(name)) for name, amount in shown]
    if rest:
        lines.append((f"{len(rest)} other columns", fsum(rest), None))
    widest = max((abs(amount) for _, amount, _ in lines), default=0.0) or 1.0
    bars = "".join(_bar_html(name, amount, error, widest) for name, amount, error in lines)
    return (
        f'<div style="margin-bottom:6px"><b>{escape(one.output)}</b> = {_number(one.value)} '
        f'<span style="opacity:.65">from a base of {_number(one.base_value)}</span></div>'
        '<div style="display:grid;grid-template-columns:fit-content(16em) minmax(9em,1fr) max-content;'
        f'gap:4px 12px;align-items:center">{bars}</div>'
    )


def _bar_html(name: str, amount: float, error: float | None, widest: float) -> str:
    side, colour = ("left", UP) if amount >= 0 else ("right", DOWN)
    doubt = f' <span style="opacity:.6">± {error:.2g}</span>' if error is not None else ""
    return (
        f'<div style="overflow-wrap:anywhere;text-align:right">{escape(name)}</div>'
        '<div style="position:relative;height:14px;background:linear-gradient(rgba(128,128,128,.55),'
        'rgba(128,128,128,.55)) center/1px 100% no-repeat">'
        f'<div style="position:absolute;{side}:50%;top:1px;bottom:1px;border-radius:3px;background:{colour};'
        f'width:{50 * abs(amount) / widest:.2f}%"></div></div>'
        f'<div style="font-variant-numeric:tabular-nums">{_number(amount, "+")}{doubt}</div>'
    )


def _number(amount: float, sign: str = "") -> str:
    return format(amount, f"{sign}#.3g").replace("-", "−")
