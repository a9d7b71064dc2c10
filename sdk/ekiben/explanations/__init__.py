"""What explains one prediction: values that travel as JSON, and that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from math import fsum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from ekiben.errors import SpecError, nearest
from ekiben.explanations import pages
from ekiben.explanations.attribution import Attribution, Units
from ekiben.explanations.cards import n_shown
from ekiben.explanations.counterfactual import Alternative, Change, Counterfactual
from ekiben.explanations.examples import Examples, Neighbour
from ekiben.explanations.reasons import Facts, Reason, Subject
from ekiben.explanations.rule import Rule
from ekiben.explanations.showing import picture, section, sheet

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure

__all__ = [
    "KINDS",
    "Alternative",
    "Attribution",
    "Change",
    "Counterfactual",
    "Examples",
    "Explanation",
    "Explanations",
    "Facts",
    "Neighbour",
    "Reason",
    "Rule",
    "Subject",
    "Units",
    "from_json",
    "to_json",
]

Explanation: TypeAlias = Attribution | Counterfactual | Examples | Rule
KINDS: dict[str, type[Explanation]] = {each.kind: each for each in (Attribution, Counterfactual, Examples, Rule)}

SHOWN_CARDS = 5
_ATOMS = {bool, float, int, str, type(None)}
_FIELDS: dict[Any, tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]] = {}  # by the kind of what has them


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
    names, values = _travelling(type(explanation))
    told = zip(names, values(explanation), strict=True)
    return {"kind": explanation.kind} | {name: each if type(each) in _ATOMS else _plain(each) for name, each in told}


def _travelling(kind: Any) -> tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]:
    """Name the fields that travel, all that explanations are compared by, and give what takes their values."""
    if (known := _FIELDS.get(kind)) is None:
        names = tuple(field.name for field in fields(kind) if field.compare)
        known = _FIELDS[kind] = names, attrgetter(*names)
    return known


def _plain(item: Any) -> Any:
    kind = type(item)
    if kind in _ATOMS:
        return item
    if is_dataclass(kind):
        names, values = _travelling(kind)
        return {name: _plain(each) for name, each in zip(names, values(item), strict=True)}
    if isinstance(item, Mapping):
        return dict(item)
    return [_plain(each) for each in item] if isinstance(item, tuple) else item


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
    ekiben.errors.SpecError: The 'kind' of an explanation must be one of 'attribution', 'counterfactual', 'examples', 'rule'. \
Got 'rul'. Did you mean 'rule'?
    """
    kind = str(document.get("kind"))
    if kind not in KINDS:
        known = ", ".join(map(repr, KINDS))
        raise SpecError(f"The 'kind' of an explanation must be one of {known}. Got {kind!r}.{nearest(kind, KINDS)}")
    values = {key: item for key, item in document.items() if key != "kind"}
    wrong = sorted({*_travelling(KINDS[kind])[0]} ^ {*values})
    if wrong:
        raise SpecError(f"Every field of the {kind} must be there, and no other. Missing or unknown: {wrong}.")
    return KINDS[kind].of_json(values)


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

    def about(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        labels: Mapping[str, str],
        units: Mapping[str, str],
        days: frozenset[str] = frozenset(),
        facts: Facts | None = None,
    ) -> Explanations:
        """Give them with the rows that were explained, so that they can tell values, in their columns' labels and units.

        `days` are columns whose dates are told without a time; `facts` what is known of the decisions; a page shows them.
        """
        known = facts or Facts()
        subjects = [Subject(values=row, labels=labels, units=units, days=days, facts=known) for row in rows]
        told = zip(self._items, subjects, strict=True)
        return Explanations([replace(one, subject=row) for one, row in told])

    def deciding(self, predictions: Iterable[Mapping[str, Any]]) -> Explanations:
        """Give them with the answers that they explain, as a service gives them, so that pages can tell them."""
        told = []
        for one, prediction in zip(self._items, predictions, strict=True):
            facts = replace(one.subject.facts, prediction=prediction)
            told.append(replace(one, subject=replace(one.subject, facts=facts)))
        return Explanations(told)

    def page(self, language: str = "en") -> str:
        """Write a whole page of HTML on these decisions, one below the other, which needs nothing from elsewhere.

        Raises
        ------
        SpecError
            If there are no words of the language, or no explanations.
        """
        if not self._items:
            raise SpecError("A page is of at least one explanation. Got none.")
        return pages.page(self._items, language)

    def plot(self, kind: Literal["swarm", "bars"] = "swarm", *, ax: Axes | None = None) -> Figure:
        """Draw what each column added to all of these answers, the strongest columns first.

        Parameters
        ----------
        kind
            `swarm` draws a point for each answer, in the colour of its value; `bars` the mean of what a column added.
        ax
            Axes to draw on; by default those of a figure of its own.

        Raises
        ------
        SpecError
            If they are not attributions of one output, or there is no such kind.
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
        >>> [tick.get_text() for tick in Explanations([one, one]).plot().axes[0].get_yticklabels()]
        ['area', 'age']
        """
        if kind not in ("swarm", "bars"):
            raise SpecError(
                f"The 'kind' must be 'swarm' or 'bars'. Got {kind!r}.{nearest(str(kind), ('swarm', 'bars'))}"
            )
        if not self._are_attributions():
            raise SpecError(
                "A picture of several explanations is of attributions of one output. Got others, or none. "
                "Draw them one by one: explanations[0].plot()."
            )
        from ekiben.plots import swarm

        draw = swarm.swarm if kind == "swarm" else swarm.means
        first = self._items[0]
        assert isinstance(first, Attribution)
        return draw(self._moved(), output=first.output, units=first.units, ax=ax)

    def _are_attributions(self) -> bool:
        """Tell whether one picture may hold them: they explain one output, on the same columns."""
        told = [one for one in self._items if isinstance(one, Attribution)]
        kinds = {(one.output, one.units, frozenset(one.contributions)) for one in told}
        return len(told) == len(self._items) and len(kinds) == 1

    def _moved(self) -> list[Any]:
        """Give the strongest columns of all, and the others together, for a picture."""
        from ekiben.plots.swarm import Moved

        told = [one for one in self._items if isinstance(one, Attribution)]
        size = {name: fsum(abs(one.contributions[name]) for one in told) for name in told[0].contributions}
        ordered = sorted(size, key=lambda name: -size[name])
        n = n_shown(len(ordered))
        shown, rest = ordered[:n], ordered[n:]
        subject = told[0].subject
        known = {name for name in shown if all(name in one.subject.values for one in told)}
        moved = [
            Moved(
                label=subject.label(name),
                amounts=[one.contributions[name] for one in told],
                values=[one.subject.values[name] for one in told] if name in known else (),
            )
            for name in shown
        ]
        others = [fsum(one.contributions[name] for name in rest) for one in told]
        return [*moved, Moved(label=f"{len(rest)} other columns", amounts=others)] if rest else moved

    def to_frame(self) -> Any:
        """Make a table: a row an explanation; a column a raw column, then `base_value` and `value`.

        Where a raw column is called so, they are `the base_value` and `the value`.

        A rule's row holds `label`, `rule`, `reached`, `precision` and `coverage`, each share with its `_low` and `_high`; what
        the rows of the other kinds hold, their `record` says.
        """
        import pandas as pd

        return pd.DataFrame([one.record() for one in self._items])

    def __repr__(self) -> str:
        if not self._items:
            return "Explanations([])"
        lines = [(str(row), *one.line()) for row, one in enumerate(self._items)]
        return _aligned([("row", "explains", "base", "value", "because"), *lines])

    def _repr_html_(self) -> str:
        if len(self) > 1 and self._are_attributions() and (drawn := picture(self)):
            return sheet(f"<section>{drawn}</section>")
        rest = len(self) - SHOWN_CARDS
        cards = [section(one, picture(one) or one.html()) for one in self._items[:SHOWN_CARDS]]
        more = f'<p class="note">… and {rest} more</p>' if rest > 0 else ""
        return sheet(f"{''.join(cards)}{more}")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
